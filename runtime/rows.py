"""Finds the rows of trace on a page, their baselines and where they begin and end."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from runtime.arrays import indices, stretches, sums_of_parts, true_cells
from runtime.ink import Runs
from runtime.pulse import Pulse, find_pulses
from runtime.quantile import median
from runtime.record import Record
from runtime.strokes import Strokes

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = [
    "Rows",
    "find_rows",
    "go_on",
    "long_strokes",
    "refine_rows",
    "trace_between",
    "without_rules",
]

#: The page is looked at in this many vertical strips.
STRIPS = 32
#: Numbers of rows that a known layout has.
KNOWN_ROWS = (1, 3, 4, 6, 7, 12)
#: Most peaks of ink that are looked at, and the least share of a page's columns in one.
MAX_PEAKS = 18
MIN_SCORE = 0.05
#: A trace whose line is broken goes on after a gap up to this wide (mm), in pieces at least so wide
#: (mm); where the lines of a dark grid cross there are smaller specks.
GAP_MM = 2.0
PIECE_MM = 0.8
#: How far (mm) from the traces' ends pulses stand.
PULSE_ZONE_MM = 14.0
#: What so wide a gap (mm) parts from the traces is none of them: the desk, the edge of the sheet.
APART_MM = 12.0
#: What is no wider than this (mm), with a gap behind it, is a line of a frame.
FRAME_MM = 1.2
#: Share of the width at either side in which the ends of the traces are looked for first.
END_SHARE = 0.25
#: Rows lie at least this far apart (mm); the closest seen on a real page are 10 mm apart.
ROW_DISTANCE_MM = 6.0
#: Between two columns there is trace where most rows have ink in more than this share of what lies
#: between, over more than so much (mm). Next to a trace it is less than 0.3, within it more than
#: 0.7.
TRACE_SHARE = 0.4
TRACE_MM = 15.0
#: Behind the ends of rows that were cut short trace is looked for from this distance (mm) on, and
#: before them from the pulses on, over so much (mm).
BEHIND_MM = 3.0
ON_MM = 30.0
#: From this many rows on, one that lies further off than so many usual gaps is none of them.
LEAST_REGULAR = 4
FAR_GAPS = 2.3
#: A page of so many rows is told with up to `MAX_HIDDEN` of them hidden, if the gaps between the
#: others are usual gaps, or several of them, within this share of one.
MOST_ROWS = 12
MAX_HIDDEN = 2
UNEVEN = 0.2
#: Strokes narrower than this (mm) are letters or pulses, flatter than `FLAT_MM` printed rules.
TRACE_WIDTH_MM = 10.0
FLAT_MM = 2.0
#: Share of the print's width that is ink in one row of pixels of a printed line; the flattest of
#: 6,000 rows of trace of real pages has 0.84.
RULED_ROW = 0.9
#: A printed line keeps within this distance (mm) of its middle ...
RULE_MM = 0.9
#: ... over more than this share of the width that long strokes take up, and leaves it over less
#: than that share; a trace with a beat a second leaves it over 8 % with its QRS complexes alone.
RULE_COVER = 0.85
RULE_LEAVES = 0.06
#: A frame is this far (mm) from the rows' usual baselines.
CLEAR_MM = 3.0


class Rows(Record):
    """Rows of trace in working px.

    Attributes
    ----------
    baselines : ndarray of float64, shape (rows, w)
        Local baseline of each row in each column, from the top down.
    levels : ndarray of float64, shape (rows,)
        Usual baseline of each row.
    left, right : float
        Where the traces begin and end, calibration pulses left out.
    pulses : tuple of Pulse
    spare : float
        By how much `right` would lie further left without what goes on along a broken line or
        stands apart like a frame's line, px.
    """

    baselines: NDArray[np.float64]
    levels: NDArray[np.float64]
    left: float
    right: float
    pulses: tuple[Pulse, ...] = ()
    spare: float = 0.0

    def part(self, first: int, count: int) -> Rows:
        """Return `count` rows from row `first` on."""
        chosen = slice(first, first + count)
        return self._replace(baselines=self.baselines[chosen], levels=self.levels[chosen])


def find_rows(long: Runs, mm: float, *, flat: bool = False) -> Rows | None:
    """Find the rows of trace on a page.

    Parameters
    ----------
    long : Runs
        Long strokes of an upright page, as from :func:`long_strokes`.
    mm : float
        Working px per mm, roughly.
    flat : bool
        Whether a row may be as flat as a printed rule.

    Returns
    -------
    Rows or None
        None where no row of trace is found. With level baselines, without pulses, and with ends
        that may hold a pulse: to be refined by :func:`refine_rows`.
    """
    if len(long.x) == 0:
        return None
    step = max(1, round(0.7 * mm))
    occupied = _occupancy(long, step)
    coverage = _strip_coverage(occupied)
    used = indices(coverage.max(axis=1) > 0.5)
    if used.size < 0.2 * STRIPS:
        return None
    score = coverage[used].mean(axis=0)
    score = np.convolve(score, np.ones(3) / 3, mode="same")
    peaks = _peaks(score, max(1, round(ROW_DISTANCE_MM * mm / step)))
    twice = _doubled_middles(long)
    if not flat:
        peaks = [peak for peak in peaks if not _is_rule(long, twice, (peak[1] + 0.5) * step, mm)]
    places = _completed(_regular(_neighbours(_row_places(peaks))))
    if not places:
        return None
    levels = _levels(twice, (np.array(places) + 0.5) * step, 3 * step)
    baselines = levels[:, None].repeat(long.size[0], axis=1)
    counts = occupied[:, places].sum(axis=1)
    most = indices(counts >= max(1.0, 0.5 * len(places)))
    some = indices(counts >= max(1.0, 0.25 * len(places)))
    if most.size == 0:
        return None
    return Rows(baselines, levels, float(most[0]), float(some[-1] + 1))


def refine_rows(
    strokes: Strokes,
    long: Runs,
    levels: NDArray[np.float64],
    mm: float,
    *,
    captured: bool = False,
) -> Rows:
    """Follow the baselines and place the ends of rows that are known to be there.

    Parameters
    ----------
    strokes : Strokes
        Of the ink.
    long : Runs
        Its long strokes, as from :func:`long_strokes`.
    levels : ndarray of float64, shape (rows,)
        Roughly their baselines.
    mm : float
        Working px per mm.
    captured : bool
        Whether it is a scan or a photo, which may show the desk beside the sheet.

    Returns
    -------
    Rows
    """
    levels = _levels(_doubled_middles(long), levels, max(2.0, 2 * mm))
    baselines = _local_baselines(long, levels, mm)
    pulses = find_pulses(strokes.runs, baselines, mm)
    left, right, spare = _ends(strokes, long, baselines, pulses, mm, captured)
    return Rows(baselines, levels, left, right, pulses, spare)


def trace_between(runs: Runs, rows: Rows, first: float, last: float, mm: float) -> bool:
    """Tell whether most rows go on between two columns.

    Parameters
    ----------
    runs : Runs
        Of the ink, without specks.
    rows : Rows
        Their ends do not matter.
    first, last : float
        Working px; what lies outside the picture is left out.
    mm : float
        Working px per mm.
    """
    first, last = max(0, int(first)), min(runs.size[0], int(last))
    if last - first <= TRACE_MM * mm:
        return False
    counts = _rows_at(runs.columns(first, last), rows.baselines, mm)[first:last]
    return bool((counts >= max(1.0, 0.5 * len(rows.levels))).mean() > TRACE_SHARE)


def go_on(strokes: Strokes, rows: Rows, mm: float) -> bool:
    """Tell whether most rows have ink behind their ends, where a broken line was lost.

    Parameters
    ----------
    strokes : Strokes
        Of the ink.
    rows : Rows
    mm : float
        Working px per mm.
    """
    runs = strokes.runs.where(strokes.widths >= PIECE_MM * mm)
    before, behind = rows.left - PULSE_ZONE_MM * mm, rows.right + BEHIND_MM * mm
    reach = ON_MM * mm
    return trace_between(runs, rows, before - reach, before, mm) or trace_between(
        runs, rows, behind, behind + reach, mm
    )


def long_strokes(strokes: Strokes, mm: float, *, flat: bool = False) -> Runs:
    """Keep the ink of strokes as wide as a trace; letters, pulses and flat rules go.

    Parameters
    ----------
    strokes : Strokes
    mm : float
        Working px per mm.
    flat : bool
        Whether flat strokes stay.

    Returns
    -------
    Runs
    """
    keep = strokes.widths >= TRACE_WIDTH_MM * mm
    if not flat:
        keep &= strokes.heights > FLAT_MM * mm
    return strokes.runs.where(keep)


def without_rules(runs: Runs) -> Runs:
    """Drop printed level lines: rows of pixels that are ink over the whole width of the print."""
    height = runs.size[1]
    if len(runs.x) == 0:
        return runs
    count = len(runs.x)  # sorted by column
    low, high = float(runs.x[count // 100]), float(runs.x[count - 1 - count // 100])
    change = np.bincount(runs.top, minlength=height + 1)
    change = change - np.bincount(runs.bottom, minlength=height + 1)
    ruled = change.cumsum()[:height] > RULED_ROW * (high - low)
    if not ruled.any():
        return runs
    near = ruled.copy()
    near[1:] |= ruled[:-1]
    near[:-1] |= ruled[1:]
    keep = np.ones(count, dtype=bool)
    for first, last in zip(*stretches(near), strict=True):
        inside = np.minimum(runs.bottom, last) - np.maximum(runs.top, first)
        part = inside >= 0.6 * (runs.bottom - runs.top)
        leaving = np.count_nonzero(inside > 0) - np.count_nonzero(part)
        if leaving < RULE_LEAVES * (high - low):  # else the beats of a flat trace
            keep &= ~part
    return runs.where(keep)


def _is_rule(runs: Runs, twice: NDArray[np.int32], place: float, mm: float) -> bool:
    """Tell whether a row is a printed line: ink in nearly every column, and nothing leaves it.

    A few letters may touch it and a few waves cross it; a trace leaves its baseline with each beat.
    `twice` is as from `_doubled_middles`.
    """
    extent = int(runs.x[-1]) - int(runs.x[0]) + 1  # sorted by column
    ends = np.ceil((2 * place - 6 * mm, 2 * place + 6 * mm)).astype(twice.dtype)
    first, last = twice.searchsorted(ends)
    if first == last:
        return False
    level = float(twice[(first + last - 1) // 2] + twice[(first + last) // 2]) / 4
    band = max(1.5, RULE_MM * mm)
    ends = np.array((math.floor(2 * (level - band)), math.ceil(2 * (level + band)) + 1))
    first, last = twice.searchsorted(ends.astype(twice.dtype))
    if last - first <= RULE_COVER * extent:
        return False  # fewer have their middle within the band, so fewer lie within it
    within = (runs.top >= level - band) & (runs.bottom <= level + band)
    if np.count_nonzero(within) <= RULE_COVER * extent:
        return False  # cheaper than to count columns, and true of nearly every trace
    reach = (runs.top < level + 4 * mm) & (runs.bottom > level - 4 * mm)
    columns = np.zeros((2, runs.size[0]), dtype=bool)
    columns[0, runs.x[within]] = True
    columns[1, runs.x[reach & ~within]] = True
    return bool(columns[0].sum() > RULE_COVER * extent and columns[1].sum() < RULE_LEAVES * extent)


def _occupancy(runs: Runs, step: int) -> NDArray[np.bool_]:
    """Return which cells (column, `step` rows) the middle of a run is near to."""
    width, height = runs.size
    cells = np.zeros((width, height // step + 5), dtype=bool)
    middle = (runs.top + runs.bottom) // (2 * step) + 2
    cells.ravel()[runs.x.astype(np.int64) * cells.shape[1] + middle] = True
    near = cells.copy()
    flat, grown = cells.ravel(), near.ravel()  # two empty cells part the columns from each other
    for reach in (1, 2):
        grown[reach:] |= flat[:-reach]
        grown[:-reach] |= flat[reach:]
    return near[:, 2:-2]


def _strip_coverage(occupied: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return the share of each strip's columns with ink, shape (STRIPS, cells)."""
    width = occupied.shape[0]
    edges = np.arange(STRIPS + 1) * width // STRIPS
    # Strips of fewer than 256 columns are summed in bytes, which is several times faster.
    narrow = width < 255 * STRIPS
    kind = np.uint8 if narrow else np.uint32
    sums = sums_of_parts(occupied.view(np.uint8), edges[:-1], 0, kind)
    return sums / np.maximum(np.diff(edges), 1)[:, None]


