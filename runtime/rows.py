"""Finds the rows of trace on a page, their baselines and where they begin and end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from runtime.ink import Runs
from runtime.strokes import neighbours, stroke_labels

if TYPE_CHECKING:
    from numpy.typing import NDArray


__all__ = ["Rows", "find_rows"]

#: The page is looked at in this many vertical strips.
STRIPS = 32
#: Usual width of a page with 10 s at 25 mm/s (mm); sets the window of the first search only.
PAGE_MM = 290.0


@dataclass(frozen=True)
class Rows:
    """Rows of trace in working px.

    Attributes
    ----------
    baselines : ndarray of float64, shape (rows, w)
        Baseline of each row in each column, from the top down.
    left, right : float
        Where the traces begin (after a calibration pulse) and end.
    """

    baselines: NDArray[np.float64]
    left: float
    right: float


def find_rows(runs: Runs) -> Rows | None:
    """Find the rows of trace.

    Parameters
    ----------
    runs : Runs
        Ink of the page.

    Returns
    -------
    Rows or None
        None where no row of trace is found.
    """
    width, height = runs.size
    mm = width / PAGE_MM
    long = _long_strokes(runs, mm)
    if len(long.x) == 0:
        return None
    step = max(1, round(0.7 * mm))
    coverage = _strip_coverage(_occupancy(long, step))
    used = np.flatnonzero(coverage.max(axis=1) > 0.5)
    if used.size < 0.2 * STRIPS:
        return None
    profile = coverage[used].mean(axis=0)
    profile = np.convolve(profile, np.ones(3) / 3, mode="same")
    places = _peaks(np.where(profile >= 0.55 * profile.max(), profile, 0.0), round(5 * mm / step))
    middle = (long.top + long.bottom) / 2
    y = np.array(
        [_mode(middle[np.abs(middle - (p + 0.5) * step) < 3 * step], height) for p in places]
    )
    baselines = np.repeat(y[:, None], width, axis=1)
    left, right = used[0] * width / STRIPS, (used[-1] + 1) * width / STRIPS
    left, right = _ends(long, baselines, left, right, mm)
    return Rows(baselines, left, right)


def _long_strokes(runs: Runs, mm: float) -> Runs:
    """Keep the ink of strokes as wide as a trace; letters, pulses and printed rules go."""
    if len(runs.x) == 0:
        return runs
    labels = stroke_labels(len(runs.x), *neighbours(runs, 1))
    count = len(runs.x)
    left, right = np.full(count, runs.size[0]), np.full(count, -1)
    top, bottom = np.full(count, runs.size[1]), np.full(count, -1)
    np.minimum.at(left, labels, runs.x)
    np.maximum.at(right, labels, runs.x)
    np.minimum.at(top, labels, runs.top)
    np.maximum.at(bottom, labels, runs.bottom)
    keep = ((right - left >= 10 * mm) & (bottom - top > 2 * mm))[labels]
    return Runs(runs.x[keep], runs.top[keep], runs.bottom[keep], runs.size)


def _occupancy(runs: Runs, step: int) -> NDArray[np.bool_]:
    """Return which cells (column, `step` rows) the middle of a run is near to."""
    width, height = runs.size
    cells = np.zeros((width, height // step + 5), dtype=bool)
    cells[runs.x, (runs.top + runs.bottom) // (2 * step) + 2] = True
    return cells[:, 2:-2] | cells[:, 1:-3] | cells[:, 3:-1] | cells[:, :-4] | cells[:, 4:]


def _strip_coverage(occupied: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return the share of each strip's columns with ink, shape (STRIPS, cells)."""
    width = occupied.shape[0]
    edges = np.linspace(0, width, STRIPS + 1).astype(int)[:-1]
    sums = np.add.reduceat(occupied, edges, axis=0, dtype=np.int32)
    sizes = np.diff(np.append(edges, width))
    return sums / np.maximum(sizes, 1)[:, None]


def _peaks(score: NDArray[np.float64], apart: int) -> list[int]:
    """Return the places of the peaks of a score, at least `apart` cells from each other."""
    left = score.copy()
    found = []
    while left.size and left.max() > 0:
        place = int(np.argmax(left))
        found.append(place)
        left[max(0, place - apart) : place + apart + 1] = 0
    return sorted(found)


def _mode(values: NDArray[np.float64], height: int) -> float:
    counts = np.bincount(np.round(values).astype(int), minlength=height).astype(float)
    smooth = np.convolve(counts, [1, 2, 3, 2, 1], mode="same")
    return float(np.argmax(smooth))


def _ends(
    runs: Runs, baselines: NDArray[np.float64], left: float, right: float, mm: float
) -> tuple[float, float]:
    """Place the first and the last column of the traces.

    A calibration pulse that touches its trace shows as columns at the left whose baselines are
    empty in most rows; the trace begins after them.
    """
    width, _ = runs.size
    y = baselines[:, runs.x]
    at = (runs.top < y + 2.5 * mm) & (runs.bottom > y - 2.5 * mm)
    counts = np.zeros(width)
    for row in at:
        hit = np.zeros(width, dtype=bool)
        hit[runs.x[row]] = True
        counts += hit
    present = np.flatnonzero(counts >= max(1.0, 0.6 * len(baselines)))
    if present.size == 0:
        return left, right
    first, last = int(present[0]), int(present[-1])
    absent = counts[first : first + int(12 * mm)] <= 0.4 * len(baselines)
    pulse = np.flatnonzero(absent)
    if pulse.size:
        first += int(pulse[-1]) + 1
    return float(first), float(last + 1)
