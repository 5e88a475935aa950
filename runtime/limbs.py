"""Corrects limb leads that the other limb leads contradict, by Einthoven's and Goldberger's laws.

Two of the six limb leads tell the other four at any instant; carts compute them so. Where waves of
two rows meet on the page, ink is hidden or goes to the wrong row. Where enough limb leads that were
recorded together agree, they tell what the others show.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from runtime.arrays import true_cells
from runtime.quantile import median, medians

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["LIMB_LEADS", "agreeing"]

LIMB_LEADS = {
    "I": (1.0, 0.0),
    "II": (0.0, 1.0),
    "III": (-1.0, 1.0),
    "aVR": (-0.5, -0.5),
    "aVL": (1.0, -0.5),
    "aVF": (-0.5, 1.0),
}
"""Each limb lead as a sum of leads I and II (Einthoven 1913; Goldberger 1942)."""

#: A lead is right where it is no further than this (mV) from what other leads tell.
TOLERANCE_MV = 0.1
#: So many leads must agree before one that was seen is called wrong: any two of them do.
AGREEING = 3


def agreeing(
    line: NDArray[np.float32], names: tuple[str, ...], px_per_mv: float
) -> NDArray[np.float32]:
    """Return the lines of limb leads, those that the others contradict corrected.

    Parameters
    ----------
    line : ndarray of float32, shape (3, k, n)
        Highest, lowest and mean place of k limb leads in columns of the same time, px; NaN where
        there is no ink. As from :func:`runtime.pen.thin_line`.
    names : tuple of str
        Of the k leads, from the top down.
    px_per_mv : float

    Returns
    -------
    ndarray of float32, shape (3, k, n)
        What is further than `TOLERANCE_MV` from what `AGREEING` others tell is put there. Where
        there is no ink, all others must agree and be no fewer than half; only the mean place is
        told there.
    """
    places, tolerance = line[2], TOLERANCE_MV * px_per_mv
    if len(names) <= AGREEING:  # too few to call any of them wrong
        count = np.add.reduce(np.isnan(places), axis=0, dtype=np.uint8)
        if not ((count > 0) & (2 * count <= len(names))).any():
            return line
    baselines, left_over = _left_over(places, _rest(names))
    doubtful = np.flatnonzero(~(np.abs(left_over).max(axis=0) <= tolerance / 2))  # NaN too
    if doubtful.size == 0:
        return line
    pairs, told = _told(names)
    seen = places[:, doubtful] - baselines
    guesses = told @ seen[pairs]
    off = np.abs(seen - guesses)
    best = np.argmin(np.fmin(off, tolerance).sum(axis=1), axis=0)
    column = np.arange(doubtful.size)
    apart = off[best, :, column].T
    agree = apart <= tolerance
    hidden = np.isnan(seen)
    wrong = ~agree & (np.count_nonzero(agree, axis=0) >= AGREEING)
    few = 2 * np.count_nonzero(hidden, axis=0) <= len(names)
    wrong |= hidden & few & (agree | hidden).all(axis=0)
    lead, column = true_cells(wrong)
    out = line.copy()
    out[2, lead, doubtful[column]] = guesses[best[column], lead, column] + baselines[lead, 0]
    inked = np.isfinite(places[lead, doubtful[column]])
    _stretch(out, lead[inked], doubtful[column[inked]])
    return out


def _stretch(line: NDArray[np.float32], lead: NDArray[np.int64], column: NDArray[np.int64]) -> None:
    """Let lines reach half-way to their places in the columns beside some; changes `line`."""
    places = line[2]
    here = places[lead, column]
    before = places[lead, np.maximum(column - 1, 0)]
    after = places[lead, np.minimum(column + 1, places.shape[1] - 1)]
    line[0, lead, column] = np.fmin(here, (here + np.fmin(before, after)) / 2)
    line[1, lead, column] = np.fmax(here, (here + np.fmax(before, after)) / 2)


def _left_over(
    places: NDArray[np.float32], rest: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the leads' baselines, shape (k, 1), and how far the leads disagree, shape (k, n)."""
    known = np.isfinite(places)
    usual = [median(row[k]) if k.any() else 0.0 for row, k in zip(places, known, strict=True)]
    baselines: NDArray[np.float32] = np.array(usual, np.float32)[:, None]
    left_over = rest @ (places - baselines)
    whole = known.all(axis=0)
    if whole.any():  # what they disagree by all the time is their baselines'
        always = medians(left_over[:, whole]).astype(np.float32, copy=False)
        return baselines + always, left_over - always
    return baselines, left_over


@lru_cache
def _rest(names: tuple[str, ...]) -> NDArray[np.float32]:
    """Return the projection of leads on what no heart makes of them, shape (k, k)."""
    table = np.array([LIMB_LEADS[name] for name in names])
    rest = np.eye(len(names)) - table @ _inverse(table.T @ table) @ table.T
    return np.asarray(rest, dtype=np.float32)


@lru_cache
def _told(names: tuple[str, ...]) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Return the pairs of leads, shape (p, 2), and what each tells of all, shape (p, k, 2)."""
    table = np.array([LIMB_LEADS[name] for name in names])
    pairs = np.array(list(combinations(range(len(names)), 2)))
    return pairs, np.asarray(table @ _inverse(table[pairs]), dtype=np.float32)


def _inverse(matrices: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the inverses of matrices of shape (..., 2, 2)."""
    a, b, c, d = matrices.reshape(*matrices.shape[:-2], 4).T
    inverse = np.stack([d, -b, -c, a]) / (a * d - b * c)
    return np.asarray(inverse.T.reshape(matrices.shape))
