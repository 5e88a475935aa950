"""Follows the trace of every row of leads, column by column."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from runtime.arrays import indices, true_cells
from runtime.quantile import quantile
from runtime.record import Record
from runtime.strokes import neighbours, numbers_of, pairs_among, stroke_labels

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from runtime.ink import Runs

__all__ = [
    "BOX_MV",
    "LeadPlace",
    "LeadTrace",
    "RowTraces",
    "coverages",
    "edges_of",
    "follow_rows",
    "leads_of_rows",
    "separator_columns",
]

#: Voltage from the lower to the upper edge of a lead's box, mV.
BOX_MV = 3.2
#: A run this near to a row's baseline (mm) touches it.
CONTACT_MM = 1.2
#: Columns (mm) of contact that make a stroke a row's own; a letter has about 2 mm.
OWN_MM = 4.0
#: A run taller than this (mm) is part of a steep wave.
WAVE_MM = 1.6
#: Columns (mm) on either side from which the direction of a hidden wave is read.
LOOK_MM = 1.2
#: Steps from the baseline over which a wave is followed in strokes that rows share, columns.
MAX_STEPS = 200


class LeadTrace(Record):
    """One lead as read from the page.

    Attributes
    ----------
    name : str
        ``"I"`` ... ``"V6"``.
    box : ndarray of float32, shape (4, 2)
        Corners of the lead's place on the page in ORIGINAL px: top left, top right, bottom right,
        bottom left of the upright page; `BOX_MV` high, the lead's own baseline in the middle.
    centre : ndarray of float32, shape (T,)
        The signal: mean over each column, mV above the lead's own baseline; NaN where there is no
        trace. Columns are evenly spaced over `seconds`. Where the other limb leads contradict a
        limb lead, or where its ink is hidden, it is what they tell (:mod:`runtime.limbs`).
    top, bottom : ndarray of float32, shape (T,)
        Highest and lowest value of the line in each column, mV; the width of the line is taken off.
        NaN where there is no ink.
    start_s : float
        Time of the first column's left edge, seconds after the start of the recording.
    seconds : float
        Time that the columns span.
    """

    name: str
    box: NDArray[np.float32]
    centre: NDArray[np.float32]
    top: NDArray[np.float32]
    bottom: NDArray[np.float32]
    start_s: float
    seconds: float


class RowTraces(Record):
    """The lines of the rows of leads in working px.

    Attributes
    ----------
    top, bottom : ndarray of float32, shape (rows, w)
        Upper and lower edge of the ink in each column of the picture; NaN where there is none.
    line_width : float
        Usual height of a run on the flat parts of the trace, px.
    """

    top: NDArray[np.float32]
    bottom: NDArray[np.float32]
    line_width: float

    def part(self, first: int, count: int) -> RowTraces:
        """Return `count` rows from row `first` on."""
        chosen = slice(first, first + count)
        return RowTraces(self.top[chosen], self.bottom[chosen], self.line_width)


def separator_columns(
    runs: Runs, baselines: NDArray[np.float64], border: float, reach: float
) -> NDArray[np.int64]:
    """Find the printed vertical line between two columns of leads.

    Parameters
    ----------
    runs : Runs
    baselines : ndarray of float64, shape (rows, w)
        Baselines of the rows that the line crosses, working px.
    border : float
        Where the line is expected, working px.
    reach : float
        How far from there it may be, working px.

    Returns
    -------
    ndarray of int64
        Columns in which a single run crosses every baseline; empty where there is no line.
    """
    near = runs.columns(border - reach, border + reach + 1)
    crosses = (near.top <= baselines[0, near.x]) & (near.bottom >= baselines[-1, near.x])
    crosses &= near.x <= border + reach
    hit = np.zeros(runs.size[0], dtype=bool)
    hit[near.x[crosses]] = True
    return indices(hit)  # np.unique would load numpy.ma, 6 ms of a cold start


def follow_rows(
    darkness: NDArray[np.uint8],
    runs: Runs,
    baselines: NDArray[np.float64],
    mm: float,
    touching: tuple[NDArray[np.int64], NDArray[np.int64]] | None = None,
) -> RowTraces:
    """Give each row its ink.

    A stroke that touches one row's baseline is that row's, wherever its waves go. Where waves of
    two rows touch, the ink goes to the row whose baseline it is fewer steps away from; a run that
    crosses several baselines is divided by the direction in which each row was seen to leave its
    baseline just before and after.

    Parameters
    ----------
    darkness : ndarray of uint8, shape (h, w)
    runs : Runs
        Without the lines between columns.
    baselines : ndarray of float64, shape (rows, w)
        Local baseline of each row in each column, working px, from the top down.
    mm : float
        Working px per mm.
    touching : tuple of ndarray of int64, optional
        The runs' ``neighbours(runs, 1)``, where they are known.

    Returns
    -------
    RowTraces
    """
    count, width = baselines.shape
    y = baselines.take(runs.x, axis=1)
    crossing = (runs.top <= y) & (runs.bottom >= y)
    bridge = np.add.reduce(crossing, axis=0, dtype=np.uint8) >= 2
    pairs = neighbours(runs, 1) if touching is None else touching
    owner, hold = _owners(runs, y, crossing, bridge, pairs, mm)
    bridge &= owner < 0
    uppermost, lowest = _joined(runs, owner, pairs)
    own = indices(owner >= 0)
    row = owner[own]
    # Of several runs in one column the last one written stays: the firmest, then the nearest.
    place = row * width + runs.x[own]
    shared = indices(np.bincount(place, minlength=1)[place] > 1)
    rival, level = own[shared], y[row[shared], own[shared]]
    distance = np.maximum(runs.top[uppermost[rival]] - level, level - runs.bottom[lowest[rival]])
    order = shared[np.lexsort((-np.maximum(distance, 0.0), hold[rival]))]
    own, place = np.concatenate([own, own[order]]), np.concatenate([place, place[order]])
    upper, lower = edges_of(darkness, runs)
    top = np.full((count, width), np.nan, dtype=np.float32)
    bottom = np.full((count, width), np.nan, dtype=np.float32)
    top.ravel()[place] = upper[uppermost[own]]
    bottom.ravel()[place] = lower[lowest[own]]
    heights = bottom - top
    finite = heights[np.isfinite(heights)]
    line_width = quantile(finite, 0.3) if finite.size else 1.0
    if bridge.any():
        _divide_bridges(runs, indices(bridge), baselines, top, bottom, line_width, mm)
    return RowTraces(top, bottom, line_width)


def _joined(
    runs: Runs, owner: NDArray[np.int64], pairs: tuple[NDArray[np.int64], NDArray[np.int64]]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Join runs of a row that stand above one another beside a run that reaches into both.

    A trace has one height a moment, so they are one flank of a steep wave: it covers its column by
    less than half, and only parts of it are dark enough to be ink. A letter that touches a trace
    is no part of it.

    Parameters
    ----------
    runs : Runs
    owner : ndarray of int64, shape (n,)
        The row that each run belongs to.
    pairs : tuple of ndarray of int64
        As from :func:`runtime.strokes.neighbours`: ascending by left, then by right.

    Returns
    -------
    first, last : ndarray of int64, shape (n,)
        The uppermost and the lowest of the runs that each run is joined with, itself included.
    """
    left, right = pairs
    own = owner[left] == owner[right]
    own &= (runs.top[left] < runs.bottom[right]) & (runs.bottom[left] > runs.top[right])
    left, right = left[own], right[own]
    joined = np.zeros(len(owner), dtype=bool)  # with the run before
    # Pairs that overlap do not cross one another, so they ascend by right as well.
    for beside, run in ((left, right), (right, left)):
        joined[run[1:][(beside[1:] == beside[:-1]) & (run[1:] == run[:-1] + 1)]] = True
    begin = indices(~joined)
    group = (~joined).cumsum() - 1
    return begin[group], np.append(begin[1:], len(owner))[group] - 1


