"""Outlines the panel: the grid that belongs to the traces, or else the traces' own extent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from runtime.ink import Runs
    from runtime.rows import Rows

__all__ = ["Area", "panel_area"]

#: Length of a row of leads, mm: 10 s at 25 mm/s.
ROW_MM = 250.0
#: A calibration pulse stands within this distance (mm) of the traces' ends.
PULSE_REACH_MM = 16.0
#: Waves that go further than this (mm) above the first or below the last baseline are cut.
WAVE_MM = 25.0
#: Grid that goes this many times beyond what the rows need covers the whole sheet.
WHOLE_SHEET = 1.13
#: Millimetres between the bold lines of ECG paper.
BOLD_MM = 5.0
#: Mean darkness (grey levels) of the faintest grid.
MIN_GRID = 1.2
#: Windowed darkness, as a share of the panel's own, at which the grid ends, and the share of the
#: panel's darker lines from which a row of pixels is a line of the grid.
GRID_EDGE = 0.4
GRID_LINE = 0.45


@dataclass(frozen=True)
class Area:
    """An upright rectangle, px.

    Attributes
    ----------
    left, top, right, bottom : float
    source : str
        ``"grid"`` or ``"traces"``.
    """

    left: float
    top: float
    right: float
    bottom: float
    source: str


def panel_area(
    darkness: NDArray[np.uint8], mask: NDArray[np.bool_], runs: Runs, long: Runs, rows: Rows
) -> Area:
    """Outline the panel.

    Parameters
    ----------
    darkness : ndarray of uint8, shape (h, w)
    mask : ndarray of bool, shape (h, w)
        Ink.
    runs, long : Runs
        The ink's runs, and those of its long strokes.
    rows : Rows

    Returns
    -------
    Area
        The grid's area where it belongs to the traces alone; the extent of traces, lines between
        leads and calibration pulses where there is no grid or it covers the header too.
    """
    mm = (rows.right - rows.left) / ROW_MM
    own = _trace_area(runs, long, rows, mm)
    top = _reach(darkness, mask, own, axis=1, mm=mm)
    if top is None:
        return own
    count = len(rows.levels)
    if count > 1:
        spacing = (rows.levels[-1] - rows.levels[0]) / (count - 1)
        if top[1] - top[0] > WHOLE_SHEET * spacing * count + 10 * mm:
            return own
    side = _reach(darkness, mask, Area(own.left, top[0], own.right, top[1], "grid"), axis=0, mm=mm)
    if side is None:
        return own
    return Area(side[0], top[0], side[1], top[1], "grid")


def _trace_area(runs: Runs, long: Runs, rows: Rows, mm: float) -> Area:
    """Return the extent of the traces and of the pulses beside them, in whole px."""
    left, right = int(rows.left), int(rows.right)
    highest, lowest = rows.levels[0] - WAVE_MM * mm, rows.levels[-1] + WAVE_MM * mm
    inside = (long.x >= left) & (long.x < right) & (long.bottom > highest) & (long.top < lowest)
    top = max(float(long.top[inside].min(initial=int(rows.levels[0]))), round(highest), 0.0)
    bottom = min(float(long.bottom[inside].max(initial=int(rows.levels[-1]))), round(lowest))
    middle = (runs.top + runs.bottom) / 2
    level = (middle > rows.levels[0] - 12 * mm) & (middle < rows.levels[-1] + 3 * mm)
    reach = PULSE_REACH_MM * mm
    before = level & (runs.x < left) & (runs.x > left - reach)
    after = level & (runs.x >= right) & (runs.x < right + reach)
    first = float(runs.x[before].min()) if before.any() else float(left)
    last = float(runs.x[after].max() + 1) if after.any() else float(right)
    return Area(first, top, last, min(bottom, float(runs.size[1])), "traces")


def _reach(
    darkness: NDArray[np.uint8], mask: NDArray[np.bool_], area: Area, axis: int, mm: float
) -> tuple[float, float] | None:
    """Follow the grid outwards: up and down (axis 1) or left and right (axis 0); None without."""
    height, width = darkness.shape
    if axis == 1:
        part = np.s_[:, max(0, int(area.left)) : int(area.right) : 3]
        start, stop, length = int(area.top), int(area.bottom), height
    else:
        part = np.s_[max(0, int(area.top)) : int(area.bottom) : 2, :]
        start, stop, length = int(area.left), int(area.right), width
    light = np.where(mask[part], 0, darkness[part])
    sums = light.sum(axis=axis, dtype=np.uint32) / max(light.shape[axis], 1)
    window = max(3, round(1.04 * BOLD_MM * mm))
    total = np.concatenate([[0.0], np.cumsum(sums), np.full(window, float(sums.sum()))])
    total = np.concatenate([np.zeros(window), total])  # total[i + window] = sum of sums[:i]
    places = np.arange(max(0, start), max(min(length, stop) - window, start + 1))
    usual = float(np.median(total[places + 2 * window] - total[places + window])) / window
    if usual < MIN_GRID:
        return None
    line = GRID_LINE * float(np.percentile(sums[max(0, start) : max(stop, start + 1)], 90))
    going_up = np.arange(min(max(start, 0), length), -1, -1)
    means = (total[going_up + window] - total[going_up]) / window
    out = np.flatnonzero(means < GRID_EDGE * usual)
    edge = int(going_up[out[0]]) if out.size else 0
    strong = np.flatnonzero(sums[max(0, edge - window) : edge + 1] >= line)
    first = max(0, edge - window) + int(strong[0]) if strong.size else edge
    going_down = np.arange(min(max(stop, 0), length), length + 1)
    means = (total[going_down + 2 * window] - total[going_down + window]) / window
    out = np.flatnonzero(means < GRID_EDGE * usual)
    edge = int(going_down[out[0]]) if out.size else length
    strong = np.flatnonzero(sums[max(0, edge - 1) : edge + window] >= line)
    last = max(0, edge - 1) + int(strong[-1]) + 1 if strong.size else edge
    return float(first), float(last)