def _peaks(score: NDArray[np.float64], apart: int) -> list[tuple[float, int]]:
    """Return value and place of the peaks of a score, the highest first, `apart` cells apart."""
    left = score.copy()
    found: list[tuple[float, int]] = []
    while left.size and len(found) < MAX_PEAKS:
        place = int(left.argmax())
        if left[place] < MIN_SCORE:
            break
        found.append((float(left[place]), place))
        left[max(0, place - apart) : place + apart + 1] = 0
    return found


def _row_places(peaks: list[tuple[float, int]]) -> list[int]:
    """Return the cells of the rows: the peaks above the widest gap in height."""
    scores = np.array([value for value, _ in peaks] + [0.0])
    best, chosen = 0.0, 0
    for count in range(1, len(peaks) + 1):
        if scores[count - 1] < 0.3 * scores[0]:
            break
        gap = scores[count - 1] / max(float(scores[count]), 0.1)
        gap *= 1.0 if count in KNOWN_ROWS else 0.7
        if gap >= best:
            best, chosen = gap, count
    return sorted(place for _, place in peaks[:chosen])


def _neighbours(places: list[int]) -> list[int]:
    """Leave out what lies far above or below the other rows: a line of print, the sheet's edge."""
    while len(places) >= LEAST_REGULAR:
        gaps = np.diff(places)
        far = gaps > FAR_GAPS * median(gaps)
        if not (far[0] or far[-1]):
            break
        places = places[1:] if far[0] else places[:-1]
    return places


