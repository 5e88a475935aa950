"""Finds the lines of several rows through ink that they share.

Each row is a strand: a line from column to column. It may pass between two columns where ink of
both overlaps. A set of lines is the better, the less ink none of them covers, the less they leave
the ink, the shorter they are and the less they bend: waves that cross go on as they came. Every
other strand is laid anew, with the rest as they are, then the rest, a few times; each by dynamic
programming over pairs of steps (Viterbi 1967).
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from runtime.arrays import indices, ranges, true_cells
from runtime.record import Record

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Tangle", "lines_of"]

#: Costs, all in cells of ink left uncovered: a cell off the ink, a cell of length, and a cell of
#: change from one column's step to the next one's.
OFF_INK = 3.0
LENGTH = 0.08
BEND = 0.7
#: Where columns overlap over a long stretch, passages are this far (mm) apart.
PASSAGE_MM = 2.0
#: A strand has no more passages than this into a column, and fewer where many strands would have
#: more pairs of steps than this: a picture of specks has hundreds, one of bars all there can be.
MOST_PASSAGES = 16
MOST_PAIRS = 6_000_000
#: A line goes no further (mm) from its row's baseline: 1.8 mV at the usual gain.
REACH_MM = 18.0
#: Steps that leave the ink for more than this (mm) are left out where a passage has a better one.
MOST_OFF_MM = 0.5
#: A steep line's ink reaches by this share of its step beyond the step's ends.
SMEAR = 0.3
#: How often each half of the strands is laid.
SWEEPS = 3


class Tangle(Record):
    """Ink that several rows share, in n places of a page.

    Attributes
    ----------
    ink : ndarray of bool, shape (n, c, h)
        Which cells of each column are ink; c columns at most.
    columns : ndarray of int64, shape (n,)
        How many of these each place has.
    tops : ndarray of float64, shape (n,)
        Upper edge of the first cells, px.
    cell : float
        Height of a cell, px.
    place : ndarray of int64, shape (m,)
        The place of each overlap of ink in two columns, ascending.
    column : ndarray of int64, shape (m,)
        The second of these columns; ascends within a place.
    high, low : ndarray of float64, shape (m,)
        Upper and lower end of the overlap, px.
    """

    ink: NDArray[np.bool_]
    columns: NDArray[np.int64]
    tops: NDArray[np.float64]
    cell: float
    place: NDArray[np.int64]
    column: NDArray[np.int64]
    high: NDArray[np.float64]
    low: NDArray[np.float64]


def lines_of(
    tangle: Tangle,
    place: NDArray[np.int64],
    levels: NDArray[np.float64],
    line_width: float,
    mm: float,
) -> NDArray[np.float64]:
    """Lay a line for each strand.

    Parameters
    ----------
    tangle : Tangle
    place : ndarray of int64, shape (s,)
        The place of each strand, ascending; from the top down within one.
    levels : ndarray of float64, shape (3, s)
        Where each begins, its baseline, and where it ends, px.
    line_width : float
        Of the pen, px.
    mm : float
        Px per mm.

    Returns
    -------
    ndarray of float64, shape (s, c + 1)
        Where each line enters and leaves its columns, px; NaN beyond its last.
    """
    strands = _Strands(tangle, place, levels, line_width / tangle.cell)
    odd = (np.arange(len(place)) - place.searchsorted(place)) % 2 == 1
    halves = [_Ways(tangle, strands, indices(half), mm / tangle.cell) for half in (~odd, odd)]
    for half in halves * SWEEPS:
        half.lay(strands)
    return np.asarray(strands.lines * tangle.cell + tangle.tops[place][:, None])


class _Strands:
    """The strands of all places, with their lines so far; heights in cells.

    Parameters
    ----------
    tangle, place, levels
        As for `lines_of`.
    width : float
        Of the pen, cells.
    """

    def __init__(
        self,
        tangle: Tangle,
        place: NDArray[np.int64],
        levels: NDArray[np.float64],
        width: float,
    ) -> None:
        columns, depth = tangle.ink.shape[1:]
        self.ink, self.place, self.width = tangle.ink, place, width
        self.columns = tangle.columns[place]
        self.levels = np.clip((levels - tangle.tops[place]) / tangle.cell, 0, depth - 2)
        near = self.ink.copy()  # a cell beside the ink may be half covered
        near[..., 1:] |= self.ink[..., :-1]
        near[..., :-1] |= self.ink[..., 1:]
        self.inked = _counted(near)
        # Where each strand's columns begin in the cells of all places.
        self.begin = (place[:, None] * columns + np.arange(columns)) * depth
        # At first each goes straight on.
        step = np.arange(columns + 1) / self.columns[:, None]
        straight = self.levels[0, :, None] * (1 - step) + self.levels[2, :, None] * step
        self.lines = np.where(step <= 1, straight, np.nan)
        covered = self.reach(straight[:, :-1], straight[:, 1:])
        self.covered = np.where(step[:, 1:] <= 1, self.begin + covered, 0)

    def reach(
        self, here: NDArray[np.float64], there: NDArray[np.float64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the first cell that the ink of a step covers, and the one behind the last."""
        high, low = np.minimum(here, there), np.maximum(here, there)
        around = self.width / 2 + SMEAR * (low - high)
        depth = self.ink.shape[2]
        first = np.clip(np.floor(high - around), 0, depth - 1).astype(np.int64)
        return first, np.clip(np.ceil(low + around), 0, depth - 1).astype(np.int64)

    def bare(self) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """Count the ink that no line covers, and that which just one does, as `_counted`."""
        first, last = (np.bincount(edge.ravel(), minlength=self.ink.size) for edge in self.covered)
        lines = (first - last).cumsum().reshape(self.ink.shape)  # 0 again where a column ends
        return _counted(self.ink & (lines == 0)), _counted(self.ink & (lines == 1))


