"""Finds the rows of trace on a page, their baselines and where they begin and end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from runtime.ink import Runs
from runtime.strokes import neighbours, stroke_labels

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Rows", "find_rows", "long_strokes"]

#: The page is looked at in this many vertical strips.
STRIPS = 32
#: Numbers of rows that a known layout has.
KNOWN_ROWS = (1, 3, 4, 6, 7, 12)
#: Rows lie at least this far apart (mm); the closest seen on a real page are 10 mm apart.
ROW_DISTANCE_MM = 6.0
#: Strokes narrower than this (mm) are letters or pulses, flatter than `FLAT_MM` printed rules.
TRACE_WIDTH_MM = 10.0
FLAT_MM = 2.0


@dataclass(frozen=True)
class Rows:
    """Rows of trace in working px.

    Attributes
    ----------
    baselines : ndarray of float64, shape (rows, w)
        Local baseline of each row in each column, from the top down.
    levels : ndarray of float64, shape (rows,)
        Usual baseline of each row.
    left, right : float
        Where the traces begin (after a calibration pulse) and end.
    """

    baselines: NDArray[np.float64]
    levels: NDArray[np.float64]
    left: float
    right: float


def find_rows(runs: Runs, mm: float) -> Rows | None:
    """Find the rows of trace.

    Parameters
    ----------
    runs : Runs
        Ink of an upright page.
    mm : float
        Working px per mm, roughly.

    Returns
    -------
    Rows or None
        None where no row of trace is found.
    """
    long = long_strokes(_without_rules(runs), mm)
    if len(long.x) == 0:
        return None
    step = max(1, round(0.7 * mm))
    coverage = _strip_coverage(_occupancy(long, step))
    used = np.flatnonzero(coverage.max(axis=1) > 0.5)
    if used.size < 0.2 * STRIPS:
        return None
    score = coverage[used].mean(axis=0)
    score = np.convolve(score, np.ones(3) / 3, mode="same")
    places = _row_places(score, max(1, round(ROW_DISTANCE_MM * mm / step)))
    levels = _levels(long, (np.array(places) + 0.5) * step, 3 * step)
    baselines = _local_baselines(long, levels, mm)
    left, right = _ends(long, baselines, mm)
    return Rows(baselines, levels, left, right)


def long_strokes(runs: Runs, mm: float) -> Runs:
    """Keep the ink of strokes as wide as a trace; letters, pulses and flat rules go.

    Parameters
    ----------
    runs : Runs
    mm : float
        Working px per mm.

    Returns
    -------
    Runs
    """
    count = len(runs.x)
    if count == 0:
        return runs
    labels = stroke_labels(count, *neighbours(runs, 1))
    left, right = np.full(count, runs.size[0]), np.full(count, -1)
    top, bottom = np.full(count, runs.size[1]), np.full(count, -1)
    np.minimum.at(left, labels, runs.x)
    np.maximum.at(right, labels, runs.x)
    np.minimum.at(top, labels, runs.top)
    np.maximum.at(bottom, labels, runs.bottom)
    keep = ((right - left >= TRACE_WIDTH_MM * mm) & (bottom - top > FLAT_MM * mm))[labels]
    return runs.where(keep)


def _without_rules(runs: Runs) -> Runs:
    """Drop printed horizontal lines: rows of pixels that are ink over most of the page's width."""
    width, height = runs.size
    change = np.bincount(runs.top, minlength=height + 1)
    change = change - np.bincount(runs.bottom, minlength=height + 1)
    ruled = np.cumsum(change)[:height] > 0.75 * width
    if not ruled.any():
        return runs
    near = ruled.copy()
    near[1:] |= ruled[:-1]
    near[:-1] |= ruled[1:]
    below = np.concatenate([[0], np.cumsum(near)])
    inside = below[runs.bottom] - below[runs.top]
    return runs.where(inside < 0.6 * (runs.bottom - runs.top))


