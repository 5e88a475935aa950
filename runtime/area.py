"""Outlines the panel: the grid that belongs to the traces, or else the traces' own extent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from runtime.arrays import indices, sums_of_parts
from runtime.extent import extent_of_lines
from runtime.frame import frame_around
from runtime.grid import grid_scale
from runtime.ink import bare_paper
from runtime.quantile import quantile
from runtime.record import Record
from runtime.rows import trace_between

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from runtime.ink import Runs
    from runtime.rows import Rows

__all__ = ["Area", "panel_area"]

#: Length of a row of leads, mm: 10 s at 25 mm/s.
ROW_MM = 250.0
#: A calibration pulse stands within this distance (mm) of the traces' ends.
PULSE_REACH_MM = 16.0
#: Its sides are runs of ink of more than this height (mm), its feet up to this long (mm).
STEEP_MM = 3.0
FOOT_MM = 3.5
#: Waves that go further than this (mm) above the first or below the last baseline are cut.
WAVE_MM = 25.0
#: Labels of leads stand up to this high (mm) above the baseline of the first row.
LABEL_MM = 11.0
#: Columns (mm) with ink above or below the traces that make it print.
PRINT_MM = 15.0
#: What ends further (mm) within the traces than this may be no grid.
CUT_MM = 3.0
#: A frame is this far (mm) from the baselines of the first and the last row.
CLEAR_MM = 3.0
#: Bold lines are up to this thick (mm).
LINE_MM = 0.4
#: Millimetres between the bold lines of ECG paper.
BOLD_MM = 5.0
#: Mean darkness (grey levels) of the faintest grid.
MIN_GRID = 1.2
#: Parts that a line of pixels is looked at in.
PARTS = 8
#: Share of the panel's mean darkness from which a row of pixels is grid, and how much wider (mm)
#: than inside the panel a gap between lines may be before the grid has ended.
GRID_LEVEL = 0.42
GAP_SLACK_MM = 0.3
#: The darkness may go on for `BEFORE_MM` (mm) after the grid's lines have ended, or end `BEHIND_MM`
#: before them; beyond that the lines are believed.
BEFORE_MM = 3.0
BEHIND_MM = 10.0
#: A gap up to this (mm) is within any grid: fine lines are 1 mm apart, and a trace may lie on one.
FINE_GAP_MM = 1.2


class Area(Record):
    """An upright rectangle, px.

    Attributes
    ----------
    left, top, right, bottom : float
    source : str
        ``"grid"`` (told by the grid itself or by the frame around it) or ``"traces"``.
    """

    left: float
    top: float
    right: float
    bottom: float
    source: str

    @property
    def pixels(self) -> tuple[slice, slice]:
        """Rows and columns of a picture that lie inside."""
        return np.s_[int(self.top) : int(self.bottom), int(self.left) : int(self.right)]


def panel_area(
    darkness: NDArray[np.uint8],
    mask: NDArray[np.bool_],
    runs: Runs,
    long: Runs,
    rows: Rows,
    *,
    noisy: bool,
    whole: bool = False,
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
    noisy : bool
        Whether paper may be as dark as a faint grid: the grid is then told by its lines as well.
    whole : bool
        Whether all rows are known to lie on the grid: its lines were lost where they end among
        the rows.

    Returns
    -------
    Area
        The grid's area where it belongs to the traces alone; where a scan or photo has lost it,
        what its printed frame encloses; the extent of traces, lines between
        leads and calibration pulses where there is no grid or it covers the header too.
    """
    mm = (rows.right - rows.left) / ROW_MM
    own = _trace_area(runs, long, rows, mm)
    area = _grid_area(darkness, mask, rows, mm, noisy=noisy, whole=whole)
    sides = () if area is None else ((rows.left, area.left), (area.right, rows.right))
    if any(trace_between(long, rows, first, last, mm) for first, last in sides):
        area = None  # a part of the grid: the rest was lost on the way
    if area is None and noisy:
        area = _framed(darkness, own, rows, mm)
    return own if area is None or _has_print(runs, area, own, rows, mm) else area


def _framed(darkness: NDArray[np.uint8], own: Area, rows: Rows, mm: float) -> Area | None:
    """Return what a printed frame around the traces (`own`) encloses; None where there is none."""
    clear = CLEAR_MM * mm  # a level trace is no frame
    top = min(own.top, float(rows.levels[0]) - clear)
    bottom = max(own.bottom, float(rows.levels[-1]) + clear)
    frame = frame_around(darkness, (own.left, top, own.right, bottom), mm)
    return None if frame is None else Area(*frame, "grid")


