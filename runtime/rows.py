"""Finds the rows of trace on a page, their baselines and where they begin and end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from runtime.ink import Runs

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

    Returns
    -------
    Rows or None
        None where no row of trace is found.
    """
    width, height = runs.size
    step = max(1, round(0.7 * width / PAGE_MM))
    occupied = _occupancy(runs, step)
    coverage = _strip_coverage(occupied)
    length, first, last = _longest_stretch(coverage >= 0.8)
    longest = int(length.max(initial=0))
    if longest < 0.25 * STRIPS:
        return None
    good = length >= 0.7 * longest
    profile = coverage.sum(axis=0)
    places = _peaks(np.where(good, profile, 0.0), max(3, round(5 * width / PAGE_MM / step)))
    centres = []
    for place in places:
        near = np.abs((runs.top + runs.bottom) / 2 - (place + 0.5) * step) < 3 * step
        centres.append(_mode((runs.top[near] + runs.bottom[near]) / 2, height))
    keep = [i for i, y in enumerate(centres) if not _is_rule(runs, y, step)]
    if not keep:
        return None
    y = np.array([centres[i] for i in keep])
    baselines = np.repeat(y[:, None], width, axis=1)
    left = np.median([first[places[i]] for i in keep]) * width / STRIPS
    right = (np.median([last[places[i]] for i in keep]) + 1) * width / STRIPS
    left, right = _ends(runs, baselines, left, right, width / PAGE_MM)
    return Rows(baselines, left, right)


def _occupancy(runs: Runs, step: int) -> NDArray[np.bool_]:
    """Return which cells (column, `step` rows) the middle of a run lies in, one cell dilated."""
    width, height = runs.size
    cells = np.zeros((width, height // step + 3), dtype=bool)
    cells[runs.x, (runs.top + runs.bottom) // (2 * step) + 1] = True
    near = cells[:, 1:-1] | cells[:, :-2] | cells[:, 2:]
    return near


def _strip_coverage(occupied: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return the share of each strip's columns with ink, shape (STRIPS, cells)."""
    width = occupied.shape[0]
    edges = np.linspace(0, width, STRIPS + 1).astype(int)[:-1]
    sums = np.add.reduceat(occupied, edges, axis=0, dtype=np.int32)
    sizes = np.diff(np.append(edges, width))
    return sums / np.maximum(sizes, 1)[:, None]


def _longest_stretch(
    good: NDArray[np.bool_],
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Return length, first and last strip of the longest stretch of good strips of each cell."""
    cells = good.shape[1]
    best = np.zeros(cells, dtype=np.int64)
    end = np.zeros(cells, dtype=np.int64)
    current = np.zeros(cells, dtype=np.int64)
    for index, strip in enumerate(good):
        current = np.where(strip, current + 1, 0)
        better = current > best
        best = np.where(better, current, best)
        end = np.where(better, index, end)
    return best, end - best + 1, end


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


def _is_rule(runs: Runs, y: float, step: int) -> bool:
    """Tell whether a row is a printed rule: straight, and nothing leaves it."""
    middle = (runs.top + runs.bottom) / 2
    near = np.abs(middle - y) < 5 * step
    tall = (runs.bottom - runs.top)[near]
    spread = np.abs(middle[near] - y) > max(1.5, 0.4 * step)
    return bool(near.any() and np.mean(spread) < 0.03 and np.percentile(tall, 98) < 3 * step)


def _ends(
    runs: Runs, baselines: NDArray[np.float64], left: float, right: float, mm: float
) -> tuple[float, float]:
    """Place the first and the last column of the traces; a calibration pulse lies before them."""
    width, _ = runs.size
    y = baselines[:, runs.x]
    at = np.abs((runs.top + runs.bottom) / 2 - y) < 2.5 * mm
    counts = np.zeros(width)
    for row in at:
        hit = np.zeros(width, dtype=bool)
        hit[runs.x[row]] = True
        counts += hit
    enough = counts >= max(1.0, 0.6 * len(baselines))
    inside = np.flatnonzero(enough[: int(right + 12 * mm)])
    end = float(inside[-1] + 1) if inside.size else right
    begin = int(left + 25 * mm)
    gaps = np.flatnonzero(~enough[:begin])
    start = float(gaps[-1] + 1) if gaps.size else left
    return start, end
