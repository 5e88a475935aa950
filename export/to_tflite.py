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
    content = bytes(_converter(saved_model, format, samples).convert())
    if format.precision == "int8" and not format.integer_io:
        return _with_float_head(saved_model, format, samples, content)
    return content


def _with_float_head(
    saved_model: Path, format: Format, samples: NDArray[np.float32], integer: bytes
) -> bytes:
    """Convert again with the last few steps of five numbers each in float32.

    From the mean of the evidence on, an image is five numbers. In integers their logits move in
    steps of about 0.06 and probabilities in steps of 1/256, which turns near ties and blunts
    operating points of 0.02; in float they cost nothing.
    """
    import tensorflow as tf

    from runtime.labels import LABELS

    interpreter = _interpreter(integer)
    head = [
        detail["name"]
        for detail in interpreter.get_tensor_details()
        if detail["shape"].size > 1
        and detail["shape"][0] == 1
        and detail["shape"].prod() == len(LABELS)
    ]
    debugger = tf.lite.experimental.QuantizationDebugger(
        converter=_converter(saved_model, format, samples),
        debug_dataset=lambda: _pages(samples[:1]),
        debug_options=tf.lite.experimental.QuantizationDebugOptions(denylisted_nodes=head),
    )
    return bytes(debugger.get_nondebug_quantized_model())


def _converter(saved_model: Path, format: Format, samples: NDArray[np.float32]) -> Any:
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
    return converter


def _pages(samples: NDArray[np.float32]) -> Iterator[list[NDArray[np.float32]]]:
    for index in range(len(samples)):
        yield [samples[index : index + 1]]


def describe(content: bytes) -> dict[str, list[dict[str, Any]]]:
    """Return ``inputs`` and ``outputs`` of a TFLite file, in the file's own order.

    The interpreter lists outputs under made-up names; the signature knows the real ones by
    tensor index.
    """
    interpreter = _interpreter(content)
    runner = interpreter.get_signature_runner(SIGNATURE)
    input_names = {d["index"]: name for name, d in runner.get_input_details().items()}
    output_names = {d["index"]: name for name, d in runner.get_output_details().items()}
    return {
        "inputs": [_entry(d, input_names) for d in interpreter.get_input_details()],
        "outputs": [_entry(d, output_names) for d in interpreter.get_output_details()],
    }


def _interpreter(content: bytes) -> Any:
    from ai_edge_litert.interpreter import Interpreter

    return Interpreter(model_content=content, num_threads=1)


def _entry(detail: dict[str, Any], names: dict[int, str]) -> dict[str, Any]:
    return {
        "name": names.get(detail["index"], "other"),
        "shape": [int(size) for size in detail["shape"]],
        "dtype": detail["dtype"].__name__,
    }
