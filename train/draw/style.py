"""Printer styles: sheet, paper, grid, pen, lettering, calibration pulse, header and footer."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final, Literal

import numpy as np

__all__ = ["STYLES", "PageStyle", "varied"]

Colour = tuple[int, int, int]
Rect = tuple[float, float, float, float]


@dataclass(frozen=True)
class PageStyle:
    """How one kind of cart prints. Lengths are mm on the ECG's own scale (25 mm = 1 s at 25 mm/s).

    Parameters
    ----------
    name : str
        Name in ``STYLES``.
    sheet : tuple of float
        Width and height of the sheet.
    panel : tuple of float
        Left, top, right, bottom of the area for the traces; the grid's own area where it has one.
    px_per_mm : float
        Resolution of the drawn page.
    layouts : tuple of str
        Layouts this cart prints; the first is its usual one.
    paper, pen : tuple of int
        RGB of the paper and of trace and text.
    grid : str
        ``none``, ``lines``, ``dots`` (dotted, as laser carts print), ``coarse`` (5 mm only).
    grid_fine, grid_bold : tuple of int
        RGB of the 1 mm and the 5 mm lines.
    whole_sheet_grid : bool
        Preprinted paper: the grid covers the sheet, and header and footer stand on it.
    frame : tuple of int or None
        RGB of a frame round the panel.
    line_mm : float
        Width of the trace.
    smooth : bool
        Antialiased trace; False gives the hard steps of an old bitmap.
    font : str
        ``serif``, ``sans``, ``mono`` or ``stick``.
    label_mm : float
        Height of the lead labels' letters; 0 prints none.
    label_rise_mm : float
        How far above the baseline a label stands.
    pulse : str
        Calibration pulse: ``left``, ``right`` or ``none``.
    pulse_mm : float
        Width of the pulse (5 mm is 0.2 s; small carts print less).
    separator : str
        Between columns: ``none``, ``tick`` (a short bar at each row), ``full`` (over all rows).
    spacing : str
        ``even`` rows, or ``fitted`` to what each row's traces need.
    header, footer : str
        ``none`` or the form of the text; see ``train.draw.lettering``.
    speed_mm_s, gain_mm_mv : float
        Paper speed and gain.
    """

    name: str
    sheet: tuple[float, float] = (297.0, 210.0)
    panel: Rect = (10.0, 40.0, 287.0, 198.0)
    px_per_mm: float = 6.0
    layouts: tuple[str, ...] = ("3x4+1", "3x4", "3x4+3", "6x2", "6x2+1", "12x1", "single")
    paper: Colour = (255, 255, 255)
    pen: Colour = (0, 0, 0)
    grid: Literal["none", "lines", "dots", "coarse"] = "lines"
    grid_fine: Colour = (250, 220, 220)
    grid_bold: Colour = (240, 170, 170)
    whole_sheet_grid: bool = False
    frame: Colour | None = None
    line_mm: float = 0.35
    smooth: bool = True
    font: Literal["serif", "sans", "mono", "stick"] = "sans"
    label_mm: float = 2.6
    label_rise_mm: float = 5.0
    pulse: Literal["left", "right", "none"] = "left"
    pulse_mm: float = 5.0
    separator: Literal["none", "tick", "full"] = "none"
    spacing: Literal["even", "fitted"] = "even"
    header: Literal["none", "report", "clinic", "line", "form"] = "none"
    footer: Literal["none", "cart", "settings", "page"] = "none"
    speed_mm_s: float = 25.0
    gain_mm_mv: float = 10.0


_REPORT: Final = PageStyle(
    name="report",
    sheet=(281.2, 199.7),
    panel=(8.7, 36.1, 276.4, 192.7),
    px_per_mm=7.87,
    grid="dots",
    grid_fine=(225, 205, 205),
    grid_bold=(222, 160, 160),
    frame=(245, 165, 172),
    smooth=False,
    line_mm=0.36,
    font="serif",
    label_mm=2.4,
    label_rise_mm=1.2,
    pulse_mm=2.1,
    separator="full",
    spacing="fitted",
    header="report",
    footer="cart",
)

_STRIP: Final = PageStyle(
    name="strip-wide",
    sheet=(279.0, 217.6),
    panel=(8.7, 46.9, 268.7, 203.0),
    px_per_mm=4.14,
    paper=(255, 255, 255),
    grid_fine=(247, 221, 223),
    grid_bold=(238, 186, 192),
    smooth=False,
    line_mm=0.26,
    label_mm=3.0,
    label_rise_mm=1.6,
    layouts=("3x4+1", "3x4", "6x2", "6x2+1", "12x1", "single"),
)

STYLES: Final[dict[str, PageStyle]] = {
    style.name: style
    for style in (
        # Look-alikes of the pages of ecg5, measured on ../shared/data/originals.
        _REPORT,
        replace(
            _REPORT, name="report-plain", grid="none", frame=None, spacing="even",
            layouts=("6x2+1", "6x2", "3x4+1", "3x4", "3x4+3", "12x1", "single"),
        ),
        _STRIP,
        replace(
            _STRIP, name="strip-tall", sheet=(342.4, 443.2), panel=(40.3, 42.2, 299.7, 197.3),
            px_per_mm=2.78, line_mm=0.35, label_mm=3.4, label_rise_mm=2.6,
            grid_fine=(250, 225, 226), grid_bold=(240, 196, 201),
        ),
        # Carts of our own invention, each after a habit that is common on the wards.
        PageStyle(
            name="boston", header="clinic", footer="settings", grid_fine=(253, 222, 214),
            grid_bold=(244, 170, 155), px_per_mm=6.3, line_mm=0.3, pulse="right", separator="tick",
        ),
        PageStyle(
            name="thermal", sheet=(290.0, 210.0), panel=(8.0, 34.0, 282.0, 200.0),
            whole_sheet_grid=True, paper=(255, 246, 240), grid_fine=(252, 214, 196),
            grid_bold=(243, 160, 128), pen=(25, 22, 30), font="stick", header="line",
            footer="settings", px_per_mm=6.0, line_mm=0.3, separator="tick",
        ),
        PageStyle(
            name="azure", header="form", footer="page", grid_fine=(214, 228, 246),
            grid_bold=(150, 184, 226), frame=(110, 150, 205), pen=(16, 18, 60), font="mono",
            px_per_mm=5.6, line_mm=0.28, layouts=("12x1", "6x2", "3x4+3", "3x4+1", "6x2+1", "3x4"),
        ),
        PageStyle(
            name="office", header="clinic", footer="cart", grid_fine=(226, 226, 226),
            grid_bold=(188, 188, 188), line_mm=0.5, px_per_mm=5.9, font="serif", label_rise_mm=6.0,
            layouts=("3x4+3", "3x4+1", "6x2", "12x1", "3x4", "6x2+1"), frame=(120, 120, 120),
        ),
        PageStyle(
            name="plain", grid="none", header="line", footer="none", line_mm=0.25, px_per_mm=5.0,
            pulse="right", panel=(12.0, 28.0, 285.0, 200.0), separator="none",
            layouts=("3x4+1", "6x2", "12x1", "3x4", "3x4+3", "6x2+1"),
        ),
        PageStyle(
            name="verde", paper=(250, 250, 240), grid_fine=(206, 232, 206),
            grid_bold=(140, 196, 146), header="line", footer="page", px_per_mm=6.6,
            line_mm=0.38,
            layouts=("6x2", "3x4+1", "12x1", "6x2+1", "3x4", "3x4+3"),
        ),
        PageStyle(
            name="coarse", grid="coarse", grid_bold=(232, 190, 150), paper=(255, 252, 246),
            header="form", footer="settings", pulse="none", px_per_mm=5.2, line_mm=0.34,
        ),
        PageStyle(
            name="swift", speed_mm_s=50.0, grid_fine=(252, 218, 206), grid_bold=(240, 158, 138),
            header="line", footer="settings", px_per_mm=5.5, line_mm=0.3,
            layouts=("6x2", "3x4", "12x1", "3x4+1"), whole_sheet_grid=True, font="stick",
            panel=(12.0, 26.0, 285.0, 202.0),
        ),
    )
}  # fmt: skip
"""Every style by name. The first four are look-alikes of ecg5's pages (data/README.md)."""


