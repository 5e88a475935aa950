"""Converts a Keras model into ONNX files, float and integer, and reads their structure back."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from export.formats import Format

__all__ = ["OPSET", "check", "convert", "describe", "float32_file"]

OPSET: Final = 17
"""18 turns GlobalAveragePool into ReduceMean, 20 is refused (design/evidence.md)."""


def float32_file(model: Any, shape: tuple[int, ...], folder: Path) -> Path:
    """Export a Keras model with Keras' own ONNX export and tidy its graph.

    Parameters
    ----------
    model : keras.Model
    shape : tuple of int
        Fixed input shape, for example (1, 192, 512, 1).
    folder : Path
        Where the files are put.

    Returns
    -------
    Path
        The tidied float32 file, which the other ONNX formats start from.
    """
    import tensorflow as tf
    from onnxruntime.quantization.shape_inference import quant_pre_process

    plain, tidy = folder / "plain.onnx", folder / "tidy.onnx"
    model.export(
        str(plain),
        format="onnx",
        verbose=False,
        opset_version=OPSET,
        input_signature=[tf.TensorSpec(shape, tf.float32, name="page")],
    )
    # Folds BatchNorm and constants, names every shape. Symbolic inference would want sympy and
    # has nothing to find: all shapes are fixed.
    quant_pre_process(str(plain), str(tidy), skip_symbolic_shape=True)
    return tidy


def convert(float32: Path, format: Format, samples: NDArray[np.float32], target: Path) -> None:
    """Write one ONNX format from the float32 file.

    Parameters
    ----------
    float32 : Path
        From `float32_file`.
    format : Format
        An ONNX row of `export.formats.FORMATS`.
    samples : ndarray of float32, shape [m, H, W, 1]
        Calibration pages; read only by formats with ``calibrated``.
    target : Path
        File to write.
    """
    if format.precision == "float32":
        target.write_bytes(float32.read_bytes())
    elif format.precision == "float16":
        _float16(float32, target)
    elif format.precision == "dynamic":
        _dynamic(float32, target)
    else:
        _static(float32, format, samples, target)
    check(target)


def check(file: Path) -> None:
    """Run onnx.checker with shape inference; raises onnx.checker.ValidationError."""
    import onnx

    onnx.checker.check_model(onnx.load(str(file)), full_check=True)


def _float16(float32: Path, target: Path) -> None:
    import onnx
    from onnxruntime.transformers.float16 import convert_float_to_float16
    from onnxruntime.transformers.onnx_model import OnnxModel

    half = OnnxModel(convert_float_to_float16(onnx.load(str(float32)), keep_io_types=True))
    # The casts at the inputs are appended at the end, which onnx.checker refuses.
    half.topological_sort()
    onnx.save(half.model, str(target))


def _dynamic(float32: Path, target: Path) -> None:
    from onnxruntime.quantization import QuantType, quantize_dynamic

    quantize_dynamic(str(float32), str(target), weight_type=QuantType.QUInt8)


def _static(float32: Path, format: Format, samples: NDArray[np.float32], target: Path) -> None:
    import onnx
    from onnxruntime.quantization import (
        CalibrationDataReader,
        QuantFormat,
        QuantType,
        quantize_static,
    )

    model = onnx.load(str(float32))

    class Reader(CalibrationDataReader):
        """Feeds the calibration pages one at a time."""

        def __init__(self) -> None:
            name = model.graph.input[0].name
            self._feeds = iter([{name: samples[i : i + 1]} for i in range(len(samples))])

        def get_next(self) -> dict[str, NDArray[np.float32]] | None:
            """Return the next feed, or None at the end."""
            return next(self._feeds, None)

    quantize_static(
        str(float32),
        str(target),
        Reader(),
        quant_format=QuantFormat.QDQ,
        per_channel=format.per_channel,
        activation_type=QuantType.QInt8 if format.signed_activations else QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        # x86 without VNNI adds two products in 16 bits, which only seven-bit weights never exceed.
        reduce_range=True,
        nodes_to_exclude=_head(model),
    )


def _head(model: Any) -> list[str]:
    """Return the nodes from the mean of the evidence on, which give five numbers each.

    They stay in float32, for the reason that `export.to_tflite` gives.
    """
    import onnx

    from runtime.labels import LABELS

    graph = onnx.shape_inference.infer_shapes(model).graph
    sizes = {
        value.name: math.prod(d.dim_value for d in value.type.tensor_type.shape.dim)
        for value in (*graph.value_info, *graph.output)
    }
    return [
        node.name
        for node in model.graph.node
        if all(sizes.get(output) == len(LABELS) for output in node.output)
    ]


def describe(file: Path) -> dict[str, list[dict[str, Any]]]:
    """Return ``inputs`` and ``outputs`` of an ONNX file, in the file's own order."""
    import onnx

    graph = onnx.load(str(file)).graph
    return {
        "inputs": [_entry(value) for value in graph.input],
        "outputs": [_entry(value) for value in graph.output],
    }


def _entry(value: Any) -> dict[str, Any]:
    import onnx

    tensor = value.type.tensor_type
    dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type)
    return {
        "name": value.name,
        "shape": [int(d.dim_value) for d in tensor.shape.dim],
        "dtype": dtype.name,
    }
