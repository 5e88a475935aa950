"""Scores of out-of-fold predictions, each with its 95 % interval.

Proportions of pages get Wilson intervals, which take pages as independent; figures that are no
plain proportion (macro recall, macro F1, calibration error) get bootstrap intervals that draw
whole session groups, since one session holds up to 29 recordings of one patient.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from runtime.labels import LABELS
from runtime.metrics import wilson

BOOTSTRAP_ROUNDS = 1000
ECE_BINS = 15
"""Equal-width bins, as in Guo et al. 2017."""


@dataclass(frozen=True)
class Estimate:
    """A figure with its 95 % interval; ``n`` pages carry it (0: not a proportion of pages)."""

    value: float
    low: float
    high: float
    n: int = 0

    def __str__(self) -> str:
        """Return for example ``0.953 (0.931-0.968)``."""
        return f"{self.value:.3f} ({self.low:.3f}-{self.high:.3f})"


@dataclass(frozen=True)
class Scores:
    """Everything the tables show of one set of predictions.

    Attributes
    ----------
    n
        Pages.
    accuracy, macro_recall, macro_f1, ece
        Over all pages; ``ece`` is the expected calibration error of the best guess.
    recall, precision
        By label id; a class that does not occur is left out.
    confusion
        Rows true, columns predicted.
    labels
        Label ids of rows and columns.
    """

    n: int
    accuracy: Estimate
    macro_recall: Estimate
    macro_f1: Estimate
    ece: Estimate
    recall: dict[str, Estimate] = field(default_factory=dict)
    precision: dict[str, Estimate] = field(default_factory=dict)
    confusion: tuple[tuple[int, ...], ...] = ()
    labels: tuple[str, ...] = LABELS

    def to_json(self) -> dict[str, Any]:
        """Return the scores as JSON values."""
        return asdict(self)


def proportion(hits: np.ndarray) -> Estimate:
    """Return the share of true values with its Wilson interval."""
    n, k = len(hits), int(np.sum(hits))
    return Estimate(k / n if n else float("nan"), *wilson(k, n), n)


def confusion_matrix(truth: np.ndarray, guess: np.ndarray, classes: int) -> np.ndarray:
    """Return counts [true, predicted], int64."""
    cells = np.bincount(truth * classes + guess, minlength=classes * classes)
    return cells.reshape(classes, classes)


def recalls(confusion: np.ndarray) -> np.ndarray:
    """Return the recall of each class; NaN for a class that does not occur."""
    total = confusion.sum(axis=1).astype(float)
    return np.divide(np.diag(confusion), total, out=np.full(len(total), np.nan), where=total > 0)


def f1_scores(confusion: np.ndarray) -> np.ndarray:
    """Return 2 TP / (2 TP + FP + FN) of each class that occurs, NaN for others."""
    hit = np.diag(confusion).astype(float)
    both = confusion.sum(axis=0) + confusion.sum(axis=1)
    f1 = np.divide(2 * hit, both, out=np.zeros(len(hit)), where=both > 0)
    f1[confusion.sum(axis=1) == 0] = np.nan
    return f1


def calibration_error(truth: np.ndarray, probabilities: np.ndarray, bins: int = ECE_BINS) -> float:
    """Return the expected calibration error of the best guess (Guo et al. 2017)."""
    confidence = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == truth
    number = np.minimum((confidence * bins).astype(int), bins - 1)
    gaps = np.bincount(number, right - confidence, bins)
    return float(np.abs(gaps).sum() / len(truth))


def bootstrap(
    statistic: Callable[[np.ndarray], float],
    groups: np.ndarray,
    seed: int,
    rounds: int = BOOTSTRAP_ROUNDS,
) -> tuple[float, float]:
    """Return the 95 % percentile interval of a statistic, drawing whole groups.

    Parameters
    ----------
    statistic
        Takes indices of pages (with repeats) and returns a figure.
    groups
        Group number of each page.
    seed
        Of the draws.
    rounds
        Number of draws.
    """
    rng = np.random.default_rng(seed)
    order = np.argsort(groups, kind="stable")
    members = np.split(order, np.flatnonzero(np.diff(groups[order])) + 1)
    values = np.empty(rounds)
    for i in range(rounds):
        chosen = rng.integers(0, len(members), len(members))
        values[i] = statistic(np.concatenate([members[c] for c in chosen]))
    low, high = np.nanpercentile(values, [2.5, 97.5])
    return float(low), float(high)


def score(
    truth: np.ndarray,
    probabilities: np.ndarray,
    groups: np.ndarray,
    seed: int = 0,
    labels: tuple[str, ...] = LABELS,
    rounds: int = BOOTSTRAP_ROUNDS,
) -> Scores:
    """Score predictions.

    Parameters
    ----------
    truth
        Class index, int [n].
    probabilities
        float [n, k].
    groups
        Group number of each page, for the bootstrap.
    seed
        Of the bootstrap.
    labels
        Label ids of the k columns.
    rounds
        Bootstrap draws.
    """
    k = len(labels)
    guess = probabilities.argmax(axis=1)
    confusion = confusion_matrix(truth, guess, k)

    def by_group(figure: Callable[[np.ndarray], float]) -> Estimate:
        whole = np.arange(len(truth))
        return Estimate(figure(whole), *bootstrap(figure, groups, seed, rounds), 0)

    return Scores(
        n=len(truth),
        accuracy=proportion(guess == truth),
        macro_recall=by_group(
            lambda i: float(np.nanmean(recalls(confusion_matrix(truth[i], guess[i], k))))
        ),
        macro_f1=by_group(
            lambda i: float(np.nanmean(f1_scores(confusion_matrix(truth[i], guess[i], k))))
        ),
        ece=by_group(lambda i: calibration_error(truth[i], probabilities[i])),
        recall={
            label: proportion(guess[truth == c] == c)
            for c, label in enumerate(labels)
            if np.any(truth == c)
        },
        precision={
            label: proportion(truth[guess == c] == c)
            for c, label in enumerate(labels)
            if np.any(truth == c)
        },
        confusion=tuple(tuple(int(v) for v in row) for row in confusion),
        labels=labels,
    )


def auroc(positive: np.ndarray, value: np.ndarray) -> float:
    """Return the area under the ROC curve (rank statistic); NaN without both kinds."""
    from scipy.stats import rankdata

    n_positive = int(positive.sum())
    n_negative = len(positive) - n_positive
    if not n_positive or not n_negative:
        return float("nan")
    ranks = rankdata(value)
    area = ranks[positive].sum() - n_positive * (n_positive + 1) / 2
    return float(area / (n_positive * n_negative))