def varied(style: PageStyle, rng: np.random.Generator) -> PageStyle:
    """Draw another cart of the same kind: worn pen, other paper, paler or darker grid, other font.

    Parameters
    ----------
    style : PageStyle
        The kind; sheet, panel, scale and layouts stay.
    rng : numpy Generator
        Source of chance.

    Returns
    -------
    PageStyle
        Under the same name.
    """
    shade = rng.uniform(0.93, 1.0) * rng.uniform(0.985, 1.0, 3)
    paper = np.minimum(255, np.array(style.paper) * shade)
    fade = rng.uniform(-0.25, 0.45)
    fonts: tuple[Literal["serif", "sans", "mono", "stick"], ...] = (
        "serif",
        "sans",
        "mono",
        "stick",
    )
    separators: tuple[Literal["none", "tick", "full"], ...] = ("none", "tick", "full")
    other = rng.random() < 0.3
    return replace(
        style,
        paper=_colour(paper),
        grid_fine=_colour(paper + (1 - fade) * (np.array(style.grid_fine) - style.paper)),
        grid_bold=_colour(paper + (1 - fade) * (np.array(style.grid_bold) - style.paper)),
        line_mm=style.line_mm * float(rng.uniform(0.8, 1.3)),
        font=fonts[int(rng.integers(4))] if other else style.font,
        separator=separators[int(rng.integers(3))] if other else style.separator,
        label_mm=style.label_mm * float(rng.uniform(0.85, 1.2)),
        label_rise_mm=style.label_rise_mm * float(rng.uniform(0.8, 1.3)),
    )


def _colour(values: np.ndarray) -> Colour:
    red, green, blue = (int(v) for v in np.clip(np.rint(values), 0, 255))
    return red, green, blue
