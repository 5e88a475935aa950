"""Finds the calibration pulses beside the traces: where they stand and how high they are."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from runtime.arrays import indices, stretches, true_cells
from runtime.quantile import quantiles
from runtime.record import Record

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from runtime.ink import Runs

__all__ = ["Pulse", "find_pulses"]

#: Pulses stand within this distance (mm) of the ends of the ink.
ENDS_MM = 45.0
#: Heights (mm) that a pulse may have: 1 mV at 5 to 20 mm/mV.
HEIGHT_MM = (3.5, 23.0)
#: Widths (mm) that the top of a pulse may have: 0.04 to 0.4 s at 25 mm/s.
WIDTH_MM = (0.9, 10.0)
#: Share of the rows that must show a pulse at the same place.
ROW_SHARE = 0.6
#: Tops of the rows' pulses lie within this height (mm) of each other, ...
SPREAD_MM = 1.2
#: ... and their strokes within this distance (mm) of the tops' ends.
STROKE_REACH_MM = 1.2
#: The baseline is empty under a pulse within this distance (mm).
EMPTY_MM = 1.8


class Pulse(Record):
    """A column of calibration pulses, one a row.

    Attributes
    ----------
    left, right : int
        First column of the pulses, upright strokes included, and the one after their last, px.
    height : float
        From the baseline to the middle of the top, px (median of the rows).
    """

    left: int
    right: int
    height: float


def find_pulses(runs: Runs, baselines: NDArray[np.float64], mm: float) -> tuple[Pulse, ...]:
    """Find columns where most rows have a flat top above an empty baseline.

    Parameters
    ----------
    runs : Runs
    baselines : ndarray of float64, shape (rows, w)
    mm : float
        Px per mm.

    Returns
    -------
    tuple of Pulse
        From left to right.
    """
    count, width = baselines.shape
    if len(runs.x) == 0:
        return ()
    reach = math.ceil(ENDS_MM * mm)
    runs = runs.outside(int(runs.x[0]) + reach, int(runs.x[-1]) + 1 - reach)  # x ascends
    spacing = float((baselines[1:] - baselines[:-1]).mean()) / mm if count > 1 else np.inf
    low, high = HEIGHT_MM[0] * mm, min(HEIGHT_MM[1], spacing - 2.5) * mm
    y = baselines.take(runs.x, axis=1)
    near = (runs.top < y + EMPTY_MM * mm) & (runs.bottom > y - EMPTY_MM * mm)
    middle = (runs.top + runs.bottom) / 2
    thin = runs.bottom - runs.top <= max(2.0, 1.2 * mm)
    rise = y - middle
    above = thin & (rise > low) & (rise < high)
    occupied = np.zeros((count, width), dtype=bool)
    row, run = true_cells(near)
    occupied[row, runs.x[run]] = True
    heights = np.zeros((count, width))
    row, run = true_cells(above)
    heights[row, runs.x[run]] = rise[row, run]
    tops = (heights > 0) & ~occupied
    share = np.add.reduce(tops, axis=0, dtype=np.uint8) / count
    found = []
    for left, right in zip(*stretches(share >= ROW_SHARE), strict=True):
        if not WIDTH_MM[0] * mm <= right - left <= WIDTH_MM[1] * mm:
            continue
        inside = heights[:, left:right]
        known = inside[inside > 0]
        low_top, height, high_top = quantiles(known, 0.2, 0.5, 0.8)
        ends = _strokes(runs, y, (int(left), int(right)), height, mm)
        if high_top - low_top < SPREAD_MM * mm and ends is not None:
            found.append(Pulse(*ends, height))
    return tuple(found)


def _strokes(
    runs: Runs, y: NDArray[np.float64], top: tuple[int, int], height: float, mm: float
) -> tuple[int, int] | None:
    """Return the first and the last column (exclusive) of a pulse with its upright strokes.

    None where not most rows have a stroke at both ends of the top.
    """
    reach = max(1, round(STROKE_REACH_MM * mm))
    tall = (runs.top < y - 0.6 * height) & (runs.bottom > y - 0.35 * height)
    ends = []
    for edge in (top[0] - 0.5, top[1] - 0.5):
        near = indices(np.abs(runs.x - edge) <= reach)
        of_row = tall[:, near]
        if of_row.any(axis=1).mean() < ROW_SHARE:
            return None
        ends.append(runs.x[near[of_row.any(axis=0)]])
    return min(int(ends[0].min()), top[0]), max(int(ends[1].max()) + 1, top[1])