def _regular(places: list[int]) -> list[int]:
    """Leave out what lies between two rows that are as far apart as neighbours are: a fold.

    A number of rows that carts print is left as it is, for their waves may hide the baselines, and
    so are many more: those are letters of a page on its side.
    """
    while LEAST_REGULAR <= len(places) <= MOST_ROWS + 1 and len(places) not in KNOWN_ROWS:
        gaps = np.diff(places)
        usual = np.array([median(np.delete(gaps, [k, k + 1])) for k in range(len(gaps) - 1)])
        between = indices(np.abs(gaps[:-1] + gaps[1:] - usual) <= UNEVEN * usual)
        if between.size == 0:
            break
        del places[between[0] + 1]
    return places


def _completed(places: list[int]) -> list[int]:
    """Add the rows that twelve evenly spaced ones lack: waves of their neighbours hide them."""
    gaps = np.diff(places)
    if len(places) < MOST_ROWS - MAX_HIDDEN or len(places) >= MOST_ROWS:
        return places
    usual = median(gaps)
    counts = np.rint(gaps / usual).astype(int)
    even = np.abs(gaps - counts * usual) <= UNEVEN * usual
    if counts.sum() + 1 != MOST_ROWS or not even.all():
        return places
    rows = [places[0]]
    for place, gap, count in zip(places, gaps, counts, strict=False):
        rows += [round(place + gap * k / count) for k in range(1, count + 1)]
    return rows


