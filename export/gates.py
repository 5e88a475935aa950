"""The gates: what is measured of a converted model's answers, each beside its limit."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from math import comb, floor
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from runtime.errors import UsageError
from runtime.labels import LABELS
from train.scores import calibration_error

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = [
    "Limits",
    "Rung",
    "guarded_points",
    "mcnemar_exact",
    "measure",
    "measure_final",
    "read_limits",
]

_DEFAULTS: Final = Path(__file__).with_name("limits.toml")
_STEP: Final = 1e-6
"""Operating points are kept to six decimals, as probabilities in records are."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of all gates; ``export/limits.toml`` says what each one is and its default."""

    agreement: float
    accuracy_drop: float
    recall_drop: float
    lost_critical: float
    mean_drift: float
    max_drift: float
    ece_growth: float
    operating_point_shift: float
    specificity_drop: float
    mcnemar_p: float
    mcnemar_least: float
    sum_error: float
    reference_drift: float
    final_agreement: float
    final_mean_drift: float
    side_correlation: float


@dataclass(frozen=True, slots=True)
class Rung:
    """One gate: what was measured, and its limit.

    Attributes
    ----------
    name : str
        What was measured.
    measured : float
        NaN where there was nothing to measure; such a rung passes, and says why in `detail`.
    limit : float
    at_most : bool
        Whether the limit is the largest (True) or the smallest allowed value.
    detail : str
        Counts behind the figure.
    """

    name: str
    measured: float
    limit: float
    at_most: bool = True
    detail: str = ""

    @property
    def passed(self) -> bool:
        """Tell whether the measured value keeps its limit."""
        if np.isnan(self.measured):
            return True
        tolerance = 1e-12
        if self.at_most:
            return self.measured <= self.limit + tolerance
        return self.measured >= self.limit - tolerance

    def line(self) -> str:
        """Return the line that is printed."""
        sign = "<=" if self.at_most else ">="
        measured = "n/a" if np.isnan(self.measured) else f"{self.measured:.5g}"
        verdict = "ok" if self.passed else "FAILED"
        text = f"{self.name:<34} {measured:>10} {sign} {self.limit:<8g} {verdict:<6} {self.detail}"
        return text.rstrip()

    def to_json(self) -> dict[str, Any]:
        """Return the rung as JSON values."""
        return {
            "name": self.name,
            "measured": None if np.isnan(self.measured) else float(self.measured),
            "limit": float(self.limit),
            "sense": "at most" if self.at_most else "at least",
            "passed": self.passed,
            "detail": self.detail,
        }


def read_limits(file: Path | None = None) -> Limits:
    """Read the limits.

    Parameters
    ----------
    file : Path or None
        A TOML file whose keys replace the defaults.

    Raises
    ------
    UsageError
        If the file cannot be read, or holds an unknown key or something that is no number.
    """
    limits = Limits(**tomllib.loads(_DEFAULTS.read_text(encoding="utf-8")))
    if file is None:
        return limits
    try:
        changes = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as fault:
        raise UsageError(f"{file}: not readable as TOML ({fault})", "see export/limits.toml") from (
            fault
        )
    known = {field.name for field in fields(Limits)}
    wrong = [
        key
        for key, value in changes.items()
        if key not in known or isinstance(value, bool) or not isinstance(value, (int, float))
    ]
    if wrong:
        raise UsageError(
            f"{file}: {', '.join(wrong)} is not a limit or not a number",
            f"limits are {', '.join(sorted(known))}",
        )
    return replace(limits, **changes)


