"""Reads the rows, the scale, the layout and the leads of an upright picture."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from runtime.area import Area, panel_area
from runtime.arrays import indices
from runtime.flanks import even_flanks
from runtime.grid import grid_scale
from runtime.ink import above_grid, bare_paper, ink_of, ink_threshold
from runtime.layout import (
    ARRANGEMENTS,
    CERTAIN,
    Choice,
    choose_layout,
    fits_better,
    slant_of,
)
from runtime.limbs import LIMB_LEADS, agreeing
from runtime.pen import thin_line
from runtime.quantile import median, medians
from runtime.record import Record
from runtime.rows import find_rows, go_on, long_strokes, refine_rows, without_rules
from runtime.strokes import Strokes, strokes_of
from runtime.trace import (
    LeadPlace,
    LeadTrace,
    RowTraces,
    coverages,
    follow_rows,
    leads_of_rows,
    separator_columns,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from runtime.ink import Runs
    from runtime.rows import Rows

__all__ = ["CONVINCING_COVERAGE", "Reading", "read_upright"]

#: Paper speed (mm/s) and gain (mm/mV) of a standard recording (IEC 60601-2-25).
PAPER_SPEED = 25.0
GAIN = 10.0
#: Gains that carts offer (mm/mV), and how far (share) a pulse of 1 mV may be off one of them.
GAINS = (10.0, 5.0, 20.0)
GAIN_SLACK = 0.1
#: A grid whose scale is within this share of the one that the rows' length tells is the page's own.
SAME_SCALE = 0.05
#: Seconds that a row of leads spans on a standard page.
ROW_SECONDS = 10.0
#: Usual width of a page (mm) that shows 10 s at 25 mm/s; a first guess of the scale.
PAGE_MM = 290.0
#: Disagreement with Einthoven's law up to which a first reading is taken without a second look.
CONVINCING_FIT = 0.25
#: The same for the share of the leads' columns that have ink: traces taken sideways reach 0.80.
CONVINCING_COVERAGE = 0.85
#: What is read at a coarser scale (px/mm) is a part of the traces or something else. A page would
#: be refused at it (`runtime.quality.QualityLimits.min_px_per_mm`), so it is looked at again.
COARSEST = 1.3
#: Rows that end further (mm) from the edges of the picture do not look cut off by them; measured
#: with a scale that is up to 2.5 times too small if they are.
EDGE_MM = 15.0
#: Slope of the baselines (px/px) up to which a picture counts as level: 0.2 degrees.
LEVEL_SLOPE = 0.0035
#: Rows begin along a slanted line where the leads then fit better by this factor.
BETTER = 0.8
#: The rows of a slanted page slope alike: within this share of their usual slope.
TOGETHER = 0.6
#: Rows are up to this much shorter or longer than 250 mm (247.8 to 251.2 mm on the pages of ecg5).
SHORT_ROW_MM = 3.5
LONG_ROW_MM = 2.0
#: Beside the traces a frame or a sheet's edge is no further away than this (mm).
BESIDE_MM = 16.0
#: A trace begins within this distance (mm) of its calibration pulse.
PULSE_GAP_MM = 5.0
#: Lines between leads reach up to this far (mm) beyond the traces.
SLACK_MM = 8.0
#: Layouts whose rows are crowded, so that waves run into each other and are untangled
#: (:mod:`runtime.tangles`); on the others what was read run by run stays if it fits, as it does for
#: the pages that models were fitted on (docs/experiments.md).
CROWDED = ("12x1", "3x4+3")
#: Numbers of columns of leads that a page may have; each divides the largest.
COLUMNS = (2, 4)


class Reading(Record):
    """What was read from an upright picture, in its px.

    Attributes
    ----------
    rows : Rows
    layout : str
        One of :data:`runtime.layout.LAYOUTS`.
    fit, upside_down : float
        As in :class:`runtime.layout.Choice`.
    px_per_mm : float
    scale_source : str
        ``"grid"``, ``"pulse"`` or ``"assumed"``.
    area : Area
        Where the panel lies.
    leads : tuple of LeadTrace
        With boxes in px of the picture.
    slant : float
        Px to the right, for each px further down, by which the picture must be moved for its leads
        to agree; 0 where it is known to be straight or they agree as it is.
    """

    rows: Rows
    layout: str
    fit: float
    upside_down: float
    px_per_mm: float
    scale_source: str
    area: Area
    leads: tuple[LeadTrace, ...]
    slant: float = 0.0

    @property
    def level(self) -> bool:
        """Whether the baselines are level, or slope each its own way as wandering traces do."""
        left, right = int(self.rows.left), max(int(self.rows.right), int(self.rows.left) + 3)
        third = (right - left) // 3
        first = medians(self.rows.baselines[:, left : left + third])
        last = medians(self.rows.baselines[:, right - third : right])
        slopes = (last - first) / max(right - left - third, 1)
        usual = median(slopes)
        together = float(np.abs(slopes - usual).max()) < TOGETHER * abs(usual)
        return abs(usual) < LEVEL_SLOPE or not together

    @property
    def fits(self) -> bool:
        """Whether twelve leads were read, the right way up, that agree with one another."""
        known = self.layout in ARRANGEMENTS and self.fit <= CONVINCING_FIT
        known = known and self.px_per_mm >= COARSEST
        return known and self.fit < self.upside_down and self.coverage >= CONVINCING_COVERAGE

    @property
    def coverage(self) -> float:
        """Share of the leads' columns with ink; little on a page that lies on its side."""
        return sum(coverages(self.leads)) / max(len(self.leads), 1)


