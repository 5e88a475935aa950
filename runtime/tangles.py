"""Tells the rows apart again where waves of several rows run into each other.

On a page of twelve rows a QRS complex reaches into the rows above and below, in all of them at the
same moment; where three rhythm strips crowd a page, some do. Which ink is whose cannot be told run
by run: what is looked for is one line a row, from where the rows are apart before the tangle to
where they are behind it, so that together they cover the ink, keep to it, and bend as little as
may be (`runtime.strands`).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from runtime.arrays import indices, ranges, true_cells
from runtime.record import Record
from runtime.strands import Tangle, lines_of
from runtime.strokes import numbers_of, pairs_among, stroke_labels
from runtime.trace import edges_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from runtime.ink import Runs
    from runtime.trace import RowTraces

__all__ = ["untangle"]

#: A run taller than this (mm) is part of a steep wave; one this near (mm) to a baseline touches it.
WAVE_MM = 1.6
TOUCH_MM = 0.3
#: Columns (mm) on either side of a tangle in which the rows are still apart, and the most columns
#: (mm) of a tangle with these: it is a QRS complex, or something else than waves.
MARGIN_MM = 0.8
WIDEST_MM = 9.0
#: Above and below the waves and baselines of a tangle so much (mm) is looked at.
SLACK_MM = 2.0
#: Ink up to this many times the usual height of the line is flat trace.
FLAT = 2.5
#: Pieces of a height (mm) in which ink is counted.
CELL_MM = 0.33
#: A page with more steep strokes across rows, or more cells of ink in tangles, shows no waves:
#: even fast beats in twelve rows make far fewer.
MOST_STROKES = 1000
MOST_CELLS = 4_000_000


class _Extents(Record):
    """Where tangles lie: columns, rows of trace and rows of pixels, each array of shape (n,).

    Attributes
    ----------
    left, right : ndarray of int64
        First column and the one behind the last, px.
    first, last : ndarray of int64
        First and last row of trace.
    top, bottom : ndarray of int64
        First row of pixels and the one behind the last.
    """

    left: NDArray[np.int64]
    right: NDArray[np.int64]
    first: NDArray[np.int64]
    last: NDArray[np.int64]
    top: NDArray[np.int64]
    bottom: NDArray[np.int64]

    def where(self, keep: NDArray[np.bool_]) -> _Extents:
        """Return some of them."""
        return _Extents(*(values[keep] for values in self))

    def joined(self, labels: NDArray[np.int64]) -> _Extents:
        """Return one for all those with the same label, sorted by label."""
        group = numbers_of(labels == np.arange(len(labels)))[labels]
        order = np.argsort(group, kind="stable")
        begin = indices(np.diff(group[order], prepend=-1))
        lows = (np.minimum.reduceat(v[order], begin) for v in (self.left, self.first, self.top))
        highs = (np.maximum.reduceat(v[order], begin) for v in (self.right, self.last, self.bottom))
        pairs = zip(lows, highs, strict=True)
        return _Extents(*(edge for pair in pairs for edge in pair))


def untangle(
    darkness: NDArray[np.uint8],
    runs: Runs,
    touching: tuple[NDArray[np.int64], NDArray[np.int64]],
    baselines: NDArray[np.float64],
    traces: RowTraces,
    mm: float,
) -> RowTraces:
    """Follow rows anew where their waves run into each other.

    Parameters
    ----------
    darkness : ndarray of uint8, shape (h, w)
    runs : Runs
        Without the lines between columns and the calibration pulses.
    touching : tuple of ndarray of int64
        The runs' ``neighbours(runs, 1)``.
    baselines : ndarray of float64, shape (rows, w)
        Local baseline of each row in each column, working px, from the top down.
    traces : RowTraces
        As from :func:`runtime.trace.follow_rows`.
    mm : float
        Working px per mm.

    Returns
    -------
    RowTraces
    """
    found = _tangles(runs, touching, baselines, mm)
    if found.left.size > MOST_STROKES:
        return traces
    found = _merged(found)
    margin = max(2, round(MARGIN_MM * mm))
    found = found._replace(
        left=np.maximum(found.left - margin, runs.x[:1]),  # where the first run is, sorted
        right=np.minimum(found.right + margin, runs.x[-1:] + 1),
    )
    found = found.where(found.right - found.left <= WIDEST_MM * mm)
    if found.left.size == 0:
        return traces
    many = found.last - found.first + 1  # strands of each tangle
    number = np.arange(len(many)).repeat(many)
    row = ranges(found.first, many)
    tangle = _packed(runs, touching, found, baselines, mm)
    if tangle is None:
        return traces
    starts, ends = (
        _settled(baselines, traces, row, column[number]) for column in (found.left, found.right - 1)
    )
    levels = baselines[row, (found.left + (found.right - found.left) // 2)[number]]
    lines = lines_of(tangle, number, np.array([starts, levels, ends]), traces.line_width, mm)
    # Strand by strand and column by column: where the line was, and its ink around it.
    strand, step = true_cells(np.isfinite(lines[:, 1:]))
    column = found.left[number[strand]] + step
    here, there = lines[strand, step], lines[strand, step + 1]
    edges = edges_of(darkness, runs)
    upper, lower = _inked(runs, edges, column, here, there, traces.line_width)
    top, bottom = traces.top.copy(), traces.bottom.copy()
    top[row[strand], column], bottom[row[strand], column] = upper, lower
    return traces._replace(top=top, bottom=bottom)


def _tangles(
    runs: Runs,
    touching: tuple[NDArray[np.int64], NDArray[np.int64]],
    baselines: NDArray[np.float64],
    mm: float,
) -> _Extents:
    """Return the steep strokes that touch the baselines of several rows."""
    tall = runs.bottom - runs.top > WAVE_MM * mm
    members = indices(tall)
    labels = stroke_labels(len(members), *pairs_among(*touching, tall))
    x, high, low = (values[members].astype(np.int64) for values in (runs.x, runs.top, runs.bottom))
    y, reach = baselines.take(x, axis=1), TOUCH_MM * mm
    touched = (high <= y + reach) & (low >= y - reach)
    first = np.where(touched.any(axis=0), touched.argmax(axis=0), len(y))
    last = len(y) - 1 - touched[::-1].argmax(axis=0)
    last = np.where(touched.any(axis=0), last, -1)
    if members.size == 0:
        return _Extents(x, x, x, x, x, x)
    found = _Extents(x, x + 1, first, last, high, low).joined(labels)
    return found.where(found.last > found.first)


def _merged(found: _Extents) -> _Extents:
    """Join those that share columns, or nearly, and a row."""
    while found.left.size:
        near = found.left[:, None] < found.right + 2
        shared = found.first[:, None] <= found.last
        meet = near & near.T & shared & shared.T
        left, right = true_cells(np.triu(meet, 1))
        if left.size == 0:
            break
        found = found.joined(stroke_labels(len(meet), left, right))
    return found


def _packed(
    runs: Runs,
    touching: tuple[NDArray[np.int64], NDArray[np.int64]],
    found: _Extents,
    baselines: NDArray[np.float64],
    mm: float,
) -> Tangle | None:
    """Gather the ink of tangles, and where a line may pass from column to column.

    Returns
    -------
    Tangle or None
        None where it is too much.
    """
    height = runs.size[1]
    slack = SLACK_MM * mm
    levels = baselines[found.first, found.left], baselines[found.last, found.left]
    tops = np.maximum(np.minimum(found.top, levels[0] - slack).astype(np.int64), 0)
    bottoms = np.minimum(np.maximum(found.bottom, levels[1] + slack).astype(np.int64), height)
    cell = max(1.0, CELL_MM * mm)
    columns = found.right - found.left
    deep = int((bottoms - tops).max() / cell) + 2
    size = (len(columns), int(columns.max()), deep)
    if math.prod(size) > MOST_CELLS:
        return None
    # Runs are sorted by column: those of a tangle are one stretch of them.
    first, last = (runs.x.searchsorted(edge) for edge in (found.left, found.right))
    tangle = np.arange(len(columns)).repeat(last - first)
    run = ranges(first, last - first)
    begin = (tangle * size[1] + runs.x[run] - found.left[tangle]) * deep
    spans = ((edge[run] - tops[tangle]) / cell for edge in (runs.top, runs.bottom))
    cells = (np.clip(np.rint(edge), 0, deep - 1).astype(np.int64) for edge in spans)
    began, ended = (np.bincount(begin + cell, minlength=size[0] * size[1] * deep) for cell in cells)
    ink = (began - ended).reshape(size).cumsum(axis=2) > 0
    # A line passes from column to column where the runs on both sides overlap.
    left, right = touching
    high = np.maximum(runs.top[left], runs.top[right])
    low = np.minimum(runs.bottom[left], runs.bottom[right])
    at = runs.x[right]
    first, last = (at.searchsorted(edge) for edge in (found.left + 1, found.right))
    gate_of = np.arange(len(columns)).repeat(last - first)
    gate = ranges(first, last - first)
    return Tangle(
        ink,
        columns,
        tops.astype(np.float64),
        cell,
        gate_of,
        at[gate] - found.left[gate_of],
        np.minimum(high, low)[gate].astype(np.float64),
        np.maximum(high, low)[gate].astype(np.float64),
    )


def _settled(
    baselines: NDArray[np.float64],
    traces: RowTraces,
    row: NDArray[np.int64],
    column: NDArray[np.int64],
) -> NDArray[np.float64]:
    """Return where rows are beside their tangles: in their flat ink, or at their baselines."""
    high, low = traces.top[row, column], traces.bottom[row, column]
    flat = low - high < FLAT * traces.line_width  # no ink is not flat
    return np.where(flat, (high + low) / 2, baselines[row, column])


def _inked(
    runs: Runs,
    edges: tuple[NDArray[np.float32], NDArray[np.float32]],
    column: NDArray[np.int64],
    here: NDArray[np.float64],
    there: NDArray[np.float64],
    line_width: float,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the upper and lower edge of the ink of lines that go from `here` to `there`.

    Where their ends come near to the ends of a run, these are the edges.
    """
    half = line_width / 2
    high = np.maximum(np.minimum(here, there) - half, 0)
    low = np.minimum(np.maximum(here, there) + half, runs.size[1])
    slack = half + 1 + np.abs(there - here) / 2
    pitch, count = runs.size[1] + 1, len(runs.x) - 1
    begin = runs.x.astype(np.int64) * pitch
    first = (begin + runs.bottom).searchsorted(column * pitch + high, side="right")
    last = (begin + runs.top).searchsorted(column * pitch + low) - 1
    touched = first <= last
    first, last = np.minimum(first, count), np.maximum(last, 0)
    upper = touched & (np.abs(runs.top[first] - high) <= slack)
    lower = touched & (np.abs(runs.bottom[last] - low) <= slack)
    return np.where(upper, edges[0][first], high), np.where(lower, edges[1][last], low)