def _counted(cells: NDArray[np.bool_]) -> NDArray[np.int32]:
    """Return how many cells before each in its column are true, flat."""
    count = np.zeros(cells.shape, dtype=np.int32)
    cells[..., :-1].cumsum(axis=2, out=count[..., 1:])
    return count.ravel()


class _Ways:
    """The ways that some strands can take: steps, from a passage before a column to one behind it.

    Parameters
    ----------
    tangle : Tangle
    strands : _Strands
    chosen : ndarray of int64, shape (s,)
        Numbers of these strands.
    mm : float
        Cells per mm.
    """

    def __init__(
        self, tangle: Tangle, strands: _Strands, chosen: NDArray[np.int64], mm: float
    ) -> None:
        self.chosen, self.last = chosen, strands.columns[chosen]
        strand, column, height = _passages(tangle, strands, chosen, mm)
        self.source, self.target, off = _steps(strands, chosen, strand, column, height, mm)
        self.strand, self.column, self.height = strand[self.source], column[self.source], height
        begin = strands.begin[chosen[self.strand], self.column]
        covered = strands.reach(height[self.source], height[self.target])
        self.first, self.end = begin + covered[0], begin + covered[1]
        rise = (height[self.target] - height[self.source]).astype(np.float32)
        # Beside a tangle lines are level.
        bends = (self.column == 0) * 1.0 + (self.column + 1 == self.last[self.strand])
        self.fixed = (OFF_INK * off + (LENGTH + BEND * bends) * np.abs(rise)).astype(np.float32)
        # Pairs of steps that follow one another, by the second of them: columns ascend among the
        # steps, and so do the steps among the pairs.
        order = np.argsort(self.target, kind="stable")
        many = np.bincount(self.target, minlength=len(strand))
        first = many.cumsum() - many
        goals = indices(column == self.last[strand])
        goals = goals[np.argsort(strand[goals])]
        self.finals, self.final = many[goals], order[ranges(first[goals], many[goals])]
        many, first = many[self.source], first[self.source]
        self.before, self.befores = order[ranges(first, many)], many
        self.bend = np.float32(BEND) * np.abs(rise.repeat(many) - rise[self.before])
        self.steps = self.column.searchsorted(np.arange(tangle.ink.shape[1] + 1))

    def lay(self, strands: _Strands) -> None:
        """Lay the lines of these strands anew, with the others as they are; changes `strands`."""
        cost, back = self._costs(strands), np.zeros(len(self.fixed), dtype=np.int64)
        end = 0
        for a, b in pairwise(self.steps[1:]):  # before the steps in the first column there are none
            many = self.befores[a:b]
            begin, end = end, end + int(many.sum())
            before = self.before[begin:end]
            total = cost[before] + self.bend[begin:end]
            least = _least(total, many)
            back[a:b] = before[least]
            cost[a:b] += total[least]
        step = self.final[_least(cost[self.final], self.finals)]
        way = np.empty((len(step), len(self.steps) - 1), dtype=np.int64)
        for column in range(way.shape[1] - 1, -1, -1):
            way[:, column] = step
            step = np.where(column < self.last, back[step], step)
        self._take(strands, way)

    def _costs(self, strands: _Strands) -> NDArray[np.float32]:
        """Return the cost of each step, less the ink that it covers and no other strand does."""
        none, one = strands.bare()
        first, last = strands.covered[:, self.chosen[self.strand], self.column]
        own = one[np.minimum(np.maximum(self.end, first), last)]
        own -= one[np.minimum(np.maximum(self.first, first), last)]
        own += none[self.end] - none[self.first]
        return self.fixed - own.astype(np.float32)

    def _take(self, strands: _Strands, way: NDArray[np.int64]) -> None:
        """Write down the steps of each strand, shape (s, c); changes `strands`."""
        inside = np.arange(way.shape[1]) < self.last[:, None]
        lines = np.full((len(way), way.shape[1] + 1), np.nan)
        lines[:, 1:][inside] = self.height[self.target[way]][inside]
        lines[:, 0] = self.height[self.source[way[:, 0]]]
        strands.lines[self.chosen] = lines
        covered = np.array([self.first[way], self.end[way]])
        strands.covered[:, self.chosen] = np.where(inside, covered, 0)


