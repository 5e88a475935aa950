"""Fixes on out-of-fold predictions how a model's numbers are to be read on the device.

Temperature (Guo et al. 2017), minimum confidence, operating points of the critical classes and
conformal thresholds are each fitted on all out-of-fold predictions for shipping; the figures
that are claimed come from fitting on four folds and judging on the fifth.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import ceil
from typing import Any

import numpy as np

from runtime.labels import CRITICAL_LABELS, LABELS
from train.scores import Estimate, bootstrap, calibration_error, proportion

TARGET_SENSITIVITY = 0.95
"""Of the flags of the critical classes, on out-of-fold predictions (issue 4)."""

MAX_UNCERTAIN = 0.15
"""Share of pages that may be answered ``uncertain``."""

TARGET_ACCURACY = 0.93
"""Wanted of the pages that are answered; more abstention than needed for it is waste."""

COVERAGES = (0.90, 0.95)
"""Nominal coverage of the conformal sets."""


def softmax(logits: np.ndarray, temperature: float = 1.0) -> np.ndarray:
    """Return probabilities [n, k] of logits [n, k] divided by a temperature."""
    scaled = np.asarray(logits, dtype=float) / temperature
    scaled = scaled - scaled.max(axis=1, keepdims=True)
    weights = np.exp(scaled)
    return weights / weights.sum(axis=1, keepdims=True)


def log_probabilities(probabilities: np.ndarray) -> np.ndarray:
    """Return logits that give these probabilities back, for models without logits."""
    return np.log(np.clip(probabilities, 1e-6, 1.0))


def fit_temperature(logits: np.ndarray, truth: np.ndarray) -> float:
    """Return the temperature that minimises the mean negative log likelihood."""
    from scipy.optimize import minimize_scalar

    rows = np.arange(len(truth))

    def loss(log_temperature: float) -> float:
        p = softmax(logits, float(np.exp(log_temperature)))
        return -float(np.log(np.clip(p[rows, truth], 1e-12, 1.0)).mean())

    return float(np.exp(minimize_scalar(loss, bounds=(-3.0, 3.0), method="bounded").x))


def cross_fitted(logits: np.ndarray, truth: np.ndarray, folds: np.ndarray) -> np.ndarray:
    """Return probabilities whose temperature was fitted on the other folds only."""
    out = np.zeros(logits.shape)
    for fold in np.unique(folds):
        here = folds == fold
        others = ~here if np.any(~here) else here
        out[here] = softmax(logits[here], fit_temperature(logits[others], truth[others]))
    return out


def minimum_confidence(probabilities: np.ndarray, truth: np.ndarray) -> float:
    """Return the confidence below which an answer is ``uncertain``.

    The smallest one whose answered pages reach `TARGET_ACCURACY`, but never so large that more
    than `MAX_UNCERTAIN` of the pages are left without an answer.
    """
    confidence = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == truth
    order = np.argsort(confidence)
    most = int(MAX_UNCERTAIN * len(order))
    for dropped in range(most + 1):
        if right[order[dropped:]].mean() >= TARGET_ACCURACY:
            break
    return float(np.floor(confidence[order[dropped]] * 1e4) / 1e4)


def operating_threshold(
    probability: np.ndarray, positive: np.ndarray, sensitivity: float = TARGET_SENSITIVITY
) -> float:
    """Return the largest threshold that flags at least this share of the positives."""
    values = np.sort(probability[positive])[::-1]
    needed = ceil(sensitivity * len(values))
    return float(values[needed - 1]) if needed else 1.0


def conformal_quantile(probabilities: np.ndarray, truth: np.ndarray, coverage: float) -> float:
    """Return q of split conformal prediction with scores 1 - p(true class).

    References
    ----------
    Sadinle, Lei and Wasserman 2019, "Least ambiguous set-valued classifiers".
    """
    scores = np.sort(1.0 - probabilities[np.arange(len(truth)), truth])
    rank = min(ceil((len(scores) + 1) * coverage), len(scores))
    return float(scores[rank - 1])


def conformal_sets(probabilities: np.ndarray, q: float) -> np.ndarray:
    """Return which labels belong to each set, bool [n, k], as runtime.decision forms them."""
    sets = probabilities >= 1.0 - q
    sets[np.arange(len(sets)), probabilities.argmax(axis=1)] = True
    return sets


@dataclass(frozen=True)
class Calibration:
    """Everything fixed on out-of-fold predictions, and what it is worth.

    Attributes
    ----------
    temperature
        Divisor of the logits.
    probabilities
        Of all pages with that temperature, float [n, 5].
    decision
        ``min_confidence``, ``operating_points`` and ``conformal`` as the manifest wants them.
    judged
        The cross-fitted figures: calibration error before and after, share of uncertain pages
        and accuracy of the rest, coverage and mean size of the sets, sensitivity and
        specificity of the flags.
    """

    temperature: float
    probabilities: np.ndarray
    decision: dict[str, Any]
    judged: dict[str, Any]


def calibrate(
    logits: np.ndarray, truth: np.ndarray, folds: np.ndarray, groups: np.ndarray, seed: int = 0
) -> Calibration:
    """Fit everything on all pages; judge it across folds."""
    temperature = fit_temperature(logits, truth)
    p = softmax(logits, temperature)
    honest = cross_fitted(logits, truth, folds)
    decision = {
        "min_confidence": minimum_confidence(p, truth),
        "operating_points": {
            label: _operating_point(label, p, honest, truth, folds) for label in CRITICAL_LABELS
        },
        "conformal": {f"{c:.2f}": conformal_quantile(p, truth, c) for c in COVERAGES},
    }
    judged = {
        "ece_before": _ece(softmax(logits), truth, groups, seed),
        "ece_after": _ece(honest, truth, groups, seed),
        "abstention": _judge_abstention(honest, truth, folds),
        "conformal": {f"{c:.2f}": _judge_sets(honest, truth, folds, c) for c in COVERAGES},
    }
    return Calibration(temperature, p, decision, judged)


def _ece(p: np.ndarray, truth: np.ndarray, groups: np.ndarray, seed: int) -> Estimate:
    whole = calibration_error(truth, p)
    low, high = bootstrap(lambda i: calibration_error(truth[i], p[i]), groups, seed)
    return Estimate(whole, low, high, len(truth))


def _across_folds(
    folds: np.ndarray, judge: Callable[[np.ndarray, np.ndarray], np.ndarray]
) -> np.ndarray:
    """Gather ``judge(other folds, this fold)`` over all folds, in the order of the pages."""
    out = None
    for fold in np.unique(folds):
        here = folds == fold
        others = ~here if np.any(~here) else here
        values = judge(others, here)
        if out is None:
            out = np.zeros((len(folds), *values.shape[1:]), values.dtype)
        out[here] = values
    assert out is not None
    return out


def _judge_abstention(p: np.ndarray, truth: np.ndarray, folds: np.ndarray) -> dict[str, Any]:
    answered = _across_folds(
        folds, lambda o, h: p[h].max(axis=1) >= minimum_confidence(p[o], truth[o])
    )
    right = p.argmax(axis=1) == truth
    return {"uncertain": proportion(~answered), "accuracy_answered": proportion(right[answered])}


def _judge_sets(
    p: np.ndarray, truth: np.ndarray, folds: np.ndarray, coverage: float
) -> dict[str, Any]:
    sets = _across_folds(
        folds, lambda o, h: conformal_sets(p[h], conformal_quantile(p[o], truth[o], coverage))
    )
    return {
        "coverage": proportion(sets[np.arange(len(truth)), truth]),
        "mean_size": float(sets.sum(axis=1).mean()),
    }


def _operating_point(
    label: str, p: np.ndarray, honest: np.ndarray, truth: np.ndarray, folds: np.ndarray
) -> dict[str, Any]:
    """Return the threshold, and what such a threshold does on pages it was not chosen on."""
    c = LABELS.index(label)
    positive = truth == c
    if not positive.any():
        return {"threshold": 1.0, "target_sensitivity": TARGET_SENSITIVITY}
    flagged = _across_folds(
        folds,
        lambda o, h: honest[h, c] >= operating_threshold(honest[o, c], positive[o]),
    )
    threshold = operating_threshold(p[:, c], positive)
    return {
        "threshold": float(np.floor(threshold * 1e6) / 1e6),
        "target_sensitivity": TARGET_SENSITIVITY,
        "sensitivity": proportion(flagged[positive]),
        "specificity": proportion(~flagged[~positive]),
    }