class _Print(Record):
    """What is printed on an upright picture: darkness, ink and its strokes."""

    darkness: NDArray[np.uint8]
    threshold: int
    least: int
    mask: NDArray[np.bool_]
    runs: Runs
    strokes: Strokes
    long: Runs
    captured: bool
    flat: bool


class _Followed(Record):
    """Rows with their lines, the borders between columns of leads, and the layout."""

    rows: Rows
    borders: dict[int, list[float]]
    traces: RowTraces
    choice: Choice


def read_upright(
    darkness: NDArray[np.uint8], *, captured: bool, flat: bool = False
) -> Reading | None:
    """Read an upright picture.

    Parameters
    ----------
    darkness : ndarray of uint8, shape (h, w)
        As from :func:`runtime.ink.darkness_of`.
    captured : bool
        Whether it is a scan or a photo rather than a cart's own file.
    flat : bool
        Whether a row may be as flat as a printed rule: that of a heart of low voltage is.

    Returns
    -------
    Reading or None
        None where there is no row of trace.
    """
    threshold = ink_threshold(darkness)
    reading = _read_ink(darkness, threshold, 0, captured, flat=flat)
    if reading is not None and reading.fits:
        return reading
    raised = above_grid(darkness, threshold)
    if raised == threshold:
        return reading
    again = _read_ink(darkness, raised, raised, captured, flat=flat)
    return again if again is not None and again.fits else reading


def _read_ink(
    darkness: NDArray[np.uint8], threshold: int, least: int, captured: bool, *, flat: bool
) -> Reading | None:
    """Read what is darker than a threshold; within the panel it is set anew, at `least` there."""
    mask, everything = ink_of(darkness, threshold, captured=captured)
    unruled = everything if flat else without_rules(everything)
    strokes = strokes_of(unruled)
    guess = darkness.shape[1] / PAGE_MM
    long = long_strokes(strokes, guess, flat=flat)
    rows = find_rows(long, guess, flat=flat)
    if rows is None:
        return None
    printed = _Print(darkness, threshold, least, mask, unruled, strokes, long, captured, flat)
    reading, used = _read_rows(printed, rows)
    if len(used) == len(rows.levels):
        return reading
    # The panel is outlined again: with the rows that the outline cut off, where they tell more
    # than those within, and without the lines of print that were taken for rows.
    whole, all_used = _read_rows(printed, rows, whole=True)
    if reading.layout not in ARRANGEMENTS or (whole.fits and len(all_used) > len(used)):
        reading, used = whole, all_used
    again = None if flat else _read_ink(darkness, threshold, least, captured, flat=True)
    if again is not None and again.fits and len(again.rows.levels) > len(used):
        return again
    if len(used) == len(rows.levels) or reading.layout not in ARRANGEMENTS:
        return reading
    part = _read_rows(printed, rows.part(used.start, len(used)))[0]
    return part if part.fits or reading.fit >= CERTAIN else reading


