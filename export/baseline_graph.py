"""Turns a classical pipeline into one ONNX graph that takes the canonical tensor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from export.to_onnx import OPSET, check
from runtime.labels import LABELS

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["calibrated", "convert"]

ML_OPSET: Final = 3
"""Of the classical operators (ai.onnx.ml); the version that skl2onnx and ONNX Runtime share."""

IR_VERSION: Final = 8
"""The one of opset 17; newer ones shut out older ONNX Runtimes."""

SMALLEST: Final = 1e-6
"""Floor of a probability before its logarithm is taken, as in train.calibrate."""


def calibrated(probabilities: NDArray[np.float64], temperature: float) -> NDArray[np.float64]:
    """Return softmax(log p / T) of probabilities [n, 5], what the graph's last nodes compute."""
    logits = np.log(np.clip(probabilities, SMALLEST, 1.0)) / temperature
    weights = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(weights / weights.sum(axis=1, keepdims=True))


def convert(
    pipeline: Any,
    features: Mapping[str, Any],
    temperature: float,
    shape: Sequence[int],
    target: Path,
) -> None:
    """Write pooling, pipeline and calibration as one graph ``page`` -> ``probabilities``.

    Parameters
    ----------
    pipeline : sklearn.pipeline.Pipeline
        Fitted; ends in a classifier.
    features : mapping
        ``{"kind": "block-mean", "rows": r, "columns": c}``.
    temperature : float
        Divisor of the logits.
    shape : sequence of int
        Shape of the input, for example (1, 192, 512, 1).
    target : Path
        File to write.

    Raises
    ------
    ValueError
        If the features are of a kind that has no graph.
    """
    import onnx
    from onnx import compose

    if features.get("kind") != "block-mean":
        raise ValueError(f"features {features.get('kind')!r} have no graph")
    front = _pooling(features, shape)
    width = front.graph.output[0].type.tensor_type.shape.dim[1].dim_value
    middle, scores = _classifier(pipeline, width)
    joined = compose.merge_models(
        front, middle, io_map=[("features_in", middle.graph.input[0].name)], outputs=[scores]
    )
    back = _calibration(pipeline, temperature)
    whole = compose.merge_models(joined, back, io_map=[(scores, "scores")])
    onnx.save(_model(whole.graph), str(target))
    check(target)


def _pooling(features: Mapping[str, Any], shape: Sequence[int]) -> Any:
    """Block means of the page, flattened as `train.baselines.BlockMean` does."""
    from onnx import TensorProto, helper

    _, height, width, _ = shape
    rows, columns = int(features["rows"]), int(features["columns"])
    count = (height // rows) * (width // columns)
    nodes = [
        helper.make_node("Reshape", ["page", "as_image"], ["image"], name="as_image"),
        helper.make_node(
            "AveragePool",
            ["image"],
            ["means"],
            kernel_shape=[rows, columns],
            strides=[rows, columns],
            name="block_mean",
        ),
        helper.make_node("Reshape", ["means", "as_row"], ["features_in"], name="as_row"),
    ]
    graph = helper.make_graph(
        nodes,
        "block_mean",
        [helper.make_tensor_value_info("page", TensorProto.FLOAT, list(shape))],
        [helper.make_tensor_value_info("features_in", TensorProto.FLOAT, [1, count])],
        [
            helper.make_tensor("as_image", TensorProto.INT64, [4], [1, 1, height, width]),
            helper.make_tensor("as_row", TensorProto.INT64, [2], [1, count]),
        ],
    )
    return _model(graph)


def _classifier(pipeline: Any, width: int) -> tuple[Any, str]:
    """Convert the pipeline; return the model and the name of its output of scores [1, classes]."""
    from onnx import compose
    from skl2onnx import convert_sklearn
    from skl2onnx.common.data_types import FloatTensorType

    last = pipeline.steps[-1][1]
    model = convert_sklearn(
        pipeline,
        initial_types=[("features", FloatTensorType([1, width]))],
        options={id(last): {"zipmap": False}},
        target_opset={"": OPSET, "ai.onnx.ml": ML_OPSET},
    )
    # skl2onnx names the oldest opsets that will do; merging wants the same ones everywhere, and
    # every operator it uses means the same in ours.
    model = compose.add_prefix(_model(model.graph), "classifier_")
    return model, model.graph.output[-1].name


def _calibration(pipeline: Any, temperature: float) -> Any:
    """Scores -> probabilities of all five classes, divided by the temperature as logits."""
    from onnx import TensorProto, helper

    classes = [int(c) for c in pipeline.classes_]
    # A class that the model never saw gets probability 0: a matrix of ones and zeros puts each
    # score into its own column.
    place = np.zeros((len(classes), len(LABELS)), dtype=np.float32)
    place[np.arange(len(classes)), classes] = 1.0
    proper = hasattr(pipeline, "predict_proba")
    nodes = [] if proper else [helper.make_node("Softmax", ["scores"], ["seen"], axis=1)]
    nodes += [
        helper.make_node("MatMul", ["scores" if proper else "seen", "place"], ["all"]),
        helper.make_node("Clip", ["all", "smallest", "largest"], ["clipped"]),
        helper.make_node("Log", ["clipped"], ["logits"]),
        helper.make_node("Div", ["logits", "temperature"], ["scaled"]),
        helper.make_node("Softmax", ["scaled"], ["probabilities"], axis=1),
    ]
    constants = {"smallest": SMALLEST, "largest": 1.0, "temperature": temperature}
    graph = helper.make_graph(
        nodes,
        "calibration",
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, [1, len(classes)])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, [1, len(LABELS)])],
        [
            helper.make_tensor("place", TensorProto.FLOAT, place.shape, place.ravel()),
            *(
                helper.make_tensor(name, TensorProto.FLOAT, [], [value])
                for name, value in constants.items()
            ),
        ],
    )
    return _model(graph)


def _model(graph: Any) -> Any:
    from onnx import helper

    return helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid("", OPSET), helper.make_opsetid("ai.onnx.ml", ML_OPSET)],
        ir_version=IR_VERSION,
        producer_name="ecg-edge",
    )