def _grid_area(
    darkness: NDArray[np.uint8],
    mask: NDArray[np.bool_],
    rows: Rows,
    mm: float,
    *,
    noisy: bool,
    whole: bool,
) -> Area | None:
    """Follow the grid from between the traces to its ends; None where there is none."""
    core = Area(rows.left, float(rows.levels[0]), rows.right, float(rows.levels[-1] + 1), "grid")
    tall = _grid_ends(darkness, mask, core, axis=1, mm=mm, noisy=noisy, whole=whole)
    if tall is None:
        return None
    core = Area(rows.left, tall[0], rows.right, tall[1], "grid")
    wide = _grid_ends(darkness, mask, core, axis=0, mm=mm, noisy=noisy)
    if wide is None:
        return None
    area = Area(wide[0], tall[0], wide[1], tall[1], "grid")
    cut = max(area.left - rows.left, rows.right - area.right) > CUT_MM * mm
    if cut and not _has_grid(darkness, mask, core, mm):
        return None  # the fringe of the traces' own ink
    return area


def _grid_ends(
    darkness: NDArray[np.uint8],
    mask: NDArray[np.bool_],
    core: Area,
    axis: int,
    mm: float,
    *,
    noisy: bool,
    whole: bool = False,
) -> tuple[float, float] | None:
    """Return where the grid ends above and below (axis 1) or left and right (axis 0) of a core."""
    dark = _reach(darkness, mask, core, axis=axis, mm=mm)
    if dark is None or not noisy:
        return dark
    if axis == 1:
        columns = np.s_[:, max(0, int(core.left)) : int(core.right)]
        lines = extent_of_lines(darkness[columns], mask[columns], (core.top, core.bottom), mm)
    else:
        rows = np.s_[max(0, int(core.top)) : int(core.bottom)]
        lines = extent_of_lines(darkness[rows].T, mask[rows].T, (core.left, core.right), mm)
    if lines is not None:
        first, last = _agreed(dark, lines, mm)
        lost = (first > core.top, last < core.bottom) if whole else (False, False)
        return dark[0] if lost[0] else first, dark[1] if lost[1] else last
    return dark if _has_grid(darkness, mask, core, mm) else None


def _has_grid(darkness: NDArray[np.uint8], mask: NDArray[np.bool_], core: Area, mm: float) -> bool:
    """Tell whether the darkness between the traces repeats as a grid's does, both ways."""
    part = core.pixels
    return grid_scale(bare_paper(darkness[part], mask[part]), mm) is not None


def _agreed(
    dark: tuple[float, float], lines: tuple[float, float], mm: float
) -> tuple[float, float]:
    """Return the grid's ends: where darkness ends, unless its lines end well before or behind."""
    before, after = lines[0] - dark[0], dark[1] - lines[1]  # px by which the lines end further in
    return (
        dark[0] if -BEHIND_MM * mm <= before <= BEFORE_MM * mm else lines[0],
        dark[1] if -BEHIND_MM * mm <= after <= BEFORE_MM * mm else lines[1],
    )


def _has_print(runs: Runs, area: Area, own: Area, rows: Rows, mm: float) -> bool:
    """Tell whether a grid carries print above or below the traces: it covers the whole sheet."""
    rim, margin = 1.5 * mm, 2.0 * mm
    middle = (runs.top + runs.bottom) / 2
    ceiling = min(own.top - margin, rows.levels[0] - LABEL_MM * mm)
    above = (middle > area.top + rim) & (middle < ceiling)
    below = (middle > own.bottom + margin) & (middle < area.bottom - rim)
    across = (runs.x > area.left + rim) & (runs.x < area.right - rim)
    # Where bold lines of a dark grid cross there may be ink no thicker than they are.
    thick = runs.bottom - runs.top > max(1.0, LINE_MM * mm)
    columns = np.bincount(runs.x[(above | below) & across & thick], minlength=1)
    return int(np.count_nonzero(columns)) > PRINT_MM * mm


def _trace_area(runs: Runs, long: Runs, rows: Rows, mm: float) -> Area:
    """Return the extent of the traces and of the pulses beside them, in whole px."""
    left, right = int(rows.left), int(rows.right)
    highest, lowest = rows.levels[0] - WAVE_MM * mm, rows.levels[-1] + WAVE_MM * mm
    long = long.columns(left, right)
    inside = (long.bottom > highest) & (long.top < lowest)
    top = max(float(long.top[inside].min(initial=int(rows.levels[0]))), round(highest), 0.0)
    bottom = min(float(long.bottom[inside].max(initial=int(rows.levels[-1]))), round(lowest))
    reach, foot = PULSE_REACH_MM * mm, FOOT_MM * mm
    before, steep = _level_columns(runs.columns(0, left), rows, mm)
    pulse = steep[steep > left - reach]
    first = before[before >= pulse.min(initial=left) - foot].min(initial=left)
    after, steep = _level_columns(runs.columns(right, runs.size[0]), rows, mm)
    pulse = steep[steep < right + reach]
    last = after[after <= pulse.max(initial=right) + foot].max(initial=right - 1) + 1
    return Area(float(first), top, float(last), min(bottom, float(runs.size[1])), "traces")


