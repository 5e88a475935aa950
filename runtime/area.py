"""Outlines the panel: the grid that belongs to the traces, or else the traces' own extent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from runtime.ink import Runs
    from runtime.rows import Rows
    from runtime.trace import RowTraces

__all__ = ["Area", "panel_area"]

#: A calibration pulse stands within this distance (mm) of the traces' ends.
PULSE_REACH_MM = 16.0
#: Grid that goes this many times beyond what the rows need covers the whole sheet.
WHOLE_SHEET = 1.13
#: Windowed grid darkness, as a share of the panel's own, at which the grid ends.
GRID_EDGE = 0.4


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
    darkness: NDArray[np.uint8],
    mask: NDArray[np.bool_],
    runs: Runs,
    rows: Rows,
    traces: RowTraces,
    mm: float,
    has_grid: bool,
) -> Area:
    """Outline the panel.

    Parameters
    ----------
    darkness : ndarray of uint8, shape (h, w)
    mask : ndarray of bool, shape (h, w)
        Ink.
    runs : Runs
        The ink's runs.
    rows : Rows
    traces : RowTraces
    mm : float
        Px per mm.
    has_grid : bool
        Whether the scale was read from a grid.

    Returns
    -------
    Area
        The grid's area where it belongs to the traces alone; the extent of traces, lines between
        leads and calibration pulses where there is no grid or it covers the header too.
    """
    own = _trace_area(runs, rows, traces, mm)
    if not has_grid:
        return own
    top = _reach(darkness, mask, own, axis=1, mm=mm)
    across = Area(own.left, top[0], own.right, top[1], "grid")
    side = _reach(darkness, mask, across, axis=0, mm=mm)
    count = len(rows.levels)
    if count > 1:
        spacing = (rows.levels[-1] - rows.levels[0]) / (count - 1)
        if top[1] - top[0] > WHOLE_SHEET * spacing * count + 10 * mm:
            return own
    return Area(side[0], top[0], side[1], top[1], "grid")


def _trace_area(runs: Runs, rows: Rows, traces: RowTraces, mm: float) -> Area:
    """Return the extent of the traces and of the pulses beside them."""
    left, right = int(rows.left), int(rows.right)
    with np.errstate(invalid="ignore"):
        top = float(np.nanmin(traces.top[:, left:right], initial=rows.levels[0]))
        bottom = float(np.nanmax(traces.bottom[:, left:right], initial=rows.levels[-1]))
    middle = (runs.top + runs.bottom) / 2
    level = (middle > rows.levels[0] - 12 * mm) & (middle < rows.levels[-1] + 3 * mm)
    reach = PULSE_REACH_MM * mm
    before = level & (runs.x < left) & (runs.x > left - reach)
    after = level & (runs.x >= right) & (runs.x < right + reach)
    first = float(runs.x[before].min()) if before.any() else float(left)
    last = float(runs.x[after].max() + 1) if after.any() else float(right)
    return Area(first, top, last, bottom, "traces")


def _reach(
    darkness: NDArray[np.uint8], mask: NDArray[np.bool_], area: Area, axis: int, mm: float
) -> tuple[float, float]:
    """Follow the grid outwards from an area: up and down (axis 1), left and right (axis 0)."""
    if axis == 1:
        part: tuple[slice, slice] = np.s_[:, max(0, int(area.left)) : int(area.right)]
        start, stop = area.top, area.bottom
    else:
        part = np.s_[max(0, int(area.top)) : int(area.bottom), :]
        start, stop = area.left, area.right
    step = 3 if axis == 1 else 2
    thin = np.s_[:, ::step] if axis == 1 else np.s_[::step, :]
    light = np.where(mask[part][thin], 0, darkness[part][thin])
    sums = light.sum(axis=axis, dtype=np.uint32).astype(np.float64) / max(light.shape[axis], 1)
    length = len(sums)
    window = max(3, round(5 * mm))
    total = np.concatenate([[0.0], np.cumsum(sums)])
    low, high = max(0, int(start)), min(length, int(stop))
    usual = float(np.median(_windowed(total, low, high, window)))
    level = GRID_EDGE * usual
    first = _edge(total, low, -1, window, level)
    last = _edge(total, high, 1, window, level)
    return float(first), float(last)


def _windowed(total: NDArray[np.float64], low: int, high: int, window: int) -> NDArray[np.float64]:
    high = max(high, low + window + 1)
    part = total[low : high + 1]
    if len(part) <= window:
        return np.array([(part[-1] - part[0]) / max(len(part) - 1, 1)])
    return (part[window:] - part[:-window]) / window


def _edge(total: NDArray[np.float64], start: int, way: int, window: int, level: float) -> int:
    """Return where the windowed mean falls below a level, going one way from a start."""
    length = len(total) - 1
    place = int(np.clip(start, 0, length))
    if way < 0:
        starts = np.arange(place, window - 1, -1)
        means = (total[starts] - total[starts - window]) / window
    else:
        starts = np.arange(place, length - window + 1)
        means = (total[starts + window] - total[starts]) / window
    below = np.flatnonzero(means < level)
    if below.size == 0:
        return 0 if way < 0 else length
    at = int(starts[below[0]])
    # The window has left the grid by the share that is missing; the grid ends inside it.
    inside = window - int(round(window * (1.0 - GRID_EDGE)))
    return max(0, at - inside) if way < 0 else min(length, at + inside)