def edges_of(
    darkness: NDArray[np.uint8], runs: Runs
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Place the edges of the runs between pixels, by how dark the pixels at the edges are.

    Parameters
    ----------
    darkness : ndarray of uint8, shape (h, w)
    runs : Runs

    Returns
    -------
    upper, lower : ndarray of float32, shape (n,)
        Px.
    """
    width, height = runs.size
    top, bottom = runs.top, runs.bottom
    flat = darkness.ravel()
    begin = top.astype(np.int64) * width + runs.x
    end = (bottom - 1).astype(np.int64) * width + runs.x
    first, last = flat.take(begin), flat.take(end)
    several = (bottom - top > 1) * width
    second, penult = flat.take(begin + several), flat.take(end - several)
    above = flat.take(begin - width)  # of the uppermost row: any pixel
    above[top == 0] = 0
    below = flat.take(np.minimum(end + width, len(flat) - 1))
    below[bottom == height] = 0
    full_top = np.maximum(np.maximum(first, second), 1).astype(np.float32)
    full_bottom = np.maximum(np.maximum(last, penult), 1).astype(np.float32)
    upper = top + 1 - first / full_top - np.minimum(above / full_top, 1.0)
    lower = bottom - 1 + last / full_bottom + np.minimum(below / full_bottom, 1.0)
    return upper.astype(np.float32), lower.astype(np.float32)


def _owners(
    runs: Runs,
    y: NDArray[np.float64],
    crossing: NDArray[np.bool_],
    bridge: NDArray[np.bool_],
    pairs: tuple[NDArray[np.int64], NDArray[np.int64]],
    mm: float,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the row that each run belongs to, and how firmly.

    Returns
    -------
    owner : ndarray of int64, shape (n,)
        -1 for bridges and stray ink.
    hold : ndarray of int64, shape (n,)
        Columns in which the run's stroke touches the baseline, at most `OWN_MM`; a letter that
        touches it gives way to a longer stroke.
    """
    total = y.shape[1]
    left, right = pairs
    waves = _waves(runs, y, crossing, left, right, mm)
    set_apart = bridge | (waves >= 0)
    apart_left = apart_right = left[:0]
    if set_apart.any():
        free = ~(set_apart[left] | set_apart[right])
        apart_left, apart_right = left[~free], right[~free]
        left, right = left[free], right[free]
    labels = stroke_labels(total, left, right)
    first = labels == np.arange(total)
    stroke = numbers_of(first)[labels]
    reach = CONTACT_MM * mm
    contact = (runs.top <= y + reach) & (runs.bottom >= y - reach) & ~set_apart
    number = np.count_nonzero(first)
    row, run = true_cells(contact)
    touching = np.bincount(row * number + stroke[run], minlength=len(y) * number)
    touching = touching.reshape(len(y), number)
    firm = max(1, round(OWN_MM * mm))
    enough = (touching >= firm).sum(axis=0)
    best = touching.argmax(axis=0)
    most = touching.max(axis=0, initial=0)
    owner = np.where((enough <= 1) & (most > 0), best, -1)[stroke]
    hold = np.minimum(most, firm)[stroke]
    shared = (enough > 1)[stroke]
    if shared.any():
        single = shared & (contact.sum(axis=0) == 1)
        owner[single] = contact.argmax(axis=0)[single]
        inside = shared[left] & shared[right]
        _spread(owner, left[inside], right[inside])
    owner[bridge] = -1
    known = waves >= 0
    if known.any():
        owner[known], hold[known] = waves[known], firm
        # The rounded tip of a wave is thin again and touches nothing but the wave.
        tip = ~(bridge[apart_left] & (waves[apart_left] < 0))
        tip &= ~(bridge[apart_right] & (waves[apart_right] < 0))
        _spread(owner, apart_left[tip], apart_right[tip])
    return owner, hold


def _waves(
    runs: Runs,
    y: NDArray[np.float64],
    crossing: NDArray[np.bool_],
    left: NDArray[np.int64],
    right: NDArray[np.int64],
    mm: float,
) -> NDArray[np.int64]:
    """Tell whose the steep waves are that cross the baselines of several rows.

    The row that a wave belongs to has left its baseline: somewhere under the wave there is no ink
    at that baseline. The rows that the wave merely crosses go on below it.

    Returns
    -------
    ndarray of int64, shape (n,)
        The row, for runs of waves of which exactly one row has left its baseline; else -1.
    """
    count, total = y.shape
    owner = np.full(total, -1)
    tall = runs.bottom - runs.top > WAVE_MM * mm
    members = indices(tall)
    row, run = true_cells(crossing.take(members, axis=1))
    if row.size == 0:
        return owner
    labels = stroke_labels(len(members), *pairs_among(left, right, tall))
    crossed = np.zeros((count, len(members)), dtype=bool)
    crossed[row, labels[run]] = True
    doubtful = indices(np.add.reduce(crossed, axis=0, dtype=np.uint8) >= 2)
    if doubtful.size == 0:
        return owner
    near = (runs.top <= y + 1) & (runs.bottom >= y - 1)
    inked = np.zeros((count, runs.size[0]), dtype=bool)
    row, run = true_cells(near)
    inked[row, runs.x[run]] = True
    for label in doubtful:
        group = members[labels == label]
        first, last = int(runs.x[group[0]]), int(runs.x[group[-1]])
        rows = indices(crossed[:, label])
        gone = rows[~inked[rows, first : last + 1].all(axis=1)]
        if gone.size == 1:
            owner[group] = gone[0]
    return owner


def _spread(owner: NDArray[np.int64], left: NDArray[np.int64], right: NDArray[np.int64]) -> None:
    """Let rows claim the unowned runs next to theirs, one step at a time; changes `owner`."""
    for _ in range(MAX_STEPS):
        known_left, known_right = owner[left] >= 0, owner[right] >= 0
        open_right, open_left = known_left > known_right, known_right > known_left
        if not (open_right.any() or open_left.any()):
            return
        claims = np.concatenate([right[open_right], left[open_left]])
        owner[claims] = np.concatenate([owner[left[open_right]], owner[right[open_left]]])
        remain = indices(~(known_left & known_right))
        left, right = left[remain], right[remain]


def _divide_bridges(
    runs: Runs,
    bridges: NDArray[np.int64],
    baselines: NDArray[np.float64],
    top: NDArray[np.float32],
    bottom: NDArray[np.float32],
    line_width: float,
    mm: float,
) -> None:
    """Divide the runs that cross several baselines among their rows; changes `top`, `bottom`."""
    up = _widest(baselines - top, max(1, round(LOOK_MM * mm)))
    down = _widest(bottom - baselines, max(1, round(LOOK_MM * mm)))
    floor = 0.75 * line_width
    up, down = np.maximum(up - floor, 0.0), np.maximum(down - floor, 0.0)
    for run in bridges:
        x, first, last = int(runs.x[run]), float(runs.top[run]), float(runs.bottom[run])
        y = baselines[:, x]
        rows = indices((y >= first) & (y <= last))
        above, below = up[rows, x], down[rows, x]
        share = (below[:-1] + 0.25) / (below[:-1] + above[1:] + 0.5)
        share = np.where(share > 0.75, 1.0, np.where(share < 0.25, 0.0, share))
        low, high = y[rows] - floor, y[rows] + floor
        reach = np.diff(y[rows])
        high[:-1] = np.where(share > 0, y[rows][:-1] + share * reach, high[:-1])
        low[1:] = np.where(share < 1, y[rows][1:] - (1 - share) * reach, low[1:])
        upper, lower = _tip(above, share == 0.0), _tip(below[::-1], (share == 1.0)[::-1])
        low[upper] = first
        high[len(rows) - 1 - lower] = last
        top[rows, x] = np.fmin(top[rows, x], low)
        bottom[rows, x] = np.fmax(bottom[rows, x], high)


def _tip(stretch: NDArray[np.float64], passed: NDArray[np.bool_]) -> int:
    """Return which row the end of a bridge belongs to: the first, unless others pass through it."""
    index = 0
    while index < len(passed) and passed[index] and stretch[index] < 0.5 * stretch[index + 1]:
        index += 1
    return index


def _widest(stretch: NDArray[np.float64], reach: int) -> NDArray[np.float64]:
    """Return the largest value within `reach` columns; 0 where there is none."""
    filled = np.nan_to_num(stretch, nan=0.0)
    padded = np.pad(filled, ((0, 0), (reach, reach)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * reach + 1, axis=1)
    return windows.max(axis=2)


class LeadPlace(Record):
    """Where a lead stands among the rows.

    Attributes
    ----------
    name : str
    row : int
    left, right : float
        Its borders, working px.
    start_s : float
        Time at the left border, s.
    """

    name: str
    row: int
    left: float
    right: float
    start_s: float


def leads_of_rows(
    line: NDArray[np.float32], places: Sequence[LeadPlace], *, px_per_mv: float, px_per_s: float
) -> tuple[LeadTrace, ...]:
    """Cut leads out of their rows, all of them in the same few calls of numpy.

    Parameters
    ----------
    line : ndarray of float32, shape (3, rows, w)
        As from :func:`runtime.pen.thin_line`.
    places : sequence of LeadPlace
    px_per_mv, px_per_s : float
        Working px.

    Returns
    -------
    tuple of LeadTrace
    """
    width = line.shape[2]
    spans = [(max(0, round(place.left)), round(place.right)) for place in places]
    spans = [(first, max(last, first + 1)) for first, last in spans]
    sizes = [max(min(last, width) - first, 0) for first, last in spans]
    cut = np.full((3, len(places), max(sizes)), np.nan, dtype=np.float32)
    for number, (place, (first, _), size) in enumerate(zip(places, spans, sizes, strict=True)):
        cut[:, number, :size] = line[:, place.row, first : first + size]
    baselines = _medians_of_known(cut[2])
    heights = (baselines.astype(np.float32)[:, None] - cut) / np.float32(px_per_mv)
    high, low = baselines - px_per_mv * BOX_MV / 2, baselines + px_per_mv * BOX_MV / 2
    left, right = np.array(spans, dtype=np.float64).T
    corners = np.array([left, high, right, high, right, low, left, low]).T
    boxes = corners.astype(np.float32).reshape(-1, 4, 2)
    leads = []
    for number, (place, (first, last), size) in enumerate(zip(places, spans, sizes, strict=True)):
        top, bottom, centre = heights[:, number, :size]
        start_s = place.start_s + (first - place.left) / px_per_s
        seconds = (last - first) / px_per_s
        leads.append(LeadTrace(place.name, boxes[number], centre, top, bottom, start_s, seconds))
    return tuple(leads)


def _medians_of_known(values: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the median of each row without its NaNs; 0 where there is nothing else."""
    ordered = np.sort(values, axis=1).astype(np.float64)  # NaN comes last
    ends = np.maximum(np.count_nonzero(ordered == ordered, axis=1) - 1, 0)
    row = np.arange(len(values))
    low, high = ordered[row, ends // 2], ordered[row, (ends + 1) // 2]
    medians = low + (high - low) * 0.5 * (ends % 2)
    return np.where(np.isnan(medians), 0.0, medians)


def coverages(leads: Sequence[LeadTrace]) -> list[float]:
    """Return the share of each lead's columns in which there is ink."""
    return [np.count_nonzero(np.isfinite(lead.top)) / max(lead.top.size, 1) for lead in leads]
