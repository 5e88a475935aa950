"""From calibrated probabilities to an answer: label, flags, abstention and prediction sets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from runtime.errors import BundleError
from runtime.record import Record

__all__ = ["Decision", "Verdict"]


class Verdict(Record):
    """What a probability vector means under a bundle's `Decision`."""

    label: str
    confidence: float
    flags: tuple[str, ...]
    reasons: tuple[str, ...]
    """Why the answer is uncertain; empty where it is not."""
    sets: dict[str, tuple[str, ...]] | None


class Decision(Record):
    """The thresholds of a bundle, fixed on out-of-fold predictions.

    Attributes
    ----------
    labels : tuple of str
        Label ids in the order of the probabilities.
    min_confidence : float
        Below it the answer is ``uncertain``.
    operating_points : mapping of str to float
        Critical label id -> probability at or above which it is flagged, whatever the label.
    conformal : mapping of str to float
        Nominal coverage (``"0.90"``) -> the quantile q of the scores 1 - p(true class); a label
        belongs to the set if p >= 1 - q (split conformal, Sadinle, Lei and Wasserman 2019).
    """

    labels: tuple[str, ...]
    min_confidence: float
    operating_points: Mapping[str, float]
    conformal: Mapping[str, float]

    @classmethod
    def from_manifest(cls, labels: Sequence[str], entry: Mapping[str, Any]) -> Decision:
        """Read the ``decision`` part of a manifest.

        Raises
        ------
        BundleError
            If a threshold is missing, not a probability, or names an unknown label.
        """
        try:
            decision = cls(
                labels=tuple(labels),
                min_confidence=float(entry["min_confidence"]),
                operating_points={
                    str(label): float(_threshold(point))
                    for label, point in entry["operating_points"].items()
                },
                conformal={str(k): float(q) for k, q in entry.get("conformal", {}).items()},
            )
        except (KeyError, TypeError, ValueError, AttributeError) as fault:
            raise BundleError(
                f"manifest.json: 'decision' is incomplete ({fault!r})", "export the bundle again"
            ) from fault
        decision._check()
        return decision

    def _check(self) -> None:
        unknown = set(self.operating_points) - set(self.labels)
        values = [self.min_confidence, *self.operating_points.values(), *self.conformal.values()]
        if unknown or any(not 0.0 <= value <= 1.0 for value in values):
            raise BundleError(
                "manifest.json: 'decision' has a threshold outside 0..1 or for an unknown label",
                "export the bundle again",
            )

    def decide(self, probabilities: Sequence[float]) -> Verdict:
        """Turn one probability vector, in the order of `labels`, into a verdict."""
        p = {label: float(value) for label, value in zip(self.labels, probabilities, strict=True)}
        label = max(p, key=lambda candidate: p[candidate])
        flags = tuple(c for c, point in self.operating_points.items() if p[c] >= point)
        reasons = []
        if p[label] < self.min_confidence:
            reasons.append(f"below minimum confidence {self.min_confidence:.2f}")
        return Verdict(
            label=label,
            confidence=p[label],
            flags=flags,
            reasons=tuple(reasons),
            sets=self._sets(p, label) if self.conformal else None,
        )

    def _sets(self, p: Mapping[str, float], label: str) -> dict[str, tuple[str, ...]]:
        """Return the prediction sets; the best guess always belongs to them."""
        return {
            coverage: tuple(c for c in self.labels if c == label or p[c] >= 1.0 - q)
            for coverage, q in self.conformal.items()
        }


def _threshold(point: Any) -> float:
    """Return the threshold of an operating point, given bare or with its measured figures."""
    return float(point["threshold"]) if isinstance(point, Mapping) else float(point)
