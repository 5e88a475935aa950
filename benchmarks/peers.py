"""What others do with the same page, timed side by side in one process."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np

from benchmarks.pages import scaled_grey_decode
from benchmarks.roofline import to_tflite
from benchmarks.turns import ratios, summaries, take_turns

__all__ = ["measure", "tutorial_cold"]

_TUTORIAL_SIDE: Final = 128
"""Side of the picture in the classical tutorial, px."""


def measure(spec: dict[str, Any]) -> dict[str, Any]:
    """Time peers and ourselves in turn; call it in a fresh process (`benchmarks.probe`).

    Parameters
    ----------
    spec : dict
        ``bundle``, ``architecture``, ``page`` (path of a JPEG), ``runs``.

    Returns
    -------
    dict
        ``end_to_end_us`` and ``infer_us``: peer -> p50, p95, p99, n in microseconds;
        ``end_to_end_over_ours`` and ``infer_over_ours``: peer -> ratio. Peers' networks have
        random weights, which cost the same.
    """
    data = Path(spec["page"]).read_bytes()
    ours = _ours(spec["bundle"])
    tutorial = _tutorial_network()
    end_to_end = {
        "ours": lambda: ours.classify(data),
        "tutorial_pillow_predict": lambda: tutorial.predict(_tutorial_pillow(data), verbose=0),
        "tutorial_skimage_predict": lambda: tutorial.predict(_tutorial_skimage(data), verbose=0),
        "pillow_scaled_grey_decode": lambda: scaled_grey_decode(data),
    }
    pages = take_turns(end_to_end, max(10, spec["runs"] // 4))
    networks = take_turns(_infer(ours, spec["architecture"], data), spec["runs"])
    return {
        "end_to_end_us": summaries(pages),
        "infer_us": summaries(networks),
        "end_to_end_over_ours": ratios(pages, "ours"),
        "infer_over_ours": ratios(networks, "ours"),
    }


def _ours(bundle: str) -> Any:
    from runtime.classifier import Classifier

    return Classifier.from_bundle(bundle)


def _infer(ours: Any, architecture: str, data: bytes) -> dict[str, Callable[[], object]]:
    """Return inference alone: our bundle, the same network elsewhere, and common networks."""
    import keras
    import tensorflow as tf

    from runtime.page import open_document
    from runtime.panel import find_panel
    from train.architecture import ARCHITECTURES
    from train.cnn import build

    with open_document(data) as document:
        tensor = ours.preprocess.tensor(find_panel(document.read(1)))[None]
    same = build(ARCHITECTURES[architecture])
    function = tf.function(lambda x: same(x, training=False))
    constant = tf.constant(tensor)
    actions: dict[str, Callable[[], object]] = {
        "ours": lambda: ours.engine.run(tensor),
        "same_network_tf_function": lambda: function(constant),
        "same_network_keras_call": lambda: same(constant, training=False),
        "same_network_keras_predict": lambda: same.predict(tensor, verbose=0),
        "same_network_saved_model": _saved_model(same, constant),
        "same_network_litert_float32": _litert(to_tflite(same, "float32")),
        "mobilenetv2_224_int8": _litert(
            to_tflite(keras.applications.MobileNetV2(weights=None, classes=5), "int8")
        ),
        "efficientnet_lite0_like_224_int8": _litert(to_tflite(_efficientnet_lite0(), "int8")),
    }
    return actions | _onnxruntime(same, tensor) | _scikit_learn(tensor)


def _litert(content: bytes) -> Callable[[], object]:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=content, num_threads=1)
    interpreter.allocate_tensors()
    return interpreter.invoke


def _saved_model(model: Any, constant: Any) -> Callable[[], object]:
    import tempfile

    import tensorflow as tf

    folder = tempfile.mkdtemp()
    model.export(folder, verbose=False)
    serve = tf.saved_model.load(folder).signatures["serving_default"]
    return lambda: serve(page=constant)


def _onnxruntime(model: Any, tensor: Any) -> dict[str, Callable[[], object]]:
    import tempfile

    import onnxruntime as ort

    path = str(Path(tempfile.mkdtemp()) / "same.onnx")
    model.export(path, format="onnx", verbose=False)
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    feed = {session.get_inputs()[0].name: tensor}
    return {"same_network_onnxruntime_float32": lambda: session.run(None, feed)}


def _scikit_learn(tensor: Any) -> dict[str, Callable[[], object]]:
    """Return the tutorial's baselines, fitted on noise: their cost depends on shapes alone."""
    from sklearn.decomposition import PCA
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.svm import SVC

    rng = np.random.default_rng(0)
    x = rng.random((300, _TUTORIAL_SIDE**2), np.float32)
    y = np.arange(300) % 5
    row = x[:1]
    svm = make_pipeline(PCA(64), SVC(probability=False)).fit(x, y)
    forest = RandomForestClassifier(200, random_state=0).fit(x, y)
    return {
        "scikit_learn_pca_svm": lambda: svm.predict(row),
        "scikit_learn_random_forest": lambda: forest.predict(row),
    }


