"""Turns a model's contributions into what a person can read: places on leads, and leads named."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from runtime.preprocess import CANONICAL

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from runtime.prediction import Evidence, Prediction

__all__ = ["SLOTS", "LeadShare", "Reading", "explained_label", "explanation", "read_evidence"]

SLOTS: Final = 8
"""Finest stretches of a lead that are told apart: 0.3 s each, a QRS complex or a T wave."""

_CARRIED: Final = 2 / 3
"""Leads are named, the strongest first, until together they hold this share."""
_MOST_NAMED: Final = 4


@dataclass(frozen=True, slots=True)
class LeadShare:
    """One lead and its share of all that spoke for the answer, 0..1."""

    name: str
    share: float


@dataclass(frozen=True, slots=True)
class Reading:
    """The evidence for one class on one page.

    Attributes
    ----------
    label : str
        The class that it is evidence for.
    scores : ndarray of float32, shape (3, 4 * slots)
        What each stretch of each lead of the canonical arrangement adds to this class, against
        the mean of all classes, divided by the largest magnitude: -1..1.
    slots : int
        Stretches a lead.
    leads : tuple of LeadShare
        The leads that carried the answer, the strongest first; empty where none spoke for it.
    """

    label: str
    scores: NDArray[np.float32]
    slots: int
    leads: tuple[LeadShare, ...]


def explained_label(prediction: Prediction) -> str | None:
    """Return the class whose evidence is shown: the answer, unless another class is flagged."""
    p = prediction.probabilities
    if p is None or not prediction.flags or prediction.label in prediction.flags:
        return prediction.label
    return max(prediction.flags, key=lambda flag: p[flag])


def read_evidence(prediction: Prediction) -> Reading | None:
    """Read the evidence that a prediction kept.

    A constant added to every class's logit changes no probability, so what counts for a class is
    its contribution minus the mean over the classes.

    Returns
    -------
    Reading or None
        None where the page was not answered or no lead was found on it.
    """
    kept = prediction.evidence
    if kept is None or kept.contributions is None or not kept.panel or not kept.panel.leads:
        return None
    label = explained_label(prediction)
    if label is None or prediction.probabilities is None:
        return None
    index = list(prediction.probabilities).index(label)
    values = np.asarray(kept.contributions, dtype=np.float32)
    relative = values[:, :, index] - values.mean(axis=2)
    scores = _regrid(relative)
    leads = _leads(scores, kept)
    peak = float(np.abs(scores).max())
    if peak > 0:
        scores = scores / peak
    return Reading(label, scores.astype(np.float32), scores.shape[1] // len(CANONICAL[0]), leads)


def explanation(prediction: Prediction) -> dict[str, Any]:
    """Return what `serve` tells beside the picture, ready for JSON.

    ``method`` and ``label`` are None where there is no evidence; ``leads`` holds name and share
    of the leads that carried the class, the strongest first.
    """
    reading = read_evidence(prediction)
    kept = prediction.evidence
    if reading is None or kept is None:
        return {"method": None, "label": None, "leads": []}
    leads = [{"name": lead.name, "share": round(lead.share, 4)} for lead in reading.leads]
    return {"method": kept.method, "label": reading.label, "leads": leads}


def _regrid(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Sum a map [gh, gw] into [3, 4 * slots]; sums keep what the places add up to.

    A map that does not divide into the twelve cells is spread out first, each place in equal
    parts over the finer ones that it covers.
    """
    height, width = values.shape
    rows, columns = len(CANONICAL), len(CANONICAL[0])
    if height % rows:
        values = np.repeat(values, rows, axis=0) / np.float32(rows)
    if width % columns:
        values = np.repeat(values, columns, axis=1) / np.float32(columns)
    places = values.shape[1] // columns
    slots = next(n for n in range(min(SLOTS, places), 0, -1) if places % n == 0)
    parts = values.reshape(rows, values.shape[0] // rows, columns * slots, places // slots)
    return np.asarray(parts.sum(axis=(1, 3)), dtype=np.float32)


def _leads(scores: NDArray[np.float32], kept: Evidence) -> tuple[LeadShare, ...]:
    """Name the leads whose sums spoke for the answer, among those that are on the page."""
    columns = len(CANONICAL[0])
    totals = scores.reshape(len(CANONICAL), columns, -1).sum(axis=2)
    present = {lead.name for lead in kept.panel.leads}
    spoke = {
        name: float(totals[row, column])
        for row, names in enumerate(CANONICAL)
        for column, name in enumerate(names)
        if name in present and totals[row, column] > 0
    }
    whole = sum(spoke.values())
    named: list[LeadShare] = []
    held = 0.0
    for name in sorted(spoke, key=lambda lead: -spoke[lead]):
        if held >= _CARRIED or len(named) == _MOST_NAMED:
            break
        named.append(LeadShare(name, spoke[name] / whole))
        held += spoke[name] / whole
    return tuple(named)
