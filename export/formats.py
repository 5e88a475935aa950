"""Every format a model can leave the workshop in, as one declarative table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from runtime.errors import UsageError

__all__ = ["FORMATS", "Format", "chosen", "table"]


@dataclass(frozen=True, slots=True)
class Format:
    """One way to write a model.

    Attributes
    ----------
    id : str
        What ``--formats`` takes.
    source : str
        ``"keras"`` for networks, ``"sklearn"`` for the classical baselines.
    engine : str
        Kind of file as the manifest names it: ``litert``, ``onnxruntime`` or ``keras``.
    suffix : str
        Ending of the weights file.
    precision : str
        As the manifest names it.
    calibrated : bool
        Whether the conversion needs the RUN's calibration pages.
    recommended : bool
        Whether a device should get it; one format of each source, whose bundle carries the
        model's plain name.
    why : str
        The measured reason for or against it; docs/export.md says how it was measured.
    per_channel : bool
        One weight scale a channel instead of one a tensor (ONNX; TFLite always has one a channel).
    signed_activations : bool
        ONNX: activations as signed (S8S8) instead of unsigned (U8S8) integers.
    integer_io : bool
        Whether the file takes and gives integers; the engine adapter then quantises.
    """

    id: str
    source: str
    engine: str
    suffix: str
    precision: str
    calibrated: bool
    recommended: bool
    why: str
    per_channel: bool = True
    signed_activations: bool = False
    integer_io: bool = False

    @property
    def runs_on_device(self) -> bool:
        """Tell whether an engine of the device reads it."""
        return self.engine != "keras"

    def bundle_name(self, model: str) -> str:
        """Return the bundle's name, for example ``ecg-tiny-onnx-float32``.

        The engine that every installation has goes without saying: ``ecg-tiny-float32``.
        """
        return model if self.recommended else f"{model}-{self.id.removeprefix('tflite-')}"


def _tflite(id: str, precision: str, why: str, **more: bool) -> Format:
    calibrated = precision in ("int8", "int16x8")
    recommended = more.pop("recommended", False)
    return Format(id, "keras", "litert", ".tflite", precision, calibrated, recommended, why, **more)


def _onnx(id: str, precision: str, why: str, **more: bool) -> Format:
    calibrated = precision == "int8"
    return Format(id, "keras", "onnxruntime", ".onnx", precision, calibrated, False, why, **more)


FORMATS: Final = (
    _tflite("tflite-float32", "float32", "the reference that the others are judged by"),
    _tflite("tflite-float16", "float16", "half the size of float32, and its time"),
    _tflite(
        "tflite-dynamic",
        "dynamic",
        "int8 weights only; misses the gates, and tflite-runtime refuses it",
    ),
    _tflite(
        "tflite-int8",
        "int8",
        "the smallest, and over twice as fast as float32; float in and out",
        recommended=True,
    ),
    _tflite(
        "tflite-int8-io",
        "int8",
        "for chips without floating point; its 1/256 steps blunt flags",
        integer_io=True,
    ),
    _tflite("tflite-int16x8", "int16x8", "accurate, and over ten times slower than float32"),
    _onnx("onnx-float32", "float32", "the reference on ONNX Runtime"),
    _onnx("onnx-float16", "float16", "half the size; the CPU computes in float32 after all"),
    _onnx(
        "onnx-dynamic",
        "dynamic",
        "int8 weights, ranges measured page by page: misses the gates, slow",
    ),
    _onnx("onnx-int8", "int8", "static QDQ, U8S8, one scale a channel: the one for ONNX Runtime"),
    _onnx(
        "onnx-int8-tensor",
        "int8",
        "static QDQ, U8S8, one scale a tensor: misses the gates",
        per_channel=False,
    ),
    _onnx(
        "onnx-int8-s8s8",
        "int8",
        "static QDQ, S8S8, one scale a channel: slower than float32 on x86-64",
        signed_activations=True,
    ),
    _onnx(
        "onnx-int8-s8s8-tensor",
        "int8",
        "static QDQ, S8S8, one scale a tensor: misses the gates",
        per_channel=False,
        signed_activations=True,
    ),
    Format(
        "onnx-baseline",
        "sklearn",
        "onnxruntime",
        ".onnx",
        "float32",
        False,
        True,
        "the classical baselines with their feature pipeline inside the graph",
    ),
    Format(
        "keras",
        "keras",
        "keras",
        ".keras",
        "float32",
        False,
        False,
        "for Keras; no device reads it",
    ),
    Format(
        "h5",
        "keras",
        "keras",
        ".h5",
        "float32",
        False,
        False,
        "for older Keras; no device reads it",
    ),
)
"""All formats, in the order in which reports list them."""


def chosen(names: str) -> tuple[Format, ...]:
    """Return the formats that a ``--formats`` argument names.

    Parameters
    ----------
    names : str
        Ids with commas between them, or ``all``.

    Raises
    ------
    UsageError
        If an id is unknown or none is given.
    """
    wanted = [name.strip() for name in names.split(",") if name.strip()]
    if wanted == ["all"]:
        return FORMATS
    known = {format.id: format for format in FORMATS}
    unknown = [name for name in wanted if name not in known]
    if unknown or not wanted:
        raise UsageError(
            f"unknown format '{', '.join(unknown)}'" if unknown else "no format named",
            f"choose from all, {', '.join(known)}",
        )
    return tuple(format for format in FORMATS if format.id in wanted)


def table(formats: Sequence[Format] = FORMATS) -> str:
    """Return the table that ``--list-formats`` prints."""
    lines = [f"{'FORMAT':<22} {'ENGINE':<12} {'PRECISION':<10} {'CALIBRATED':<11} WHY"]
    for format in formats:
        mark = "* " if format.recommended else "  "
        lines.append(
            f"{mark}{format.id:<20} {format.engine:<12} {format.precision:<10} "
            f"{'yes' if format.calibrated else 'no':<11} {format.why}"
        )
    return "\n".join([*lines, "* recommended; figures in docs/export.md"])