def _level_columns(
    runs: Runs, rows: Rows, mm: float
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Return the columns of the runs that are level with the rows, and of the steep among those."""
    middle = (runs.top + runs.bottom) / 2
    level = (middle > rows.levels[0] - 12 * mm) & (middle < rows.levels[-1] + 3 * mm)
    steep = runs.bottom - runs.top > STEEP_MM * mm
    return runs.x[level], runs.x[level & steep]


def _part_sums(
    light: NDArray[np.uint8], ink: NDArray[np.bool_]
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Add up darkness and pixels of bare paper over `PARTS` parts of each column.

    Returns
    -------
    dark, bare : ndarray of integers, shape (PARTS, columns)
    """
    edges = np.arange(PARTS) * len(light) // PARTS
    # The sums of parts of fewer than 256 pixels fit into 16 bits, their number into 8.
    short = len(light) < 255 * PARTS
    dark = sums_of_parts(light, edges, 0, np.uint16 if short else np.uint32)
    inked = sums_of_parts(ink.view(np.uint8), edges, 0, np.uint8 if short else np.uint32)
    sizes = np.append(edges[1:], len(light)) - edges
    return dark, sizes[:, None] - inked


def _common(dark: NDArray[Any], bare: NDArray[Any]) -> NDArray[np.float64]:
    """Return the mean darkness of bare paper that most parts of each column have in common.

    A line of the grid goes all the way; print that stands beside it covers only some parts.

    Parameters
    ----------
    dark, bare : ndarray of integers, shape (PARTS, columns)

    Returns
    -------
    ndarray of float64, shape (columns,)
        The greatest of the lower half of the parts' means.
    """
    means = (dark / np.maximum(bare, 1)).reshape(2, PARTS // 2, -1)
    # Both halves are sorted by exchanging pairs, all columns at once: several times faster than
    # to sort each column. The lower one of each pair from both ends is in the lower half.
    ordered = [means[:, part] for part in range(PARTS // 2)]
    for one, other in ((0, 1), (2, 3), (0, 2), (1, 3), (1, 2)):
        low, high = ordered[one], ordered[other]
        ordered[one], ordered[other] = np.minimum(low, high), np.maximum(low, high)
    pairs = zip(ordered, reversed(ordered), strict=True)
    return np.maximum.reduce([np.minimum(low[0], high[1]) for low, high in pairs])


def _reach(
    darkness: NDArray[np.uint8], mask: NDArray[np.bool_], area: Area, axis: int, mm: float
) -> tuple[float, float] | None:
    """Follow the grid outwards: up and down (axis 1) or left and right (axis 0); None without."""
    if axis == 1:  # turned, for sums over columns are several times faster than those over rows
        darkness, mask = darkness.T, mask.T
        part = slice(max(0, int(area.left)), int(area.right), 5)
        start, stop = int(area.top), int(area.bottom)
    else:
        part = slice(max(0, int(area.top)), int(area.bottom), 4)
        start, stop = int(area.left), int(area.right)
    length = darkness.shape[1]
    ink = np.ascontiguousarray(mask[part])
    dark, bare = _part_sums(bare_paper(np.ascontiguousarray(darkness[part]), ink), ink)
    sums = _common(dark, bare)
    start, stop = max(0, min(start, length - 1)), max(1, min(stop, length))
    core = np.s_[:, start:stop]
    usual = float(dark[core].sum()) / max(int(bare[core].sum()), 1)
    if usual < MIN_GRID:
        return None
    bottom = quantile(sums, 0.1)  # of a noisy photo; next to nothing on a clean page
    level = max(GRID_LEVEL * usual, bottom + 0.5 * GRID_LEVEL * (usual - bottom))
    lines = indices(sums >= level)
    own = lines[(lines >= start) & (lines < stop)]
    if own.size < 2:
        return None
    gap = max(int((own[1:] - own[:-1]).max()), round(FINE_GAP_MM * mm))
    gap += max(1, round(GAP_SLACK_MM * mm))
    gap = min(gap, round(1.1 * BOLD_MM * mm))
    before = lines[lines <= own[0]]
    after = lines[lines >= own[-1]]
    breaks = indices(before[1:] - before[:-1] > gap)
    first = before[breaks[-1] + 1] if breaks.size else before[0]
    breaks = indices(after[1:] - after[:-1] > gap)
    last = after[breaks[0]] if breaks.size else after[-1]
    return float(first), float(last + 1)