def _passages(
    tangle: Tangle, strands: _Strands, chosen: NDArray[np.int64], mm: float
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Return where lines may pass into a column: strand (of those chosen), column, height in cells.

    Sorted by column, strand and height. Column 0 is where a line begins; in the one behind the
    last it ends.
    """
    high, low = (
        (edge - tangle.tops[tangle.place]) / tangle.cell for edge in (tangle.high, tangle.low)
    )
    middle, half = (high + low) / 2, strands.width / 2
    high, low = np.minimum(high + half, middle), np.maximum(low - half, middle)
    parts = (low - high) / (PASSAGE_MM * mm)
    many = np.where(parts > 0.5, np.maximum(np.rint(parts), 1) + 1, 1).astype(np.int64)
    number = np.arange(len(many)).repeat(many)
    share = ranges(np.zeros_like(many), many) / np.maximum(many - 1, 1)[number]
    height = np.where(many > 1, high, middle)[number] + share * (low - high)[number]
    # Each strand has those of its place that are near to its baseline.
    place = tangle.place[number]
    home = strands.place[chosen]
    first, last = place.searchsorted(home), place.searchsorted(home, side="right")
    strand, at = np.arange(len(chosen)).repeat(last - first), ranges(first, last - first)
    begin, level, goal = strands.levels[:, chosen]
    near = np.abs(height[at] - level[strand]) < REACH_MM * mm
    near &= (height[at] >= 0) & (height[at] < tangle.ink.shape[2] - 1)
    strand, column, height = strand[near], tangle.column[number[at[near]]], height[at[near]]
    most = round((MOST_PAIRS / (len(chosen) * tangle.ink.shape[1])) ** (1 / 3), 6)
    few = _thinned(strand * tangle.ink.shape[1] + column, max(1, min(MOST_PASSAGES, int(most))))
    strand, column, height = strand[few], column[few], height[few]
    # Where there are none, it passes at its baseline.
    last = strands.columns[chosen]
    columns = np.arange(tangle.ink.shape[1])
    lacks = (columns > 0) & (columns < last[:, None])
    lacks[strand, column] = False
    lacking, lacked = true_cells(lacks)
    every = np.arange(len(chosen))
    strand = np.concatenate([strand, lacking, every, every])
    column = np.concatenate([column, lacked, np.zeros_like(last), last])
    height = np.concatenate([height, level[lacking], begin, goal])
    order = np.lexsort((height, strand, column))
    return strand[order], column[order], height[order]


def _steps(
    strands: _Strands,
    chosen: NDArray[np.int64],
    strand: NDArray[np.int64],
    column: NDArray[np.int64],
    height: NDArray[np.float64],
    mm: float,
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Return the steps between passages: source, target, and how many cells are off the ink.

    Sorted by source. Those that leave the ink for long are left out, except the best step into each
    passage and the best one out of it.
    """
    group = column * len(chosen) + strand
    many = np.bincount(group, minlength=int(group[-1]) + len(chosen) + 1)
    first, behind = many.cumsum() - many, group + len(chosen)
    source = np.arange(len(group)).repeat(many[behind])
    target = ranges(first[behind], many[behind])
    low = np.maximum(height[source], height[target]).astype(np.int64) + 1
    high = np.minimum(height[source], height[target]).astype(np.int64)
    begin = strands.begin[chosen[strand[source]], column[source]]
    inked = strands.inked
    off = low - high - (inked[begin + low] - inked[begin + high])
    keep = off <= MOST_OFF_MM * mm
    for end in (source, target):
        least = np.full(len(group), np.iinfo(np.int64).max)
        np.minimum.at(least, end, off)
        keep |= off == least[end]
    return source[keep], target[keep], off[keep]


def _thinned(group: NDArray[np.int64], most: int) -> NDArray[np.bool_]:
    """Keep at most so many of each group, evenly chosen; groups ascend."""
    begin = indices(np.diff(group, prepend=-1))
    many = np.diff(begin, append=len(group))
    rank = ranges(np.zeros_like(many), many)
    many = np.maximum(many, most).repeat(many)
    return (rank + 1) * most // many > rank * most // many


def _least(values: NDArray[np.float32], many: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return where the first of the least values is in each group of so `many`, none of them 0."""
    begin = many.cumsum() - many
    least = indices(values == np.minimum.reduceat(values, begin).repeat(many))
    return least[least.searchsorted(begin)]