def _read_rows(printed: _Print, found: Rows, *, whole: bool = False) -> tuple[Reading, range]:
    """Read the rows of a panel, all of them if it is `whole`; returns which it has, too."""
    darkness = printed.darkness
    area = panel_area(
        darkness,
        printed.mask,
        printed.runs,
        printed.long,
        found,
        noisy=printed.captured,
        whole=whole,
    )
    mask, strokes = _within(printed, area)
    within = indices((found.levels >= area.top) & (found.levels < area.bottom))
    first = int(within[0]) if within.size else 0
    count = int(within[-1]) + 1 - first if within.size else len(found.levels)
    guess = (found.right - found.left) / (ROW_SECONDS * PAPER_SPEED)
    levels = found.levels[first : first + count]
    long = long_strokes(strokes, guess, flat=printed.flat)
    rows = refine_rows(strokes, long, levels, guess, captured=printed.captured)
    measured = _grid_scale(darkness, mask, rows)
    if measured is not None and _pulses_deny(rows, measured[1]):
        measured = None  # the pattern of something else, of a JPEG's blocks
    across, down = measured or (_assumed_scale(rows),) * 2
    px_per_mm = float(np.sqrt(across * down))
    spans = [rows] if measured is None else _timed(rows, across)
    rows, borders, traces, choice = _followed(darkness, strokes, spans[0], across, px_per_mm)
    enough = CERTAIN if printed.captured else CONVINCING_FIT
    if len(spans) > 1 and not choice.fit <= enough:
        other = _followed(darkness, strokes, spans[1], across, px_per_mm)
        if other.choice.layout in ARRANGEMENTS and fits_better(other.choice.fit, choice.fit):
            rows, borders, traces, choice = other
    if printed.captured and choice.layout in ARRANGEMENTS and go_on(strokes, rows, across):
        choice = choice._replace(layout="unknown", nearest=choice.layout)
    leads: tuple[LeadTrace, ...] = ()
    slant = _slant(traces, rows, choice) if printed.captured else 0.0
    if choice.layout in ARRANGEMENTS:
        first, count = first + choice.first, ARRANGEMENTS[choice.layout].rows
        rows = rows.part(choice.first, count)
        traces = traces.part(choice.first, count)
        shown = len(ARRANGEMENTS[choice.layout].leads)  # no lead is read from a rhythm strip
        line = thin_line(even_flanks(traces, darkness, shown))
        leads = _leads(choice, rows, line, borders, (across, down))
        if area.source == "traces":
            area = _tightened(area, rows, traces, down)
    reading = Reading(
        rows,
        choice.layout,
        choice.fit,
        choice.upside_down,
        px_per_mm,
        "assumed" if measured is None else "grid",
        area,
        leads,
        slant,
    )
    return reading, range(first, first + count)


def _followed(
    darkness: NDArray[np.uint8], strokes: Strokes, rows: Rows, across: float, px_per_mm: float
) -> _Followed:
    """Follow rows and tell their layout; told apart where they are crowded or fit badly."""
    borders, lines = _borders(darkness, strokes.runs, rows, across)
    traces = _traces(darkness, strokes, lines, rows, px_per_mm)
    choice = _chosen(traces, rows)
    if choice.layout in CROWDED or CONVINCING_FIT < choice.fit <= choice.upside_down:
        apart = _untangled(darkness, strokes, lines, rows, traces, px_per_mm)
        again = _chosen(apart, rows)
        if again.layout == choice.layout or choice.layout == "unknown":
            traces, choice = apart, again
    return _Followed(rows, borders, traces, choice)


def _within(printed: _Print, area: Area) -> tuple[NDArray[np.bool_], Strokes]:
    """Return ink and strokes of the panel alone: print beside it cannot change what is read."""
    part = printed.darkness[area.pixels]
    threshold = max(ink_threshold(part), printed.least) if part.size else printed.threshold
    box = (area.left, area.top, area.right, area.bottom)
    if threshold == printed.threshold:
        return printed.mask, printed.strokes.within(*box)
    mask, runs = ink_of(printed.darkness, threshold, captured=printed.captured)
    return mask, strokes_of(runs.within(*box))


def _assumed_scale(rows: Rows) -> float:
    """Return px per mm if the rows span 10 s at 25 mm/s."""
    return (rows.right - rows.left) / (ROW_SECONDS * PAPER_SPEED)


def _grid_scale(
    darkness: NDArray[np.uint8], mask: NDArray[np.bool_], rows: Rows
) -> tuple[float, float] | None:
    """Measure px per mm across and down on the grid between the rows; None without a grid."""
    levels, assumed = rows.levels, _assumed_scale(rows)
    inside = np.s_[int(levels[0]) : int(levels[-1]) + 1, int(rows.left) : int(rows.right)]
    beside = min(rows.left, darkness.shape[1] - rows.right)
    cut = beside < EDGE_MM * assumed
    return grid_scale(bare_paper(darkness[inside], mask[inside]), assumed, cut=cut)