def _occupancy(runs: Runs, step: int) -> NDArray[np.bool_]:
    """Return which cells (column, `step` rows) the middle of a run is near to."""
    width, height = runs.size
    cells = np.zeros((width, height // step + 5), dtype=bool)
    cells[runs.x, (runs.top + runs.bottom) // (2 * step) + 2] = True
    return cells[:, 2:-2] | cells[:, 1:-3] | cells[:, 3:-1] | cells[:, :-4] | cells[:, 4:]


def _strip_coverage(occupied: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return the share of each strip's columns with ink, shape (STRIPS, cells)."""
    width = occupied.shape[0]
    edges = np.linspace(0, width, STRIPS + 1).astype(int)
    sums = np.add.reduceat(occupied, edges[:-1], axis=0, dtype=np.int32)
    return sums / np.maximum(np.diff(edges), 1)[:, None]


def _row_places(score: NDArray[np.float64], apart: int) -> list[int]:
    """Return the cells of the rows: the peaks of the score above its widest gap."""
    left = score.copy()
    found: list[tuple[float, int]] = []
    while left.size and len(found) < 16:
        place = int(np.argmax(left))
        if left[place] < 0.05:
            break
        found.append((float(left[place]), place))
        left[max(0, place - apart) : place + apart + 1] = 0
    scores = np.array([value for value, _ in found] + [0.0])
    best, chosen = 0.0, 0
    for count in range(1, len(found) + 1):
        if scores[count - 1] < 0.3 * scores[0]:
            break
        gap = scores[count - 1] / max(float(scores[count]), 0.1)
        gap *= 1.0 if count in KNOWN_ROWS else 0.7
        if gap >= best:
            best, chosen = gap, count
    return sorted(place for _, place in found[:chosen])


def _levels(runs: Runs, places: NDArray[np.float64], reach: float) -> NDArray[np.float64]:
    """Return the most usual middle of the runs near each place, px."""
    middle = (runs.top + runs.bottom) / 2
    levels = []
    for place in places:
        near = middle[np.abs(middle - place) < reach]
        counts = np.bincount(np.round(near).astype(int), minlength=8).astype(float)
        levels.append(float(np.argmax(np.convolve(counts, [1, 2, 3, 2, 1], mode="same"))))
    return np.array(levels)


def _local_baselines(runs: Runs, levels: NDArray[np.float64], mm: float) -> NDArray[np.float64]:
    """Follow each row's baseline from strip to strip, shape (rows, w), px."""
    width, height = runs.size
    strip = runs.x * STRIPS // width
    thin = runs.bottom - runs.top <= max(2.0, 1.5 * mm)
    middle = ((runs.top + runs.bottom) // 2)[thin]
    counts = np.bincount(strip[thin] * height + middle, minlength=STRIPS * height)
    counts = counts.reshape(STRIPS, height).astype(np.float64)
    window = max(1, round(mm)) * 2 + 1
    total = np.cumsum(np.pad(counts, ((0, 0), (window // 2 + 1, window // 2))), axis=1)
    density = total[:, window:] - total[:, :-window]
    edges = np.concatenate([[-np.inf], (levels[1:] + levels[:-1]) / 2, [np.inf]])
    edges[0] = levels[0] - (edges[1] - levels[0] if len(levels) > 1 else 20 * mm)
    edges[-1] = levels[-1] + (levels[-1] - edges[-2] if len(levels) > 1 else 20 * mm)
    place = np.empty((len(levels), STRIPS))
    for index, level in enumerate(levels):
        low, high = max(0, int(edges[index])), min(height, int(edges[index + 1]) + 1)
        y = np.arange(low, high)
        weight = 1.0 - 0.6 * np.abs(y - level) / max(high - level, level - low, 1.0)
        part = density[:, low:high] * weight
        best = np.argmax(part, axis=1)
        found = part[np.arange(STRIPS), best] > 0
        place[index] = np.where(found, low + best, level)
    padded = np.pad(place, ((0, 0), (1, 1)), mode="edge")
    place = np.median(np.stack([padded[:, :-2], padded[:, 1:-1], padded[:, 2:]]), axis=0)
    centres = (np.arange(STRIPS) + 0.5) * width / STRIPS
    columns = np.arange(width)
    return np.stack([np.interp(columns, centres, row) for row in place])


def _ends(runs: Runs, baselines: NDArray[np.float64], mm: float) -> tuple[float, float]:
    """Place the first and the last column of the traces.

    A calibration pulse that touches its trace shows as columns at the left whose baselines are
    empty in most rows; the trace begins after them.
    """
    width, _ = runs.size
    count = len(baselines)
    y = baselines[:, runs.x]
    at = (runs.top < y + 2.5 * mm) & (runs.bottom > y - 2.5 * mm)
    row, run = np.nonzero(at)
    hit = np.zeros((count, width), dtype=bool)
    hit[row, runs.x[run]] = True
    counts = hit.sum(axis=0)
    present = np.flatnonzero(counts >= max(1.0, 0.5 * count))
    if present.size == 0:
        return 0.0, float(width)
    first = int(present[0])
    last = int(np.flatnonzero(counts >= max(1.0, 0.25 * count))[-1])
    absent = np.flatnonzero(counts[first : first + int(9 * mm)] <= 0.4 * count)
    if absent.size and absent[0] < 4 * mm and absent[-1] - absent[0] + 1 <= 1.3 * absent.size:
        first += int(absent[-1]) + 1
    return float(first), float(last + 1)
