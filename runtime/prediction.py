"""The answer for one page, and the record that every output format writes of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal

from runtime.record import Record

__all__ = ["SCHEMA", "Evidence", "ModelIdentity", "PictureFacts", "Prediction", "Status"]

SCHEMA: Final = "ecg-edge/result/1"

Status = Literal["ok", "uncertain", "rejected", "error"]


class ModelIdentity(Record):
    """Which weights answered, and on what."""

    name: str
    version: str
    sha256: str
    """SHA-256 of the weights file, hexadecimal."""
    engine: str
    """``litert``, ``onnxruntime`` or ``tflite-runtime``."""
    precision: str
    """``float32``, ``float16``, ``dynamic``, ``int8`` or ``int16x8``."""

    def to_record(self) -> dict[str, str]:
        """Return the ``model`` part of a record."""
        return {
            "name": self.name,
            "version": self.version,
            "sha256": self.sha256,
            "engine": self.engine,
            "precision": self.precision,
        }


class Evidence(Record):
    """What `--explain` needs, kept in memory only and never written into a record.

    Attributes
    ----------
    page : runtime.page.Page
        The page as it was read.
    panel : runtime.panel.Panel
        Where the traces were found on it.
    contributions : numpy.ndarray or None
        float32 [gh, gw, 5], signed contribution of each place of the canonical arrangement to
        each class's logit; None where the page was rejected.
    preprocess : runtime.preprocess.Preprocess or None
        How the canonical arrangement was drawn; it leads back from a place to the page.
    method : str
        ``"model"``: the model's own contributions; ``"occlusion"``: what the answer loses where
        a place is hidden.
    """

    page: Any
    panel: Any
    contributions: Any
    preprocess: Any = None
    method: str = "model"


class PictureFacts(Record):
    """How good a picture a page is; the archive keeps it to see it drift."""

    format: str
    """What the file is, for example ``JPEG``."""
    size: tuple[int, int]
    """Width and height in px of the original."""
    px_per_mm: float | None
    """Original px per mm of paper; None where it could not be told."""


class Prediction(Record):
    """The answer for one page.

    `label`, `confidence` and `probabilities` are None for ``rejected`` and ``error``.
    """

    source: str
    page: int
    sha256: str
    status: Status
    model: ModelIdentity
    label: str | None = None
    confidence: float | None = None
    probabilities: Mapping[str, float] | None = None
    flags: tuple[str, ...] = ()
    """Critical classes at or above their operating point, whatever the label."""
    reasons: tuple[str, ...] = ()
    """Why uncertain, rejected or in error, in words a nurse understands."""
    sets: Mapping[str, tuple[str, ...]] | None = None
    """Conformal prediction sets by nominal coverage, for example ``{"0.90": ("normal",)}``."""
    layout: str | None = None
    """The page's layout as it was recognised, for example ``3x4+1``."""
    timing_ms: Mapping[str, float] = {}
    picture: PictureFacts | None = None
    """None where the page could not be decoded; not in the record."""
    evidence: Evidence | None = None

    def to_record(self) -> dict[str, Any]:
        """Return the record of schema ``ecg-edge/result/1`` (interface.md), ready for JSON."""
        record: dict[str, Any] = {
            "schema": SCHEMA,
            "source": self.source,
            "page": self.page,
            "sha256": self.sha256,
            "status": self.status,
            "label": self.label,
            "confidence": _rounded(self.confidence),
            "probabilities": None
            if self.probabilities is None
            else {label: _rounded(p) for label, p in self.probabilities.items()},
            "flags": list(self.flags),
            "reasons": list(self.reasons),
            "model": self.model.to_record(),
            "timing_ms": {stage: round(ms, 3) for stage, ms in self.timing_ms.items()},
        }
        if self.layout is not None:
            record["layout"] = self.layout
        if self.sets is not None:
            record["set"] = {coverage: list(labels) for coverage, labels in self.sets.items()}
        return record


def _rounded(probability: float | None) -> float | None:
    """Round to six decimals: finer than any engine agrees with another."""
    return None if probability is None else round(float(probability), 6)
