"""Names the arrangements of leads on a page and which lead stands where in each."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["ARRANGEMENTS", "LAYOUTS", "Arrangement", "layout_of_rows"]

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


@dataclass(frozen=True)
class Arrangement:
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


def layout_of_rows(rows: int) -> str:
    """Return the layout that a number of rows of trace suggests.

    Parameters
    ----------
    rows : int

    Returns
    -------
    str
        One of `LAYOUTS`.
    """
    return {1: "single", 3: "3x4", 4: "3x4+1", 6: "6x2", 7: "6x2+1", 12: "12x1"}.get(
        rows, "unknown"
    )