def _efficientnet_lite0() -> Any:
    """Build EfficientNet-Lite0's cost: B0 without squeeze-and-excite and with ReLU6."""
    import keras
    from keras import layers

    def block(x: Any, expand: int, channels: int, kernel: int, stride: int) -> Any:
        inside = x.shape[-1] * expand
        y = layers.Conv2D(inside, 1, use_bias=False)(x) if expand > 1 else x
        y = layers.ReLU(6.0)(layers.BatchNormalization()(y)) if expand > 1 else y
        y = layers.DepthwiseConv2D(kernel, stride, padding="same", use_bias=False)(y)
        y = layers.ReLU(6.0)(layers.BatchNormalization()(y))
        y = layers.BatchNormalization()(layers.Conv2D(channels, 1, use_bias=False)(y))
        return layers.Add()([x, y]) if stride == 1 and x.shape[-1] == channels else y

    # expansion, channels, kernel, stride, repeats: table 1 of Tan and Le 2019 (EfficientNet-B0)
    plan = (
        *((1, 16, 3, 1, 1), (6, 24, 3, 2, 2), (6, 40, 5, 2, 2), (6, 80, 3, 2, 3)),
        *((6, 112, 5, 1, 3), (6, 192, 5, 2, 4), (6, 320, 3, 1, 1)),
    )
    page = keras.Input((224, 224, 3))
    x = layers.Conv2D(32, 3, 2, padding="same", use_bias=False)(page)
    x = layers.ReLU(6.0)(layers.BatchNormalization()(x))
    for expand, channels, kernel, stride, repeats in plan:
        for index in range(repeats):
            x = block(x, expand, channels, kernel, stride if index == 0 else 1)
    x = layers.ReLU(6.0)(layers.BatchNormalization()(layers.Conv2D(1280, 1)(x)))
    x = layers.Dense(5, activation="softmax")(layers.GlobalAveragePooling2D()(x))
    return keras.Model(page, x)


def _tutorial_network() -> Any:
    """Build the tutorial's network: three convolutions, pooling, two dense layers."""
    import keras
    from keras import layers

    return keras.Sequential(
        [
            keras.Input((_TUTORIAL_SIDE, _TUTORIAL_SIDE, 3)),
            *(layers.Conv2D(32, 3, activation="relu"), layers.MaxPooling2D()),
            *(layers.Conv2D(64, 3, activation="relu"), layers.MaxPooling2D()),
            *(layers.Conv2D(128, 3, activation="relu"), layers.MaxPooling2D()),
            layers.Flatten(),
            layers.Dense(128, activation="relu"),
            layers.Dense(5, activation="softmax"),
        ]
    )


def _tutorial_pillow(data: bytes) -> Any:
    from PIL import Image

    with Image.open(io.BytesIO(data)) as image:
        small = image.convert("RGB").resize((_TUTORIAL_SIDE, _TUTORIAL_SIDE))
    return np.asarray(small, np.float32)[None] / 255


def _tutorial_skimage(data: bytes) -> Any:
    from skimage import io as skimage_io
    from skimage.transform import resize

    page = skimage_io.imread(io.BytesIO(data))
    return resize(page, (_TUTORIAL_SIDE, _TUTORIAL_SIDE, 3)).astype(np.float32)[None]


def tutorial_cold(page: str) -> None:
    """Answer one page the tutorial's way in a process of its own; timed from outside."""
    _tutorial_network().predict(_tutorial_pillow(Path(page).read_bytes()), verbose=0)


if __name__ == "__main__":
    import sys

    tutorial_cold(sys.argv[1])
