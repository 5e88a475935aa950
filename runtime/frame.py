"""Finds the printed frame around a panel whose grid has faded."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from runtime.arrays import sums_of_parts
from runtime.quantile import median

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["frame_around"]

#: A frame runs within this distance (mm) of the traces' extent; beyond it are rules of the header.
REACH_MM = 25.0
#: Parts that a line is looked at in; all but `MISSING` of them must show it.
PARTS = 12
MISSING = 2
#: A line is darker than what is this far (mm) on both of its sides, ...
BESIDE_MM = 1.0
#: ... by at least so many grey levels, and by so many times what is usual beside the panel.
LEAST = 5.0
ABOVE_USUAL = 4.0
#: A line may be slanted by this much (mm) from part to part.
SLANT_MM = 0.5
#: Darkness (grey levels) is cut off here: a few letters are not taken for a faint line.
CAP = 90
#: The sides of a frame are equally dark, within this factor.
ALIKE = 8.0


def frame_around(
    darkness: NDArray[np.uint8], extent: tuple[float, float, float, float], mm: float
) -> tuple[float, float, float, float] | None:
    """Find four lines that enclose the traces.

    Parameters
    ----------
    darkness : ndarray of uint8, shape (h, w)
    extent : tuple of float
        Left, top, right and bottom of the traces, px.
    mm : float
        Px per mm.

    Returns
    -------
    tuple of float or None
        Left, top, right and bottom of the frame, px; None where one of its sides is not there.
    """
    left, top, right, bottom = extent
    upper = _line(darkness, (left, right), top, -1, mm)
    lower = _line(darkness, (left, right), bottom, 1, mm)
    if upper is None or lower is None:
        return None
    before = _line(darkness.T, (upper[0], lower[0]), left, -1, mm)
    after = _line(darkness.T, (upper[0], lower[0]), right, 1, mm)
    if before is None or after is None:
        return None
    strengths = [side[1] for side in (upper, lower, before, after)]
    if max(strengths) > ALIKE * min(strengths):
        return None
    return before[0], upper[0], after[0], lower[0]


def _line(
    darkness: NDArray[np.uint8], span: tuple[float, float], start: float, way: int, mm: float
) -> tuple[float, float] | None:
    """Return place (px) and strength (grey levels) of the nearest level line from `start` on."""
    height, width = darkness.shape
    first, last = max(0, int(span[0])), min(width, int(span[1]))
    ends = sorted((start, start + way * REACH_MM * mm))
    low, high = max(0, int(ends[0])), min(height, int(ends[1]) + 1)
    beside = max(2, round(BESIDE_MM * mm))
    if last - first < 10 * PARTS or high - low < 4 * beside:
        return None
    part = np.minimum(darkness[low:high, first:last], CAP)
    edges = np.arange(PARTS) * (last - first) // PARTS
    sums = sums_of_parts(np.ascontiguousarray(part), edges, 1, np.uint32)
    means = sums / np.diff([*edges, last - first])
    above, below = np.roll(means, beside, axis=0), np.roll(means, -beside, axis=0)
    rise = means - np.maximum(above, below)
    rise[:beside], rise[-beside:] = 0.0, 0.0
    best = rise.copy()
    for shift in range(1, max(1, round(SLANT_MM * mm)) + 1):
        best[shift:] = np.maximum(best[shift:], rise[:-shift])
        best[:-shift] = np.maximum(best[:-shift], rise[shift:])
    best.sort(axis=1)
    shown = best[:, MISSING]
    least = max(LEAST, ABOVE_USUAL * median(np.maximum(shown, 0)))
    strong = np.flatnonzero(shown >= least)
    if strong.size == 0:
        return None
    near = strong[0] if way > 0 else strong[-1]
    group = strong[np.abs(strong - near) <= beside]
    place = float(group[np.argmax(shown[group])])
    mid = group[shown[group] >= 0.95 * shown[group].max()].mean()
    return low + float(mid) + 0.5, float(shown[int(place)])