def measure(
    labels: NDArray[np.int64],
    reference: NDArray[np.float64],
    candidate: NDArray[np.float64],
    raw_sums: NDArray[np.float64],
    points: Mapping[str, float],
    shipped_points: Mapping[str, float],
    limits: Limits,
) -> tuple[Rung, ...]:
    """Measure every gate on held-out predictions; none stops the others.

    Parameters
    ----------
    labels : ndarray of int, shape [n]
        True class of each page.
    reference, candidate : ndarray of float, shape [n, 5]
        Probabilities of float32 and of the converted model, summing to one.
    raw_sums : ndarray of float, shape [n]
        Sums of the candidate's probabilities before they were normalised.
    points : mapping of str to float
        Critical label -> operating point of the RUN.
    shipped_points : mapping of str to float
        Operating points that the bundle will carry, see `guarded_points`.
    limits : Limits

    Returns
    -------
    tuple of Rung
    """
    if not (np.all(np.isfinite(candidate)) and np.all(np.isfinite(raw_sums))):
        count = int(np.sum(~np.isfinite(candidate).all(axis=1)))
        return (Rung("answers that are no numbers", max(count, 1), 0),)
    drift = np.abs(candidate - reference)
    before, after = reference.argmax(axis=1), candidate.argmax(axis=1)
    right_before, right_after = before == labels, after == labels
    n = len(labels)
    return (
        Rung("answers that are no numbers", 0, 0),
        Rung("sum of probabilities, error", float(np.abs(raw_sums - 1).max()), limits.sum_error),
        Rung(
            "label agreement",
            float(np.mean(before == after)),
            limits.agreement,
            at_most=False,
            detail=f"{int(np.sum(before != after))} of {n} labels turned",
        ),
        Rung(
            "accuracy drop",
            float(right_before.mean() - right_after.mean()),
            limits.accuracy_drop,
            detail=f"{right_before.sum()} -> {right_after.sum()} of {n} right",
        ),
        *_recall_rungs(labels, right_before, right_after, limits),
        *_critical_rungs(labels, reference, candidate, points, shipped_points, limits),
        Rung("mean drift of probabilities", float(drift.mean()), limits.mean_drift),
        Rung("largest drift of a probability", float(drift.max()), limits.max_drift),
        Rung(
            "calibration error, growth",
            calibration_error(labels, candidate) - calibration_error(labels, reference),
            limits.ece_growth,
            detail=f"{calibration_error(labels, reference):.4f} -> "
            f"{calibration_error(labels, candidate):.4f}",
        ),
        _mcnemar_rung(right_before, right_after, limits),
    )


def _recall_rungs(
    labels: NDArray[np.int64],
    right_before: NDArray[np.bool_],
    right_after: NDArray[np.bool_],
    limits: Limits,
) -> list[Rung]:
    rungs = []
    for c, label in enumerate(LABELS):
        here = labels == c
        if here.any():
            a, b = int(right_before[here].sum()), int(right_after[here].sum())
            rungs.append(
                Rung(
                    f"recall drop {label}",
                    (a - b) / int(here.sum()),
                    limits.recall_drop,
                    detail=f"{a} -> {b} of {int(here.sum())}",
                )
            )
    return rungs


def _critical_rungs(
    labels: NDArray[np.int64],
    reference: NDArray[np.float64],
    candidate: NDArray[np.float64],
    points: Mapping[str, float],
    shipped_points: Mapping[str, float],
    limits: Limits,
) -> list[Rung]:
    rungs = []
    for label, point in points.items():
        c = LABELS.index(label)
        shipped = shipped_points[label]
        positive = labels == c
        had, has = reference[:, c] >= point, candidate[:, c] >= shipped
        lost = int(np.sum(positive & had & ~has))
        rungs.append(
            Rung(
                f"lost cases {label}",
                lost,
                limits.lost_critical,
                detail=f"flagged {int(np.sum(positive & had))} -> {int(np.sum(positive & has))} "
                f"of {int(positive.sum())}",
            )
        )
        rungs.append(
            Rung(
                f"operating point shift {label}",
                point - shipped,
                limits.operating_point_shift,
                detail=f"{point:.4f} -> {shipped:.4f}",
            )
        )
        if positive.any():
            rungs.append(
                Rung(
                    f"sensitivity drop {label}",
                    float(np.mean(had[positive]) - np.mean(has[positive])),
                    0.0,
                    detail=f"{np.mean(had[positive]):.4f} -> {np.mean(has[positive]):.4f}",
                )
            )
        if not positive.all():
            rungs.append(
                Rung(
                    f"specificity drop {label}",
                    float(np.mean(has[~positive]) - np.mean(had[~positive])),
                    limits.specificity_drop,
                    detail=f"{np.mean(~had[~positive]):.4f} -> {np.mean(~has[~positive]):.4f}",
                )
            )
    return rungs


