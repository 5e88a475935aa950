"""Tells how the leads are arranged on a page, from the number of rows and from Einthoven's law."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from runtime.quantile import median, medians, quantiles
from runtime.record import Record

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = [
    "ARRANGEMENTS",
    "CERTAIN",
    "LAYOUTS",
    "Arrangement",
    "Choice",
    "choose_layout",
    "disagreement",
    "fits_better",
    "slant_of",
]

LAYOUTS = ("3x4", "3x4+1", "3x4+3", "6x2", "6x2+1", "12x1", "single", "unknown")
"""Every layout that a page can be reported to have."""

_THREE_BY_FOUR = (("I", "aVR", "V1", "V4"), ("II", "aVL", "V2", "V5"), ("III", "aVF", "V3", "V6"))
_SIX_BY_TWO = (
    ("I", "V1"),
    ("II", "V2"),
    ("III", "V3"),
    ("aVR", "V4"),
    ("aVL", "V5"),
    ("aVF", "V6"),
)
_TWELVE = tuple(
    (lead,) for lead in ("I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6")
)
#: Largest disagreement with Einthoven's law of a layout that is believed. Of 1,544 real pages the
#: right layout is below it on all but the ones that are no 12-lead page; the same pages upside down
#: are above 0.45. What is no 12-lead page (six rhythm strips) has 0.88.
MAX_DISAGREEMENT = 0.75
#: The same for a layout that leaves rows out.
MAX_PART_DISAGREEMENT = 0.25
#: How much worse (disagreement) a layout may fit for each row that another leaves out, and how many
#: may be left out.
EXTRA_ROW = 0.15
MAX_EXTRA_ROWS = 3
#: How much better four leads a row must fit than one or two: the laws hold over half of the page
#: or over all of it there, and here over a quarter, where chance meets them sooner.
SHORT_LEADS = 0.1
#: Disagreement below which a layout of all rows is certain, and what is then told of the rows
#: turned upside down (the median of real pages; the least is 0.18).
CERTAIN = 0.1
UPSIDE_DOWN = 1.0
#: A rhythm strip moves at least this share of what the leads usually do, ...
IDLE = 0.1
#: ... and so does a row of leads side by side this share; a printed line moves less.
STILL = 0.03
#: A rhythm strip has ink in at least this share of the columns that leads usually have it in.
BROKEN = 0.75
#: Columns of a row that are compared, about.
COLUMNS = 300
#: Steepest slant of rows' beginnings that is looked for (px/px), and the steps that it is told in.
MAX_SLANT = 0.12
SLANT_STEP = 0.0025
#: Share of a column of leads left out at either end, where a label or a line may stand.
MARGIN = 0.03


class Arrangement(Record):
    """What stands where in a layout.

    Attributes
    ----------
    leads : tuple of tuple of str
        Names of the leads, row by row, from left to right; each row lasts 10 s.
    rhythm_rows : int
        Rows of rhythm strip below them.
    """

    leads: tuple[tuple[str, ...], ...]
    rhythm_rows: int = 0

    @property
    def rows(self) -> int:
        """Number of rows of trace on the page."""
        return len(self.leads) + self.rhythm_rows

    @property
    def columns(self) -> int:
        """Number of leads side by side."""
        return len(self.leads[0])


ARRANGEMENTS = {
    "3x4": Arrangement(_THREE_BY_FOUR),
    "3x4+1": Arrangement(_THREE_BY_FOUR, 1),
    "3x4+3": Arrangement(_THREE_BY_FOUR, 3),
    "6x2": Arrangement(_SIX_BY_TWO),
    "6x2+1": Arrangement(_SIX_BY_TWO, 1),
    "12x1": Arrangement(_TWELVE),
}
"""The layouts that show twelve leads."""

#: Sums of leads that are zero at any time: Einthoven's law and Goldberger's leads.
_LAWS = (
    (("II", 1.0), ("I", -1.0), ("III", -1.0)),
    (("aVR", 1.0), ("aVL", 1.0), ("aVF", 1.0)),
    (("aVR", 1.0), ("I", 0.5), ("II", 0.5)),
)


class Choice(Record):
    """The layout of some rows of trace.

    Attributes
    ----------
    layout : str
        One of `LAYOUTS`; ``"unknown"`` where no layout fits the traces.
    first : int
        Which of the rows is the layout's first; rows above it and below its last are no traces.
    fit : float
        Disagreement of the layout (the best one's where it is unknown); NaN if not measurable.
    upside_down : float
        The least disagreement of the same rows read upside down; `UPSIDE_DOWN` where the layout is
        certain without.
    nearest : str
        Where the layout is unknown, the one that `first` and `fit` are of; empty where there is
        none.
    """

    layout: str
    first: int
    fit: float
    upside_down: float
    nearest: str = ""


def choose_layout(rows: NDArray[np.float64]) -> Choice:
    """Choose the layout of some rows of trace.

    Rows at the top and the bottom may be something else (the sheet's edge, a line of print): a
    layout of fewer rows is taken where it fits better by more than `EXTRA_ROW` a row left out.

    Parameters
    ----------
    rows : ndarray of float64, shape (rows, n)
        Height of the trace of each row (any unit, up positive) from where the traces begin to
        where they end; NaN where there is none.

    Returns
    -------
    Choice
    """
    count = len(rows)
    rows = rows[:, :: max(1, rows.shape[1] // COLUMNS)]
    if count == 1:
        return Choice("single", 0, float("nan"), float("nan"))
    motion = _Motion(rows)
    whole = [
        name
        for name, arrangement in ARRANGEMENTS.items()
        if arrangement.rows == count and _has_beats(motion, 0, arrangement)
    ]
    known = _Disagreements(rows)
    fits = {name: known.of(0, ARRANGEMENTS[name]) for name in whole}
    # Where several fit, the laws hold over more of the page in the one of longer leads.
    certain = [name for name in whole if fits[name] < CERTAIN]
    if certain:
        best = min(certain, key=lambda name: ARRANGEMENTS[name].columns)
        return Choice(best, 0, fits[best], UPSIDE_DOWN)
    upright = _fits(known, motion)
    upside_down_rows = -rows[::-1, ::-1]
    turned = _fits(_Disagreements(upside_down_rows), _Motion(upside_down_rows))
    upside_down = min((fit for _, _, fit in turned), default=float("nan"))
    if not upright:
        name = whole[0] if len(whole) == 1 else "unknown"
        return Choice(name, 0, float("nan"), upside_down)
    name, first, fit = min(upright, key=lambda item: _doubt(item[0], item[2], count))
    limit = MAX_DISAGREEMENT if ARRANGEMENTS[name].rows == count else MAX_PART_DISAGREEMENT
    if fit > limit or (fit > MAX_PART_DISAGREEMENT and upside_down < fit):
        return Choice("unknown", first, fit, upside_down, nearest=name)
    return Choice(name, first, fit, upside_down)


def _doubt(name: str, fit: float, rows: int) -> float:
    """Return a layout's disagreement, raised for rows that it leaves out and for short leads."""
    arrangement = ARRANGEMENTS[name]
    short = SHORT_LEADS if arrangement.columns > 2 else 0.0
    return fit + EXTRA_ROW * (rows - arrangement.rows) + short


def _fits(known: _Disagreements, motion: _Motion) -> list[tuple[str, int, float]]:
    """Return name, first row and disagreement of every layout that the rows may hold."""
    found = []
    for name, arrangement in ARRANGEMENTS.items():
        spare = len(known.rows) - arrangement.rows
        if 0 <= spare <= MAX_EXTRA_ROWS:
            for first in range(spare + 1):
                fit = known.of(first, arrangement)
                if math.isfinite(fit) and _has_beats(motion, first, arrangement):
                    found.append((name, first, fit))
    return found


class _Disagreements:
    """How far rows of trace break the leads' laws, measured once for layouts of the same leads.

    Parameters
    ----------
    rows : ndarray of float64, shape (rows, n)
        As for :func:`choose_layout`.
    """

    def __init__(self, rows: NDArray[np.float64]) -> None:
        self.rows = rows
        self._known: dict[tuple[int, tuple[tuple[str, ...], ...]], float] = {}

    def of(self, first: int, arrangement: Arrangement) -> float:
        """Return the disagreement of a layout that begins at row `first`, as `disagreement`."""
        key = first, arrangement.leads
        if key not in self._known:
            part = self.rows[first : first + arrangement.rows]
            self._known[key] = disagreement(part, arrangement)
        return self._known[key]


class _Motion:
    """How far rows of trace move and how long they go on, measured once each.

    Parameters
    ----------
    rows : ndarray of float64, shape (rows, n)
        As for :func:`choose_layout`.
    """

    def __init__(self, rows: NDArray[np.float64]) -> None:
        self._rows = rows
        self._known: dict[int, tuple[float, float]] = {}

    def of(self, row: int) -> tuple[float, float]:
        """Return how far a row moves (any unit) and in how many columns it is known."""
        if row not in self._known:
            heights = self._rows[row]
            heights = heights[np.isfinite(heights)]
            self._known[row] = _spread(heights) if heights.size else 0.0, float(heights.size)
        return self._known[row]


def _has_beats(motion: _Motion, first: int, arrangement: Arrangement) -> bool:
    """Tell whether a layout's rows, from row `first` on, move and its rhythm strips go on as leads.

    A frame or a sheet's edge does not move, and a line of print has gaps.
    """
    leads = len(arrangement.leads)
    judged = 0 if arrangement.columns == 4 else leads  # a single lead may be flat, not four
    if judged == arrangement.rows and arrangement.columns == 1:
        return True
    rows = [motion.of(row) for row in range(first, first + arrangement.rows)]
    spreads, lengths = zip(*rows, strict=True)
    usual = median(np.array(spreads[:leads]))
    if min(spreads[judged:], default=np.inf) < IDLE * usual or min(spreads) < STILL * usual:
        return False
    shortest = min(lengths[leads:], default=np.inf)
    return shortest >= BROKEN * median(np.array(lengths[:leads]))


def _spread(heights: NDArray[np.float64]) -> float:
    """Return how far a row moves, its slope left out: from the 2 % to the 98 % quantile."""
    third = -(-heights.size // 3)
    rise = median(heights[-third:]) - median(heights[:third])
    slope = np.arange(heights.size) * (1.5 * rise / max(heights.size - 1, 1))
    slope[-1] = 1.5 * rise
    level = heights - slope
    low, high = quantiles(level, 0.02, 0.98)
    return high - low


def disagreement(rows: NDArray[np.float64], arrangement: Arrangement) -> float:
    """Measure how far leads that were recorded together break Einthoven's and Goldberger's laws.

    Parameters
    ----------
    rows : ndarray of float64, shape (rows, n)
        As for :func:`choose_layout`.
    arrangement : Arrangement

    Returns
    -------
    float
        Energy of II - I - III, aVR + aVL + aVF and aVR + (I + II)/2 over the energy of their terms,
        averaged; 0 for a perfect fit, about 1 for unrelated traces. NaN where too little is known.
    """
    width = rows.shape[1] / arrangement.columns
    margin = MARGIN * width
    values = []
    for column, rows_of_law, factors in _laws_of(arrangement):
        first, last = round(column * width + margin), round((column + 1) * width - margin)
        terms = factors * rows[rows_of_law, first:last]
        known = np.isfinite(terms).all(axis=0)
        count = np.count_nonzero(known)
        if count < 0.4 * terms.shape[1] or count < 8:
            continue
        terms = terms[:, known]
        terms = terms - medians(terms)
        energy = float(np.square(terms).sum())
        if energy > 0:
            values.append(float(np.square(terms.sum(axis=0)).sum()) / energy)
    return float(np.add.reduce(values)) / len(values) if values else float("nan")


def fits_better(fit: float, than: float) -> bool:
    """Tell whether a disagreement is less than another; any is that was measured than NaN."""
    return fit < than or (math.isnan(than) and not math.isnan(fit))


def slant_of(
    rows: NDArray[np.float64], levels: NDArray[np.float64], arrangement: Arrangement
) -> tuple[float, float]:
    """Find how far rows of leads that were recorded together are displaced along each other.

    The rows of a page that is turned, or seen in perspective, begin along a slanted line. Where
    neither grid nor frame shows it, the laws do: they hold for leads of the same moment only.

    Parameters
    ----------
    rows : ndarray of float64, shape (rows, n)
        As for :func:`choose_layout`, of this arrangement.
    levels : ndarray of float64, shape (rows,)
        Height of each row in the picture, px down.
    arrangement : Arrangement

    Returns
    -------
    slant : float
        Px to the right, for each px further down, by which rows must be moved.
    fit : float
        The disagreement that is then left.
    """
    rows, levels = rows[: len(arrangement.leads)], levels[: len(arrangement.leads)]
    below = levels - levels.mean()
    sampled = np.arange(0, rows.shape[1], max(1, rows.shape[1] // COLUMNS))

    def fit_at(slant: float) -> float:
        places = sampled - np.rint(slant * below).astype(int)[:, None]
        inside = (places >= 0) & (places < rows.shape[1])
        moved = np.take_along_axis(rows, np.where(inside, places, 0), axis=1)
        return disagreement(np.where(inside, moved, np.nan), arrangement)

    most = round(MAX_SLANT / SLANT_STEP)
    fits = {step: fit_at(step * SLANT_STEP) for step in range(-most, most + 1, 2)}
    known = {step: fit for step, fit in fits.items() if math.isfinite(fit)}
    if not known:
        return 0.0, math.nan
    best = min(known, key=lambda step: known[step])
    known |= {step: fit_at(step * SLANT_STEP) for step in (best - 1, best + 1)}
    best = min(known, key=lambda step: known[step])
    return best * SLANT_STEP, known[best]


@lru_cache
def _laws_of(arrangement: Arrangement) -> list[tuple[int, list[int], NDArray[np.float32]]]:
    """Return the laws whose leads stand in one column: that column, their rows and factors."""
    places = {
        name: (row, column)
        for row, names in enumerate(arrangement.leads)
        for column, name in enumerate(names)
    }
    found = []
    for law in _LAWS:
        columns = {places[name][1] for name, _ in law}
        if len(columns) == 1:
            rows = [places[name][0] for name, _ in law]
            factors = np.array([[factor] for _, factor in law], dtype=np.float32)
            found.append((columns.pop(), rows, factors))
    return found
