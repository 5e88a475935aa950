"""Reads the rows, the scale, the layout and the leads of an upright picture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from runtime.area import Area, panel_area
from runtime.grid import grid_scale
from runtime.ink import ink_mask, runs_of
from runtime.layout import ARRANGEMENTS, choose_layout
from runtime.rows import find_rows
from runtime.trace import LeadTrace, follow_rows, lead_of_row, separator_columns

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from runtime.ink import Runs
    from runtime.rows import Rows

__all__ = ["Reading", "read_upright"]

#: Paper speed (mm/s) and gain (mm/mV) of a standard recording (IEC 60601-2-25).
PAPER_SPEED = 25.0
GAIN = 10.0
#: Seconds that a row of leads spans on a standard page.
ROW_SECONDS = 10.0
#: Usual width of a page (mm) that shows 10 s at 25 mm/s; a first guess of the scale.
PAGE_MM = 290.0
#: Disagreement with Einthoven's law up to which a first reading is taken without a second look.
CONVINCING_FIT = 0.25
#: Slope of the baselines (px/px) up to which a picture counts as level: 0.2 degrees.
LEVEL_SLOPE = 0.0035
#: Numbers of columns of leads that a page may have.
COLUMNS = (2, 4)


@dataclass(frozen=True)
class Reading:
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
    """

    rows: Rows
    layout: str
    fit: float
    upside_down: float
    px_per_mm: float
    scale_source: str
    area: Area
    leads: tuple[LeadTrace, ...]

    @property
    def slope(self) -> float:
        """Usual slope of the rows' baselines, px/px; 0 where the picture is upright."""
        left, right = int(self.rows.left), max(int(self.rows.right), int(self.rows.left) + 3)
        third = (right - left) // 3
        first = np.median(self.rows.baselines[:, left : left + third], axis=1)
        last = np.median(self.rows.baselines[:, right - third : right], axis=1)
        return float(np.median(last - first)) / (right - left - third)

    @property
    def convincing(self) -> bool:
        """Whether twelve leads were read, level and the right way up, that fit one another."""
        known = self.layout in ARRANGEMENTS and self.fit <= CONVINCING_FIT
        return known and self.fit < self.upside_down and abs(self.slope) < LEVEL_SLOPE


def read_upright(darkness: NDArray[np.uint8]) -> Reading | None:
    """Read an upright picture.

    Parameters
    ----------
    darkness : ndarray of uint8, shape (h, w)
        As from :func:`runtime.ink.darkness_of`.

    Returns
    -------
    Reading or None
        None where there is no row of trace.
    """
    mask = ink_mask(darkness)
    runs = runs_of(mask)
    rows = find_rows(runs, darkness.shape[1] / PAGE_MM)
    if rows is None:
        return None
    levels = rows.levels
    assumed = (rows.right - rows.left) / (ROW_SECONDS * PAPER_SPEED)
    inside = np.s_[int(levels[0]) : int(levels[-1]) + 1, int(rows.left) : int(rows.right)]
    measured = grid_scale(np.where(mask[inside], 0, darkness[inside]), assumed)
    across, down = (assumed, assumed) if measured is None else measured
    px_per_mm = float(np.sqrt(across * down))
    borders, lines = _borders(runs, rows, across)
    traces = follow_rows(runs.where(~np.isin(runs.x, lines)), rows.baselines, px_per_mm)
    heights = -(traces.top + traces.bottom)[:, int(rows.left) : int(rows.right)] / 2
    choice = choose_layout(heights)
    leads: list[LeadTrace] = []
    if choice.layout in ARRANGEMENTS:
        arrangement = ARRANGEMENTS[choice.layout]
        rows = rows.part(choice.first, arrangement.rows)
        traces = traces.part(choice.first, arrangement.rows)
        columns = arrangement.columns
        edges = borders.get(columns) or list(np.linspace(rows.left, rows.right, columns + 1))
        for row, names in enumerate(arrangement.leads):
            leads += [
                lead_of_row(
                    traces,
                    row,
                    (edges[column], edges[column + 1]),
                    name=name,
                    px_per_mv=down * GAIN,
                    start_s=column * ROW_SECONDS / columns,
                    seconds=(edges[column + 1] - edges[column]) / (across * PAPER_SPEED),
                )
                for column, name in enumerate(names)
            ]
    area = panel_area(darkness, mask, runs, rows, traces, px_per_mm, measured is not None)
    source = "assumed" if measured is None else "grid"
    return Reading(
        rows,
        choice.layout,
        choice.fit,
        choice.upside_down,
        px_per_mm,
        source,
        area,
        tuple(leads),
    )


def _borders(runs: Runs, rows: Rows, mm: float) -> tuple[dict[int, list[float]], NDArray[np.int64]]:
    """Find the printed lines between columns of leads.

    Returns
    -------
    borders : dict
        For each number of columns whose lines were all found: the borders, first and last
        included, px.
    lines : ndarray of int64
        Picture columns that the lines cover.
    """
    count = len(rows.levels)
    found: dict[int, list[float]] = {}
    covered = [np.empty(0, dtype=np.int64)]
    if count < 3:
        return found, covered[0]
    crossed = rows.baselines[: 3 if count < 6 else 6]
    for columns in COLUMNS:
        step = (rows.right - rows.left) / columns
        places = []
        for k in range(1, columns):
            line = separator_columns(runs, crossed, rows.left + k * step, 3.0 * mm)
            if line.size and line[-1] - line[0] < mm:
                covered.append(np.arange(line[0] - 1, line[-1] + 2))
                places.append(float(line.mean()) + 0.5)
        if len(places) == columns - 1:
            left, right = rows.left, rows.right
            if columns > 2:
                pitch = (places[-1] - places[0]) / (columns - 2)
                left, right = places[0] - pitch, min(places[-1] + pitch, rows.right)
            found[columns] = [left, *places, right]
    return found, np.unique(np.concatenate(covered))