def _mcnemar_rung(
    right_before: NDArray[np.bool_], right_after: NDArray[np.bool_], limits: Limits
) -> Rung:
    lost = int(np.sum(right_before & ~right_after))
    won = int(np.sum(~right_before & right_after))
    detail = f"{lost} answers became wrong, {won} became right"
    if lost + won < limits.mcnemar_least or lost <= won:
        return Rung(
            "McNemar p (worse)",
            float("nan"),
            limits.mcnemar_p,
            at_most=False,
            detail=f"{detail}: nothing to test",
        )
    return Rung(
        "McNemar p (worse)",
        mcnemar_exact(lost, won),
        limits.mcnemar_p,
        at_most=False,
        detail=detail,
    )


def measure_final(
    before: Mapping[str, NDArray[np.float32]],
    after: Mapping[str, NDArray[np.float32]],
    limits: Limits,
) -> tuple[Rung, ...]:
    """Compare the final model with itself before conversion, page by page.

    Held-out pages judge the fold models; this judges the very file that is shipped.

    Parameters
    ----------
    before, after : mapping of str to ndarray
        ``probabilities`` [n, 5], and where the model gives them ``evidence`` and ``features``.
    limits : Limits
    """
    p, q = before["probabilities"], after["probabilities"]
    if not np.all(np.isfinite(q)):
        return (Rung("final model: answers that are no numbers", len(q), 0),)
    same = p.argmax(axis=1) == q.argmax(axis=1)
    rungs = [
        Rung(
            "final model: label agreement",
            float(same.mean()),
            limits.final_agreement,
            at_most=False,
            detail=f"{int(np.sum(~same))} of {len(p)} labels turned",
        ),
        Rung(
            "final model: mean drift",
            float(np.abs(p - q).mean()),
            limits.final_mean_drift,
            detail=f"largest {np.abs(p - q).max():.4f}",
        ),
    ]
    rungs += [
        Rung(
            f"final model: {name} correlation",
            _correlation(before[name], after[name]),
            limits.side_correlation,
            at_most=False,
        )
        for name in ("evidence", "features")
        if name in before and name in after
    ]
    return tuple(rungs)


def _correlation(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    x, y = np.ravel(a).astype(np.float64), np.ravel(b).astype(np.float64)
    x, y = x - x.mean(), y - y.mean()
    norm = float(np.sqrt((x @ x) * (y @ y)))
    if norm == 0.0:
        return 1.0 if np.allclose(a, b) else 0.0
    return float(x @ y) / norm


def guarded_points(
    labels: NDArray[np.int64],
    reference: NDArray[np.float64],
    candidates: list[NDArray[np.float64]],
    points: Mapping[str, float],
    limits: Limits,
) -> dict[str, float]:
    """Return the operating points that a format ships with.

    The RUN puts an operating point exactly on the probability of its last case. Integers move
    that probability by a step in either direction, so half the time the case would be lost. The
    point is therefore lowered, for this format, to the lowest probability that any engine gives
    to a case which float32 flagged; never by more than the limit, and never raised.

    Parameters
    ----------
    labels : ndarray of int, shape [n]
    reference : ndarray of float, shape [n, 5]
    candidates : list of ndarray of float, shape [n, 5]
        One an engine.
    points : mapping of str to float
    limits : Limits
    """
    shipped = {}
    for label, point in points.items():
        c = LABELS.index(label)
        cases = (labels == c) & (reference[:, c] >= point)
        lowest = min((float(p[cases, c].min()) for p in candidates if cases.any()), default=point)
        # What the engines give as 32-bit numbers is kept with six decimals: round down.
        lowest = floor(lowest / _STEP) * _STEP if lowest < point else point
        shipped[label] = max(lowest, point - limits.operating_point_shift, 0.0)
    return shipped


def mcnemar_exact(lost: int, won: int) -> float:
    """Return the two-sided exact McNemar p value of `lost` against `won` discordant pairs.

    References
    ----------
    Fagerland, Lydersen and Laake 2013, BMC Med. Res. Methodol. 13:91, equation 4.
    """
    n = lost + won
    if n == 0:
        return 1.0
    tail = sum(comb(n, k) for k in range(min(lost, won) + 1)) / 2**n
    return min(1.0, 2 * tail)
