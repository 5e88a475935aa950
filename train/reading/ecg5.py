"""The real pages of ecg5, with what is known of their header and footer."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from runtime.errors import NoInputError

__all__ = ["Ecg5Page", "read_ecg5"]

_SHEET: Final = 1572.0
"""Height of a report page at full size, px; the bands below were read off full-size pages."""

_HEADER_END: Final = 278.0
_HEADER_END_WITH_TABLE: Final = 386.0
_FOOTER_START: Final = 1527.0
"""Last row of the header's text ("Report Confirmed by:"), the same on pages with measurements, and
first row of the footer's, px of ``_SHEET``."""


@dataclass(frozen=True)
class Ecg5Page:
    """One page of the data set.

    Parameters
    ----------
    path : Path
        The file.
    name : str
        Its path in the manifest.
    label, layout : str
        Class; layout as the manifest writes it.
    printed : bool
        Whether the cart printed measurements and a diagnosis.
    """

    path: Path
    name: str
    label: str
    layout: str
    printed: bool

    @property
    def report(self) -> bool:
        """True for the carts that print a header and a footer."""
        return not self.layout.startswith("type")

    def bands(self, height: int) -> tuple[int, int]:
        """Last row of the header and first row of the footer, px; the whole page where none is."""
        if not self.report:
            return 0, height
        end = _HEADER_END_WITH_TABLE if self.printed else _HEADER_END
        return round(end / _SHEET * height), round(_FOOTER_START / _SHEET * height)


def read_ecg5(folder: Path) -> list[Ecg5Page]:
    """List the pages of ``manifest.csv``.

    Raises
    ------
    NoInputError
        Where the folder has no manifest.
    """
    manifest = folder / "manifest.csv"
    if not manifest.is_file():
        raise NoInputError(f"{manifest} is missing", "name the folder of ecg5 with --data")
    with manifest.open(newline="", encoding="utf-8") as text:
        return [
            Ecg5Page(
                folder / row["path"],
                row["path"],
                row["class"],
                row["layout"],
                row["printed_interpretation"] == "1",
            )
            for row in csv.DictReader(text)
        ]