def _doubled_middles(runs: Runs) -> NDArray[np.int32]:
    """Return twice the middles of the runs, sorted, px."""
    return np.sort(runs.top + runs.bottom)


def _levels(
    twice: NDArray[np.int32], places: NDArray[np.float64], reach: float
) -> NDArray[np.float64]:
    """Return the most usual middle of runs (`_doubled_middles`) near each place, px."""
    above, below = np.floor(2 * (places - reach)), np.ceil(2 * (places + reach))
    first = twice.searchsorted(above.astype(twice.dtype), side="right")
    last = twice.searchsorted(below.astype(twice.dtype), side="left")
    # The middles near each place, counted by how far they are behind the first that may be.
    many = np.maximum(last - first, 0)
    row = np.arange(len(places)).repeat(many)
    near = np.concatenate([twice[a:b] for a, b in zip(first, last, strict=True)])
    lowest = np.floor(places - reach).astype(np.int64) - 2  # two empty ones before
    middles = np.rint(near / 2).astype(np.int64) - lowest[row]
    size = int(2 * reach) + 8  # and after
    counts = np.bincount(row * size + middles, minlength=len(places) * size)
    counts = counts.reshape(len(places), size)
    weighed = 3 * counts[:, 2:-2] + 2 * (counts[:, 1:-3] + counts[:, 3:-1])
    weighed += counts[:, :-4] + counts[:, 4:]
    return np.where(many > 0, lowest + 2 + weighed.argmax(axis=1), places)


