"""Where each lead stands on the sheet, and which seconds of it are shown, layout by layout."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

__all__ = ["LAYOUTS", "SHOWN_SECONDS", "Cell", "cells_of"]

SHOWN_SECONDS: Final = 10.0
"""Seconds across the full width of a page at 25 mm/s; a page at 50 mm/s shows half as much."""

_CABINET: Final = (("I", "aVR", "V1", "V4"), ("II", "aVL", "V2", "V5"), ("III", "aVF", "V3", "V6"))
_COLUMNS: Final = (
    ("I", "V1"), ("II", "V2"), ("III", "V3"), ("aVR", "V4"), ("aVL", "V5"), ("aVF", "V6"),
)  # fmt: skip
_LIST: Final = (
    ("I",), ("II",), ("III",), ("aVR",), ("aVL",), ("aVF",),
    ("V1",), ("V2",), ("V3",), ("V4",), ("V5",), ("V6",),
)  # fmt: skip

_ROWS: Final[dict[str, tuple[tuple[tuple[str, ...], ...], tuple[str, ...]]]] = {
    "3x4": (_CABINET, ()),
    "3x4+1": (_CABINET, ("II",)),
    "3x4+3": (_CABINET, ("V1", "II", "V5")),
    "6x2": (_COLUMNS, ()),
    "6x2+1": (_COLUMNS, ("II",)),
    "12x1": (_LIST, ()),
    "single": ((), ("II",)),
}

LAYOUTS: Final = tuple(_ROWS)
"""Layouts that can be drawn; ``single`` is one rhythm strip and not a 12-lead page."""


@dataclass(frozen=True)
class Cell:
    """One lead's place and time on a page.

    Parameters
    ----------
    lead : str
        Lead name.
    row, column : int
        Place, counted from the top left.
    start_s, seconds : float
        Part of the recording that is shown, s.
    offset_s : float
        Where it starts from the left end of the row's trace, s of paper.
    rhythm : bool
        True for a rhythm strip.
    """

    lead: str
    row: int
    column: int
    start_s: float
    seconds: float
    offset_s: float
    rhythm: bool


def cells_of(layout: str, speed_mm_s: float = 25.0) -> tuple[Cell, ...]:
    """List the cells of a layout, as carts print them: columns show consecutive stretches of time.

    Parameters
    ----------
    layout : str
        One of ``LAYOUTS``.
    speed_mm_s : float
        Paper speed; the width of the sheet is the same, so 50 mm/s shows half the time.

    Returns
    -------
    tuple of Cell
        Row by row; rhythm strips last.
    """
    if layout not in _ROWS:
        raise ValueError(f"unknown layout {layout!r}; one of {', '.join(LAYOUTS)}")
    rows, rhythm = _ROWS[layout]
    total = SHOWN_SECONDS * 25.0 / speed_mm_s
    cells = []
    for r, row in enumerate(rows):
        part = total / len(row)
        cells += [Cell(lead, r, c, c * part, part, c * part, False) for c, lead in enumerate(row)]
    first = len(rows)
    cells += [Cell(lead, first + r, 0, 0.0, total, 0.0, True) for r, lead in enumerate(rhythm)]
    return tuple(cells)
