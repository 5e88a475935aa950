"""Finds the ECG panel on a page: where it lies, how it is turned, its scale, layout and leads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from runtime.grid import grid_scale
from runtime.ink import darkness_of, ink_threshold, runs_of
from runtime.layout import ARRANGEMENTS, LAYOUTS, layout_of_rows
from runtime.rows import Rows, find_rows
from runtime.trace import LeadTrace, follow_rows, lead_of_row, separator_columns

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from runtime.ink import Runs
    from runtime.layout import Arrangement
    from runtime.page import Page

__all__ = ["LAYOUTS", "LeadTrace", "Panel", "find_panel"]

#: Paper speed (mm/s) and gain (mm/mV) of a standard recording (IEC 60601-2-25).
PAPER_SPEED = 25.0
GAIN = 10.0
#: Usual width of a page (mm) that shows 10 s at 25 mm/s; a first guess of the scale.
PAGE_MM = 290.0
#: Seconds that a row of leads spans on a standard page.
ROW_SECONDS = 10.0


@dataclass(frozen=True)
class Panel:
    """The ECG panel of a page.

    Attributes
    ----------
    quad : ndarray of float32, shape (4, 2)
        Corners in ORIGINAL page px: top left, top right, bottom right, bottom left of the upright
        panel.
    rotation : int
        0, 90, 180 or 270: degrees by which the page is turned clockwise.
    skew_deg : float
        Remaining turn, degrees.
    layout : str
        One of `LAYOUTS`.
    px_per_mm : float or None
        Original px per mm of paper.
    scale_source : str
        ``"grid"``, ``"pulse"`` or ``"assumed"`` (10 s across).
    leads : tuple of LeadTrace
        The leads that were read; empty where the layout is unknown.
    reasons : tuple of str
        What could not be told, in plain words.
    """

    quad: NDArray[np.float32]
    rotation: int
    skew_deg: float
    layout: str
    px_per_mm: float | None
    scale_source: str
    leads: tuple[LeadTrace, ...]
    reasons: tuple[str, ...]


def find_panel(page: Page) -> Panel:
    """Find the panel of a page and read its leads.

    Parameters
    ----------
    page : Page

    Returns
    -------
    Panel
        Always; where nothing is found, with layout ``"unknown"``, no leads and the reason.
    """
    darkness = darkness_of(page.grey)
    mask = darkness >= ink_threshold(darkness)
    runs = runs_of(mask)
    height, width = page.grey.shape
    mm = width / PAGE_MM
    rows = find_rows(runs, mm)
    if rows is None:
        whole = _rectangle(0, 0, width, height) / np.float32(page.scale)
        return Panel(whole, 0, 0.0, "unknown", None, "assumed", (), ("no ECG trace found",))
    count = len(rows.levels)
    layout = layout_of_rows(count)
    y = rows.levels
    assumed = (rows.right - rows.left) / (ROW_SECONDS * PAPER_SPEED)
    inside = np.s_[int(y[0]) : int(y[-1]) + 1, int(rows.left) : int(rows.right)]
    measured = grid_scale(np.where(mask[inside], 0, darkness[inside]), assumed)
    px_per_mm, source = (assumed, "assumed") if measured is None else (measured, "grid")
    spacing = float(np.median(np.diff(y))) if count > 1 else height / 4
    quad = _rectangle(rows.left, y[0] - spacing / 2, rows.right, y[-1] + spacing / 2)
    leads: list[LeadTrace] = []
    reasons = [] if layout in ARRANGEMENTS else ["layout not recognised"]
    if layout in ARRANGEMENTS:
        arrangement = ARRANGEMENTS[layout]
        borders, lines = _borders(runs, rows, arrangement, px_per_mm)
        kept = runs.where(~np.isin(runs.x, lines))
        traces = follow_rows(kept, rows.baselines, px_per_mm)
        for index, names in enumerate(arrangement.leads):
            for column, name in enumerate(names):
                x0, x1 = borders[column], borders[column + 1]
                box = _rectangle(x0, y[index] - spacing / 2, x1, y[index] + spacing / 2)
                leads.append(
                    lead_of_row(
                        traces,
                        index,
                        (x0, x1),
                        name=name,
                        box=box / np.float32(page.scale),
                        px_per_mv=px_per_mm * GAIN,
                        start_s=column * ROW_SECONDS / arrangement.columns,
                        seconds=(x1 - x0) / (px_per_mm * PAPER_SPEED),
                    )
                )
    return Panel(
        quad=quad / np.float32(page.scale),
        rotation=0,
        skew_deg=0.0,
        layout=layout,
        px_per_mm=px_per_mm / page.scale,
        scale_source=source,
        leads=tuple(leads),
        reasons=tuple(reasons),
    )


def _borders(
    runs: Runs, rows: Rows, arrangement: Arrangement, mm: float
) -> tuple[list[float], NDArray[np.int64]]:
    """Return the borders of the columns of leads, and the picture columns of the lines there."""
    step = (rows.right - rows.left) / arrangement.columns
    borders = [rows.left + k * step for k in range(arrangement.columns + 1)]
    lead_rows = rows.baselines[: len(arrangement.leads)]
    lines = [np.empty(0, dtype=np.int64)]
    for k in range(1, arrangement.columns):
        line = separator_columns(runs, lead_rows, borders[k], 2.5 * mm)
        if len(lead_rows) > 1 and line.size:
            borders[k] = float(line.mean()) + 0.5
            lines.append(np.arange(line[0] - 1, line[-1] + 2))
    return borders, np.concatenate(lines)


def _rectangle(left: float, top: float, right: float, bottom: float) -> NDArray[np.float32]:
    return np.array([[left, top], [right, top], [right, bottom], [left, bottom]], dtype=np.float32)
