"""Follows the trace of every row of leads, column by column."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from runtime.ink import Runs

__all__ = ["LeadTrace", "RowTrace", "follow_rows", "lead_of_row", "separator_columns"]


@dataclass(frozen=True)
class LeadTrace:
    """One lead as read from the page.

    Attributes
    ----------
    name : str
        ``"I"`` ... ``"V6"``.
    box : ndarray of float32, shape (4, 2)
        Corners of the lead's place on the page in ORIGINAL px: top left, top right, bottom right,
        bottom left of the upright page.
    centre : ndarray of float32, shape (T,)
        Middle of the ink in each column, mV above the lead's own baseline; NaN where there is none.
        Columns are evenly spaced over `seconds`.
    top, bottom : ndarray of float32, shape (T,)
        Highest and lowest value of the line in each column, mV; the width of the line is taken off.
    start_s : float
        Time of the first column, seconds after the start of the recording.
    seconds : float
        Time that the columns span.
    """

    name: str
    box: NDArray[np.float32]
    centre: NDArray[np.float32]
    top: NDArray[np.float32]
    bottom: NDArray[np.float32]
    start_s: float
    seconds: float


@dataclass(frozen=True)
class RowTrace:
    """The line of one row of leads in working px.

    Attributes
    ----------
    top, bottom : ndarray of float32, shape (w,)
        Upper and lower edge of the ink in each column of the picture; NaN where there is none.
    """

    top: NDArray[np.float32]
    bottom: NDArray[np.float32]


def separator_columns(
    runs: Runs, baselines: NDArray[np.float64], border: float, reach: float
) -> NDArray[np.int64]:
    """Find the printed vertical line between two columns of leads.

    Parameters
    ----------
    runs : Runs
    baselines : ndarray of float64, shape (rows, w)
        Baselines of the rows that the line crosses, working px.
    border : float
        Where the line is expected, working px.
    reach : float
        How far from there it may be, working px.

    Returns
    -------
    ndarray of int64
        Columns in which a single run crosses every baseline; empty where there is no line.
    """
    near = np.abs(runs.x - border) <= reach
    x, top, bottom = runs.x[near], runs.top[near], runs.bottom[near]
    crosses = (top <= baselines[0, x]) & (bottom >= baselines[-1, x])
    return np.unique(x[crosses]).astype(np.int64)


def follow_rows(runs: Runs, baselines: NDArray[np.float64]) -> tuple[tuple[RowTrace, ...], float]:
    """Give each row its ink.

    Parameters
    ----------
    runs : Runs
    baselines : ndarray of float64, shape (rows, w)
        Baseline of each row in each column, working px, from the top down.

    Returns
    -------
    rows : tuple of RowTrace
    line_width : float
        Usual height of a run on the flat parts of the trace, working px.
    """
    count, width = baselines.shape
    x, top, bottom = runs.x, runs.top, runs.bottom
    at_run = baselines[:, x]
    distance = np.maximum(np.maximum(top - at_run, at_run - bottom), 0.0)
    row = np.argmin(distance, axis=0)
    nearest = distance[row, np.arange(len(x))]
    limits = np.full((count + 1, width), np.inf)
    limits[1:-1] = (baselines[1:] + baselines[:-1]) / 2
    limits[0] = -np.inf
    spacing = np.median(np.diff(baselines, axis=0)) if count > 1 else runs.size[1] / 4
    keep = nearest < spacing
    line_width = 1.0
    best_top = np.full((count, width), np.nan, dtype=np.float32)
    best_bottom = np.full((count, width), np.nan, dtype=np.float32)
    for index in range(count):
        inside = distance[index] == 0.0
        mine = np.flatnonzero(keep & ((row == index) | inside))
        order = mine[np.argsort(-distance[index][mine], kind="stable")]
        columns = x[order]
        shared = (distance[:, order] == 0.0).sum(axis=0) > 1
        low, high = limits[index, columns], limits[index + 1, columns]
        best_top[index, columns] = np.where(shared, np.maximum(top[order], low), top[order])
        best_bottom[index, columns] = np.where(
            shared, np.minimum(bottom[order], high), bottom[order]
        )
    heights = best_bottom - best_top
    if np.isfinite(heights).any():
        line_width = float(np.nanpercentile(heights, 30))
    return tuple(RowTrace(t, b) for t, b in zip(best_top, best_bottom, strict=True)), line_width


def lead_of_row(
    row: RowTrace,
    span: tuple[float, float],
    *,
    name: str,
    box: NDArray[np.float32],
    line_width: float,
    px_per_mv: float,
    start_s: float,
    seconds: float,
) -> LeadTrace:
    """Cut one lead out of a row.

    Parameters
    ----------
    row : RowTrace
    span : tuple of float
        First and last column of the lead, working px.
    name, box, start_s, seconds
        As in :class:`LeadTrace`.
    line_width : float
        Working px.
    px_per_mv : float
        Working px.

    Returns
    -------
    LeadTrace
    """
    first, last = round(span[0]), max(round(span[1]), round(span[0]) + 1)
    top = row.top[first:last].astype(np.float32)
    bottom = row.bottom[first:last].astype(np.float32)
    half = line_width / 2
    top, bottom = top + half, bottom - half
    middle = (top + bottom) / 2
    thin = top > bottom
    top, bottom = np.where(thin, middle, top), np.where(thin, middle, bottom)
    finite = middle[np.isfinite(middle)]
    baseline = float(np.median(finite)) if finite.size else 0.0
    return LeadTrace(
        name=name,
        box=box,
        centre=((baseline - middle) / px_per_mv).astype(np.float32),
        top=((baseline - top) / px_per_mv).astype(np.float32),
        bottom=((baseline - bottom) / px_per_mv).astype(np.float32),
        start_s=start_s,
        seconds=seconds,
    )
