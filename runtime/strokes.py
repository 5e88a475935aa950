"""Joins runs of ink that touch into strokes, so that a trace can be told from letters."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from runtime.arrays import indices, ranges
from runtime.record import Record

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from runtime.ink import Runs

__all__ = ["Strokes", "neighbours", "numbers_of", "pairs_among", "stroke_labels", "strokes_of"]


class Strokes(Record):
    """Runs of ink with what touches what, so that parts of them need not be joined again.

    Attributes
    ----------
    runs : Runs
    left, right : ndarray of int64, shape (m,)
        Pairs that touch, one row of white between them at most; as from :func:`neighbours`.
    labels : ndarray of int64, shape (n,)
        As from :func:`stroke_labels`.
    widths : ndarray of int32, shape (n,)
        Columns that each run's stroke goes on from its first.
    heights : ndarray of int32, shape (n,)
        Rows that it covers.
    """

    runs: Runs
    left: NDArray[np.int64]
    right: NDArray[np.int64]
    labels: NDArray[np.int64]
    widths: NDArray[np.int32]
    heights: NDArray[np.int32]

    def within(self, left: float, top: float, right: float, bottom: float) -> Strokes:
        """Return the strokes inside a rectangle, cut off at its edges."""
        runs, high, low = self.runs, round(top), round(bottom)
        keep = (runs.x >= left) & (runs.x < right) & (runs.top < low) & (runs.bottom > high)
        cut = keep & ((runs.top < high) | (runs.bottom > low))
        if cut.any() or (keep[self.left] != keep[self.right]).any():
            return strokes_of(runs.within(left, top, right, bottom))
        kept, numbers = indices(keep), numbers_of(keep)
        both = indices(keep[self.left])  # and so on the right
        return Strokes(
            runs.where(keep),
            numbers[self.left[both]],
            numbers[self.right[both]],
            numbers[self.labels[kept]],
            self.widths[kept],
            self.heights[kept],
        )

    def pairs_where(self, keep: NDArray[np.bool_]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the touching pairs among the runs for which `keep` is true, as their indices."""
        return pairs_among(self.left, self.right, keep)


def pairs_among(
    left: NDArray[np.int64], right: NDArray[np.int64], keep: NDArray[np.bool_]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the pairs of which both runs are kept, as their numbers among the runs kept.

    Parameters
    ----------
    left, right : ndarray of int64, shape (m,)
    keep : ndarray of bool, shape (n,)
    """
    both = indices(keep[left] & keep[right])
    numbers = numbers_of(keep)
    return numbers[left[both]], numbers[right[both]]


def numbers_of(keep: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return the number of each run that is kept among those; of the others, anything."""
    places = indices(keep)
    numbers = np.empty(len(keep), dtype=np.int64)
    numbers[places] = np.arange(len(places))
    return numbers


def strokes_of(runs: Runs) -> Strokes:
    """Join runs into strokes."""
    count = len(runs.x)
    left, right = neighbours(runs, 1)
    labels = stroke_labels(count, left, right)
    # Runs are sorted by column, and a stroke's label is its first run: so x[label] is its left
    # end, and the last one written below its right end.
    end = np.zeros(count, dtype=np.int32)
    end[labels] = runs.x
    top, bottom = np.full(count, runs.size[1], dtype=np.int32), np.zeros(count, dtype=np.int32)
    np.minimum.at(top, labels, runs.top)
    np.maximum.at(bottom, labels, runs.bottom)
    widths, heights = (end - runs.x)[labels], (bottom - top)[labels]
    return Strokes(runs, left, right, labels, widths, heights)


def neighbours(runs: Runs, slack: int = 0) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """List the pairs of runs in adjacent columns that touch, diagonally too.

    Parameters
    ----------
    runs : Runs
    slack : int
        Rows of white between two runs that are still taken as touching.

    Returns
    -------
    left, right : ndarray of int64, shape (m,)
        Indices of the runs of each pair.
    """
    pitch = runs.size[1] + 2 * (slack + 2)
    x = runs.x.astype(np.int64)
    tops, bottoms = x * pitch + runs.top, x * pitch + runs.bottom
    first = _fewer(bottoms, tops + (pitch - slack))
    last = _fewer(tops, bottoms + (pitch + slack + 1))
    many = np.maximum(last - first, 0)
    return np.arange(len(x)).repeat(many), ranges(first, many)


def _fewer(values: NDArray[np.int64], limits: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return how many of the values are below each limit; both ascend.

    As ``np.searchsorted``, but faster: a stable sort merges what is sorted already.
    """
    marked = np.concatenate([2 * limits, 2 * values + 1])
    marked.sort(kind="stable")
    return indices(marked & 1 == 0) - np.arange(len(limits))


def stroke_labels(
    count: int, left: NDArray[np.int64], right: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Label connected runs (union by smallest index with pointer jumping).

    Parameters
    ----------
    count : int
        Number of runs.
    left, right : ndarray of int64, shape (m,)
        Pairs that touch; `left` is the smaller index.

    Returns
    -------
    ndarray of int64, shape (count,)
        The smallest index of each run's stroke.
    """
    parent = np.arange(count)
    # Begin with each run's first neighbour on its left: of repeated places the last one written
    # stays, so they are written backwards.
    parent[right[::-1]] = left[::-1]
    parent = _roots(parent)
    one, other = parent[left], parent[right]
    apart = indices(one != other)
    if apart.size == 0:
        return parent
    # Few pairs are left to join, of few strokes: these are labelled like runs.
    one, other = one[apart], other[apart]
    joining = np.zeros(count, dtype=bool)
    joining[one] = joining[other] = True
    few = indices(joining)
    one, other = few.searchsorted(one), few.searchsorted(other)
    parent[few] = few[stroke_labels(len(few), np.minimum(one, other), np.maximum(one, other))]
    return parent.take(parent)


def _roots(parent: NDArray[np.int64]) -> NDArray[np.int64]:
    """Follow every run's parents up to the last one."""
    while True:
        nearer = parent.take(parent)
        parent = nearer.take(nearer)
        if not np.count_nonzero(parent != nearer):
            return parent