def _traces(
    darkness: NDArray[np.uint8],
    strokes: Strokes,
    lines: NDArray[np.int64],
    rows: Rows,
    px_per_mm: float,
) -> RowTraces:
    """Follow the rows, leaving out the columns that the lines between leads cover."""
    keep = _beside(strokes.runs, lines)
    touching = strokes.pairs_where(keep)
    traces = follow_rows(darkness, strokes.runs.where(keep), rows.baselines, px_per_mm, touching)
    for edge in (traces.top, traces.bottom):  # a pulse beside the traces is none of theirs
        edge[:, : int(rows.left)] = np.nan
        edge[:, int(rows.right) :] = np.nan
    return traces


def _beside(runs: Runs, lines: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Tell which runs are in none of the columns that lines between leads cover."""
    beside = np.ones(runs.size[0], dtype=bool)
    beside[lines] = False
    return beside[runs.x]


def _untangled(
    darkness: NDArray[np.uint8],
    strokes: Strokes,
    lines: NDArray[np.int64],
    rows: Rows,
    traces: RowTraces,
    px_per_mm: float,
) -> RowTraces:
    """Follow rows anew where waves of several of them run into each other."""
    from runtime.tangles import untangle  # few pages need it, and a first answer waits for it

    keep = _beside(strokes.runs, lines)
    keep &= (strokes.runs.x >= int(rows.left)) & (strokes.runs.x < int(rows.right))
    runs, touching = strokes.runs.where(keep), strokes.pairs_where(keep)
    return untangle(darkness, runs, touching, rows.baselines, traces, px_per_mm)


def _chosen(traces: RowTraces, rows: Rows) -> Choice:
    """Tell the layout of rows that were followed."""
    return choose_layout(_heights(traces, rows))


def _heights(traces: RowTraces, rows: Rows) -> NDArray[np.float64]:
    """Return the heights of the traces from where they begin to where they end, up positive."""
    return -(traces.top + traces.bottom)[:, int(rows.left) : int(rows.right)] / 2


def _slant(traces: RowTraces, rows: Rows, choice: Choice) -> float:
    """Return how much further right lower rows belong; 0 where that makes little difference.

    Where the layout is unknown, leads of every layout of so many rows are tried, and of the one
    that fits best.
    """
    if choice.fit <= CONVINCING_FIT:
        return 0.0
    count, limit = len(rows.levels), choice.fit
    layouts = {(choice.layout, choice.first)}
    if choice.layout not in ARRANGEMENTS:
        limit = CONVINCING_FIT
        layouts = {(name, 0) for name, one in ARRANGEMENTS.items() if one.rows == count}
        layouts |= {(choice.nearest, choice.first)} if choice.nearest else set()
    heights = _heights(traces, rows)
    slants = [
        slant_of(heights[first:], rows.levels[first:], ARRANGEMENTS[name])
        for name, first in sorted(layouts)
    ]
    known = (found for found in slants if math.isfinite(found[1]))
    slant, fit = min(known, key=lambda found: found[1], default=(0.0, math.inf))
    return slant if fit < min(BETTER * limit, choice.upside_down) else 0.0


def _tightened(area: Area, rows: Rows, traces: RowTraces, mm: float) -> Area:
    """Leave out what lies well above or below the traces that were followed: the sheet's edge."""
    top = float(np.nanmin(traces.top, initial=rows.levels[0]))
    top = min([top, *(float(rows.levels[0]) - pulse.height for pulse in rows.pulses)])
    bottom = float(np.nanmax(traces.bottom, initial=rows.levels[-1]))
    slack = SLACK_MM * mm
    return area._replace(
        top=top if area.top < top - slack else area.top,
        bottom=bottom if area.bottom > bottom + slack else area.bottom,
    )


def _leads(
    choice: Choice,
    rows: Rows,
    line: NDArray[np.float32],
    borders: dict[int, list[float]],
    scale: tuple[float, float],
) -> tuple[LeadTrace, ...]:
    """Cut the rows' thin lines into leads; `scale` is px per mm across and down.

    Limb leads are corrected by one another where their waves meet, on pages of twelve rows, and
    where they break the laws; what convinces stays as it was read (docs/experiments.md says why).
    """
    across, down = scale
    arrangement = ARRANGEMENTS[choice.layout]
    columns, px_per_mv = arrangement.columns, down * _gain(rows, down)
    edges = borders.get(columns) or list(np.linspace(rows.left, rows.right, columns + 1))
    if columns == 1 or choice.fit > CONVINCING_FIT:
        for column in range(columns):
            span = slice(max(0, round(edges[column])), round(edges[column + 1]))
            names = tuple(names[column] for names in arrangement.leads)
            limbs = [row for row, name in enumerate(names) if name in LIMB_LEADS]
            if limbs:
                part = np.s_[:, limbs[0] : limbs[-1] + 1, span]
                line[part] = agreeing(line[part], names[limbs[0] : limbs[-1] + 1], px_per_mv)
    places = [
        LeadPlace(name, row, edges[column], edges[column + 1], column * ROW_SECONDS / columns)
        for row, names in enumerate(arrangement.leads)
        for column, name in enumerate(names)
    ]
    return leads_of_rows(line, places, px_per_mv=px_per_mv, px_per_s=across * PAPER_SPEED)


def _timed(rows: Rows, mm: float) -> list[Rows]:
    """Correct where the traces begin and end by how long a row of leads is.

    A calibration pulse taken for trace, or a noisy start taken for a pulse, makes the rows longer
    or shorter than carts print them. After a pulse the beginning is certain; else where they end
    is seen more clearly, as a rule: a second answer is for traces that do not fit the first.
    """
    length = (rows.right - rows.left) / mm
    usual = ROW_SECONDS * PAPER_SPEED
    low, high = usual - SHORT_ROW_MM, usual + LONG_ROW_MM
    if low <= length <= high or not 0.8 * usual < length < 1.2 * usual:
        return [rows]
    if low <= length - rows.spare / mm <= high:  # it was the grid that went on, or its frame
        return [rows._replace(right=rows.right - rows.spare)]
    width = rows.baselines.shape[1]
    begun = rows._replace(right=min(float(width), rows.left + usual * mm))
    if any(0 <= rows.left - pulse.right < PULSE_GAP_MM * mm for pulse in rows.pulses[:1]):
        return [begun]
    ended = rows._replace(left=max(0.0, rows.right - usual * mm))
    return [ended, begun] if high < length < usual + BESIDE_MM else [ended]


def _gain(rows: Rows, mm: float) -> float:
    """Return the gain (mm/mV) that the calibration pulses show; the standard one without them."""
    gains = (_gain_of(pulse.height, mm) for pulse in rows.pulses)
    return next((gain for gain in gains if gain is not None), GAIN)


def _gain_of(height: float, mm: float) -> float | None:
    """Return the gain (mm/mV) at which a pulse is this high (px); None where carts offer none."""
    fitting = (gain for gain in GAINS if abs(height / (gain * mm) - 1.0) < GAIN_SLACK)
    return next(fitting, None)


def _pulses_deny(rows: Rows, mm: float) -> bool:
    """Tell whether the calibration pulses are of no gain at this scale, and are at the assumed."""
    heights = [pulse.height for pulse in rows.pulses]
    assumed = _assumed_scale(rows)
    if abs(mm / assumed - 1.0) < SAME_SCALE:
        return False
    denied = all(_gain_of(height, mm) is None for height in heights)
    return bool(heights) and denied and any(_gain_of(h, assumed) is not None for h in heights)


def _borders(
    darkness: NDArray[np.uint8], runs: Runs, rows: Rows, mm: float
) -> tuple[dict[int, list[float]], NDArray[np.int64]]:
    """Find the printed lines between columns of leads.

    Returns
    -------
    borders : dict
        For each number of columns whose lines were all found: the borders, first and last
        included, px.
    lines : ndarray of int64
        Picture columns that the lines cover; some may stand there twice.
    """
    count = len(rows.levels)
    found: dict[int, list[float]] = {}
    covered = [np.empty(0, dtype=np.int64)]
    if count < 3:
        return found, covered[0]
    crossed = rows.baselines[: 3 if count < 6 else 6]
    low, high = int(rows.levels[0]), int(rows.levels[len(crossed) - 1])
    most = max(COLUMNS)
    step = (rows.right - rows.left) / most
    place_of: dict[int, float] = {}
    for k in range(1, most):
        line = separator_columns(runs, crossed, rows.left + k * step, 3.0 * mm)
        if line.size and line[-1] - line[0] < mm:
            first, last = max(0, line[0] - 1), min(line[-1] + 2, runs.size[0])
            near = np.arange(first, last)
            covered.append(near)
            weight = darkness[low:high, first:last].sum(axis=0, dtype=np.float64)
            place_of[k] = float((near + 0.5) @ weight / max(float(weight.sum()), 1.0))
    for columns in COLUMNS:
        between = range(most // columns, most, most // columns)
        places = [place_of[k] for k in between if k in place_of]
        if len(places) == columns - 1:
            left, right = rows.left, rows.right
            if columns > 2:
                pitch = (places[-1] - places[0]) / (columns - 2)
                left, right = places[0] - pitch, min(places[-1] + pitch, rows.right)
            found[columns] = [left, *places, right]
    return found, np.concatenate(covered)