def _local_baselines(runs: Runs, levels: NDArray[np.float64], mm: float) -> NDArray[np.float64]:
    """Follow each row's baseline from strip to strip, shape (rows, w), px."""
    width, height = runs.size
    strip = runs.x * STRIPS // width
    thin = runs.bottom - runs.top <= max(2.0, 1.5 * mm)
    middle = ((runs.top + runs.bottom) // 2)[thin]
    counts = np.bincount(strip[thin] * height + middle, minlength=STRIPS * height)
    counts = counts.reshape(STRIPS, height)
    _leave_out_lines(counts, levels, width, mm)
    window = max(1, round(mm)) * 2 + 1
    # A window holds few runs: no more than the columns of a strip in each of its rows.
    padded = np.zeros((STRIPS, height + window - 1), dtype=np.int16)
    padded[:, window // 2 : window // 2 + height] = counts
    density = padded[:, :height].copy()
    for shift in range(1, window):
        density += padded[:, shift : shift + height]
    edges = np.concatenate([[-np.inf], (levels[1:] + levels[:-1]) / 2, [np.inf]])
    edges[0] = levels[0] - (edges[1] - levels[0] if len(levels) > 1 else 20 * mm)
    edges[-1] = levels[-1] + (levels[-1] - edges[-2] if len(levels) > 1 else 20 * mm)
    best = np.empty((len(levels), STRIPS), dtype=np.int64)
    for index, level in enumerate(levels):
        low, high = max(0, int(edges[index])), min(height, int(edges[index + 1]) + 1)
        y = np.arange(low, high)
        weight = 1.0 - 0.6 * np.abs(y - level) / max(high - level, level - low, 1.0)
        best[index] = low + (density[:, low:high] * weight).argmax(axis=1)
    found = density[np.arange(STRIPS), best] > 0
    place = np.where(found, best, levels[:, None])
    before, after = place[:, [0, *range(STRIPS - 1)]], place[:, [*range(1, STRIPS), STRIPS - 1]]
    place = np.maximum(np.minimum(before, after), np.minimum(np.maximum(before, after), place))
    return _between_strips(place, width)


def _between_strips(values: NDArray[np.float64], width: int) -> NDArray[np.float64]:
    """Interpolate rows of values, shape (rows, STRIPS), at every column, shape (rows, w).

    As ``np.interp`` with the strips' middles, all rows at once.
    """
    strip, behind, apart = _columns_of_strips(width)
    slopes = np.zeros_like(values)
    slopes[:, :-1] = (values[:, 1:] - values[:, :-1]) / apart
    return slopes.take(strip, axis=1) * behind + values.take(strip, axis=1)


@lru_cache(maxsize=4)
def _columns_of_strips(
    width: int,
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    """Return the strip whose middle each column is behind, by how much, and how far they are apart.

    Columns before the first middle are taken to be there, shapes (w,), (w,) and (STRIPS - 1,).
    """
    centres = (np.arange(STRIPS) + 0.5) * width / STRIPS
    columns = np.arange(width)
    strip = np.maximum(centres.searchsorted(columns, side="right") - 1, 0)
    return strip, np.maximum(columns - centres[strip], 0.0), np.diff(centres)


def _leave_out_lines(
    counts: NDArray[np.int64], levels: NDArray[np.float64], width: int, mm: float
) -> None:
    """Leave out printed lines beside the rows of trace, a frame's; changes `counts`.

    `counts` are the middles of thin runs by strip and row of pixels.
    """
    whole = np.convolve(np.add.reduce(counts, axis=0), (1, 1, 1), mode="same")
    inked = np.count_nonzero(counts.any(axis=1))  # strips: a sheet may fill a part of its photo
    lines = whole >= RULE_COVER * RULE_COVER * width * inked / STRIPS
    for level in levels:
        lines[max(0, int(level - CLEAR_MM * mm)) : max(0, int(level + CLEAR_MM * mm) + 1)] = False
    for place in indices(lines):  # hardly ever any
        near = counts[:, max(0, place - 1) : place + 2]
        full = near.sum(axis=1) >= RULE_COVER * width / STRIPS
        if np.count_nonzero(full) >= RULE_COVER * inked:
            near[:] = 0


def _ends(
    strokes: Strokes,
    long: Runs,
    baselines: NDArray[np.float64],
    pulses: tuple[Pulse, ...],
    mm: float,
    captured: bool,
) -> tuple[float, float, float]:
    """Place the first and the last column of the traces, between the calibration pulses.

    Returns
    -------
    left, right, spare : float
        As in `Rows`.
    """
    width, _ = long.size
    count = len(baselines)
    reach = PULSE_ZONE_MM * mm
    # On a cart's own file nearly always both ends lie far outside, and pulses as well.
    for share in (0.5,) if captured else (END_SHARE, 0.5):
        counts = _rows_at(long.outside(share * width, (1 - share) * width), baselines, mm)
        some = indices(counts >= max(1.0, 0.25 * count))
        some = _together(some, share * width, (1 - share) * width, APART_MM * mm)
        most = some[counts[some] >= max(1.0, 0.5 * count)]
        inner = share * width - reach
        if most.size and most[0] < inner and some[-1] >= width - inner:
            break
    if most.size == 0:
        return 0.0, float(width), 0.0
    most = most[_lines_before(most[most < width / 2], mm) :]
    first, last = int(most[0]), int(some[-1])
    framed = some[::-1][_lines_before(-some[some >= width / 2][::-1], mm)]  # seen from the right
    # A broken line goes on in shorter strokes.
    pieces = strokes.runs.columns(last + 1, width)
    pieces = pieces.where(strokes.widths[len(strokes.widths) - len(pieces.x) :] >= PIECE_MM * mm)
    beyond = indices(_rows_at(pieces, baselines, mm) >= max(1.0, 0.5 * count))
    after = np.concatenate([[last], beyond])
    breaks = indices(after[1:] - after[:-1] > GAP_MM * mm)
    end = int(after[breaks[0]]) if breaks.size else int(after[-1])
    last, spare = end, end - int(framed)
    if pulses and pulses[0].right < first + reach:  # only the outermost can be one
        after = most[most >= pulses[0].right]
        first = int(after[0]) if after.size else first
    if pulses and pulses[-1].left > last - reach:
        before = some[some < pulses[-1].left]
        last, spare = (int(before[-1]), 0) if before.size else (last, spare)
    return float(first), float(last + 1), float(spare)


def _together(
    columns: NDArray[np.int64], left: float, right: float, apart: float
) -> NDArray[np.int64]:
    """Leave out the columns (ascending) that a wide gap parts from what lies in the middle.

    The middle is between `left` and `right`; the columns lie on both sides of it.
    """
    before, after = columns[columns < left], columns[columns >= right]
    bounded = np.concatenate([before, [round(left)]])
    gaps = indices(bounded[1:] - bounded[:-1] > apart)
    before = before[gaps[-1] + 1 :] if gaps.size else before
    bounded = np.concatenate([[round(right)], after])
    gaps = indices(bounded[1:] - bounded[:-1] > apart)
    after = after[: gaps[0]] if gaps.size else after
    return np.concatenate([before, after])


def _lines_before(columns: NDArray[np.int64], mm: float) -> int:
    """Return how many of the columns (ascending) are upright lines before the traces: a frame's."""
    if columns.size == 0:
        return 0
    begin = np.concatenate([[0], indices(columns[1:] - columns[:-1] > GAP_MM * mm) + 1])
    widths = columns[np.concatenate([begin[1:], [len(columns)]]) - 1] - columns[begin]
    return int(begin[(widths > FRAME_MM * mm).argmax()])  # 0 where all of them are narrow


def _rows_at(runs: Runs, baselines: NDArray[np.float64], mm: float) -> NDArray[np.uint8]:
    """Return how many rows have ink near their baseline in each column.

    A run that is near several baselines is a frame's or a line between leads.
    """
    y = baselines.take(runs.x, axis=1)
    at = (runs.top < y + 2.5 * mm) & (runs.bottom > y - 2.5 * mm)
    at &= np.add.reduce(at, axis=0, dtype=np.uint8) < 2
    hit = np.zeros(baselines.shape, dtype=bool)
    row, run = true_cells(at)
    hit[row, runs.x[run]] = True
    return np.asarray(np.add.reduce(hit, axis=0, dtype=np.uint8))
