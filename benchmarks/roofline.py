"""The limit on this machine: the floor of reading a page and the floor of the network's sums."""

from __future__ import annotations

import io
from pathlib import Path
from time import perf_counter
from typing import Any, Final

import numpy as np

from benchmarks.latency import timed
from benchmarks.statistics import median

__all__ = ["distances", "entropy_decode_ms", "measure"]

_CHANNELS: Final = 256
_SIDE: Final = 32
_PROBE_MACS: Final = _SIDE * _SIDE * _CHANNELS * _CHANNELS
"""A pointwise convolution of 67 million multiply-accumulates: large enough to reach the peak of
one core, small enough (256 kB of weights) to stay in its cache."""


def measure(spec: dict[str, Any]) -> dict[str, Any]:
    """Measure this machine's floors; call it in a fresh process (`benchmarks.probe`).

    Parameters
    ----------
    spec : dict
        ``pages`` (paths of JPEG files), ``runs``, ``networks`` (bundle name -> architecture).

    Returns
    -------
    dict
        ``entropy_decode_ms`` (median over the pages), ``bytes_per_second`` of a memory copy,
        ``macs_per_second`` by precision through LiteRT on one thread, ``macs`` by bundle.
    """
    pages = [Path(page).read_bytes() for page in spec["pages"]]
    return {
        "entropy_decode_ms": median([entropy_decode_ms(p) for _ in range(5) for p in pages]),
        "bytes_per_second": _copy_rate(spec["runs"]),
        "macs_per_second": {
            precision: _PROBE_MACS / (median(timed(_probe(precision), spec["runs"])) / 1e6)
            for precision in ("float32", "int8")
        },
        "macs": {bundle: _macs(architecture) for bundle, architecture in spec["networks"].items()},
    }


def distances(row: dict[str, Any], floors: dict[str, Any]) -> dict[str, float]:
    """Return how many times the floor each stage of a measured row takes.

    ``decode`` is set against libjpeg's entropy decode of the same files, ``infer`` against the
    network's multiply-accumulates at the measured rate of its precision.
    """
    found = {"decode": row["stages_ms"]["decode"] / floors["entropy_decode_ms"]}
    found["end_to_end"] = row["end_to_end_ms"]["p50"] / floors["entropy_decode_ms"]
    macs = floors["macs"].get(row["bundle"])
    rate = floors["macs_per_second"].get(row["precision"])
    if macs and rate:
        found["infer"] = row["infer_us"]["p50"] / (macs / rate * 1e6)
    return found


def entropy_decode_ms(data: bytes) -> float:
    """Time the smallest thing libjpeg can do with a whole file, in milliseconds.

    At one eighth of the size only one coefficient of each block is transformed, yet every bit of
    the file is still Huffman-decoded: nothing that looks at the page can be faster.
    """
    from PIL import Image

    begin = perf_counter()
    with Image.open(io.BytesIO(data)) as image:
        image.draft("L", (image.width // 8, image.height // 8))
        image.load()
    return (perf_counter() - begin) * 1e3


def _copy_rate(runs: int) -> float:
    source = np.zeros(64 * 2**20, np.uint8)
    target = np.empty_like(source)
    seconds = median(timed(lambda: np.copyto(target, source), max(10, runs // 10))) / 1e6
    return source.nbytes / seconds


def _probe(precision: str) -> Any:
    """Return an action that runs the probe convolution once."""
    import keras
    from ai_edge_litert.interpreter import Interpreter

    page = keras.Input((_SIDE, _SIDE, _CHANNELS), batch_size=1)
    model = keras.Model(page, keras.layers.Conv2D(_CHANNELS, 1)(page))
    interpreter = Interpreter(model_content=to_tflite(model, precision), num_threads=1)
    interpreter.allocate_tensors()
    return interpreter.invoke


def to_tflite(model: Any, precision: str) -> bytes:
    """Convert a Keras model of random weights: good for speed, for nothing else."""
    import tensorflow as tf

    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    if precision == "int8":
        shape = (1, *model.input.shape[1:])
        rng = np.random.default_rng(0)
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = lambda: (
            [rng.random(shape, np.float32)] for _ in range(4)
        )
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    return bytes(converter.convert())


def _macs(architecture: str) -> int:
    from train.architecture import ARCHITECTURES
    from train.cnn import build, multiply_accumulates

    return multiply_accumulates(build(ARCHITECTURES[architecture]))
