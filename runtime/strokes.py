"""Joins runs of ink that touch into strokes, so that a trace can be told from letters."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from runtime.ink import Runs

__all__ = ["neighbours", "stroke_labels"]


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
    reach = pitch - slack
    first = np.searchsorted(bottoms, tops + reach, side="left")
    last = np.searchsorted(tops, bottoms + pitch + slack, side="right")
    many = np.maximum(last - first, 0)
    left = np.repeat(np.arange(len(x)), many)
    offset = np.arange(many.sum()) - np.repeat(np.cumsum(many) - many, many)
    return left, np.repeat(first, many) + offset


def stroke_labels(
    count: int, left: NDArray[np.int64], right: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Label connected runs (union by smallest index with pointer jumping).

    Parameters
    ----------
    count : int
        Number of runs.
    left, right : ndarray of int64, shape (m,)
        Pairs that touch.

    Returns
    -------
    ndarray of int64, shape (count,)
        The smallest index of each run's stroke.
    """
    parent = np.arange(count)
    while True:
        a, b = parent[left], parent[right]
        differ = a != b
        if not differ.any():
            return parent
        left, right, a, b = left[differ], right[differ], a[differ], b[differ]
        np.minimum.at(parent, np.maximum(a, b), np.minimum(a, b))
        while True:
            jumped = parent[parent]
            if np.array_equal(jumped, parent):
                break
            parent = jumped
