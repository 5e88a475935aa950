"""Converts a SavedModel into TFLite files and reads their structure back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from export.formats import Format

__all__ = ["convert", "describe"]

SIGNATURE = "serving_default"
"""Name under which Keras exports a model's call; it alone keeps the outputs' names."""


def convert(saved_model: Path, format: Format, samples: NDArray[np.float32]) -> bytes:
    """Convert a SavedModel with the fixed input [1, H, W, 1].

    Parameters
    ----------
    saved_model : Path
    format : Format
        A TFLite row of `export.formats.FORMATS`.
    samples : ndarray of float32, shape [m, H, W, 1]
        Calibration pages; read only by formats with ``calibrated``.
    """
    import tensorflow as tf

    converter = tf.lite.TFLiteConverter.from_saved_model(str(saved_model))
    if format.precision != "float32":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if format.precision == "float16":
        converter.target_spec.supported_types = [tf.float16]
    if format.calibrated:
        # A fresh generator each time it is asked, one page a step: a generator that was used up
        # or repeats one picture gives ranges of nothing (tensorflow issue 44289).
        converter.representative_dataset = lambda: _pages(samples)
    if format.precision == "int8":
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    if format.precision == "int16x8":
        converter.target_spec.supported_ops = [
            tf.lite.OpsSet.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8
        ]
    if format.integer_io:
        converter.inference_input_type = tf.int8
        converter.inference_output_type = tf.int8
    return bytes(converter.convert())


def _pages(samples: NDArray[np.float32]) -> Iterator[list[NDArray[np.float32]]]:
    for index in range(len(samples)):
        yield [samples[index : index + 1]]


def describe(content: bytes) -> dict[str, list[dict[str, Any]]]:
    """Return ``inputs`` and ``outputs`` of a TFLite file, in the file's own order.

    The interpreter lists outputs under made-up names; the signature knows the real ones by
    tensor index.
    """
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=content, num_threads=1)
    runner = interpreter.get_signature_runner(SIGNATURE)
    input_names = {d["index"]: name for name, d in runner.get_input_details().items()}
    output_names = {d["index"]: name for name, d in runner.get_output_details().items()}
    return {
        "inputs": [_entry(d, input_names) for d in interpreter.get_input_details()],
        "outputs": [_entry(d, output_names) for d in interpreter.get_output_details()],
    }


def _entry(detail: dict[str, Any], names: dict[int, str]) -> dict[str, Any]:
    return {
        "name": names.get(detail["index"], "other"),
        "shape": [int(size) for size in detail["shape"]],
        "dtype": detail["dtype"].__name__,
    }
