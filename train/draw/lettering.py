"""Text on a page: fonts, invented patients, and the headers and footers of the carts."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import numpy as np
from PIL import ImageFont

from runtime.errors import MissingExtraError
from train.draw.style import PageStyle

__all__ = ["INTERPRETATIONS", "Rule", "Words", "font_of", "footer_of", "header_of"]

_FONT_FILES: Final = {
    "serif": "STIXGeneral.ttf",
    "sans": "DejaVuSans.ttf",
    "mono": "DejaVuSansMono.ttf",
}
"""Fonts that matplotlib carries: a page is the same on every machine. ``stick`` is Pillow's own."""

_SURNAMES: Final = (
    "Example",
    "Muster",
    "Sample",
    "Specimen",
    "Placeholder",
    "Doe",
    "Modell",
    "Test",
)
_NAMES: Final = ("Ada", "Jon", "Mia", "Omar", "Lin", "Ravi", "Eva", "Noor", "Kim", "Sam")
_WARDS: Final = ("Ward 3", "ICU", "Emergency", "Cardiology", "Room 12", "Outpatients")
"""Invented on purpose: no page of ours may carry a real person's name."""

INTERPRETATIONS: Final[dict[str, tuple[str, ...]]] = {
    "normal": ("Sinus rhythm", "Normal ECG"),
    "abnormal_heartbeat": (
        "Atrial fibrillation",
        "Ventricular premature complexes",
        "Abnormal ECG",
    ),
    "history_of_mi": ("Sinus rhythm", "Inferior infarct, age undetermined", "Abnormal ECG"),
    "myocardial_infarction": ("ACUTE MI", "ST elevation, consider anterior injury", "Abnormal ECG"),
    "covid19": ("Sinus tachycardia", "Nonspecific T wave abnormality", "Borderline ECG"),
}
"""What a cart's program may print. It must never reach the model (data/README.md, traps)."""


@dataclass(frozen=True)
class Words:
    """A line of text at a place on the sheet: x, y and size (height of the letters' box) in mm."""

    x: float
    y: float
    size: float
    text: str
    anchor: str = "la"


@dataclass(frozen=True)
class Rule:
    """A horizontal rule: from x0 to x1 at y, thickness in mm."""

    x0: float
    x1: float
    y: float
    thickness: float


@lru_cache(maxsize=256)
def font_of(family: str, size_px: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Load a font once.

    Parameters
    ----------
    family : str
        ``serif``, ``sans``, ``mono`` or ``stick``.
    size_px : int
        Size in px.

    Raises
    ------
    MissingExtraError
        Where matplotlib, whose fonts are used, is not installed.
    """
    if family == "stick":
        return ImageFont.load_default(size_px)
    spec = find_spec("matplotlib")  # found, not imported: importing it takes half a second
    if spec is None or spec.origin is None:
        raise MissingExtraError("train", "lettering on drawn pages")
    folder = Path(spec.origin).parent / "mpl-data" / "fonts" / "ttf"
    return ImageFont.truetype(str(folder / _FONT_FILES[family]), size_px)


def header_of(
    style: PageStyle, rng: np.random.Generator, interpretation: str | None, rate_bpm: int
) -> tuple[list[Words | Rule], float]:
    """Write the header of a page.

    Parameters
    ----------
    style : PageStyle
        Its ``header`` says which form.
    rng : numpy Generator
        Draws the invented patient.
    interpretation : str or None
        Class whose printed interpretation stands on the page; None prints none.
    rate_bpm : int
        Heart rate to print.

    Returns
    -------
    items : list of Words or Rule
    shift : float
        How far down the panel's top moves to make room, mm.
    """
    if style.header == "none":
        return [], 0.0
    findings = INTERPRETATIONS[interpretation] if interpretation is not None else ()
    name = f"{rng.choice(_SURNAMES)}, {rng.choice(_NAMES)}"
    number = int(rng.integers(1000, 180000))
    age, sex = int(rng.integers(19, 92)), str(rng.choice(["Male", "Female"]))
    measures = _measurements(rate_bpm, rng)
    if style.header == "report":
        return _report_header(style, findings, measures, number, age, sex)
    left, right = style.panel[0], style.panel[2]
    if style.header == "line":
        text = f"{name}   {number}   {age} y   {sex}   HR {rate_bpm}/min   {_date(rng)}"
        more = "   ".join(findings)
        items: list[Words | Rule] = [Words(left + 2, 6.0, 3.6, text)]
        if more:
            items.append(Words(left + 2, 11.5, 3.6, more))
        return items, 0.0
    if style.header == "form":
        items = [Words(left, 5.0, 4.2, "Resting ECG"), Rule(left, right, 11.0, 0.3)]
        for i, line in enumerate(
            (f"Name  {name}", f"ID    {number}", f"Born  {2020 - age}  {sex}")
        ):
            items.append(Words(left, 13.0 + 5.2 * i, 3.3, line))
        for i, (key, value) in enumerate(measures[:4]):
            items.append(Words(left + 95.0, 13.0 + 5.2 * i, 3.3, f"{key:<8}{value}"))
        for i, line in enumerate(findings[:4]):
            items.append(Words(left + 175.0, 13.0 + 5.2 * i, 3.3, line))
        items.append(Rule(left, right, 36.0, 0.3))
        return items, 0.0
    items = [Words(left, 5.0, 4.0, name), Words(left + 62.0, 5.0, 4.0, f"ID {number}")]
    items.append(Words(right, 5.0, 3.6, _date(rng), "ra"))
    items.append(Words(left, 10.5, 3.3, f"{age} years  {sex}  {rng.choice(_WARDS)}"))
    for i, (key, value) in enumerate(measures[:5]):
        items.append(Words(left, 16.0 + 4.3 * i, 3.1, key))
        items.append(Words(left + 28.0, 16.0 + 4.3 * i, 3.1, value))
    for i, line in enumerate(findings):
        items.append(Words(left + 95.0, 14.0 + 5.4 * i, 3.8, line))
    items.append(Words(right, 32.0, 3.1, "Unconfirmed", "ra"))
    return items, 0.0


def footer_of(style: PageStyle, rng: np.random.Generator, rate_bpm: int) -> list[Words | Rule]:
    """Write the footer of a page; ``style.footer`` says which form."""
    left, right, bottom = style.panel[0], style.panel[2], style.panel[3]
    y = min(bottom + 1.6, style.sheet[1] - 5.0)
    speed, gain = f"{style.speed_mm_s:g} mm/s", f"{style.gain_mm_mv:g} mm/mV"
    if style.footer == "cart":
        settings = f"{speed.replace(' ', '')}  {gain.replace(' ', '')}"
        text = f"0.67~25Hz  AC50  {settings}  HR {rate_bpm}  XC-1 V1.0"
        return [Words(left, y, 2.9, text), Words(right - 4.0, y, 2.9, _date(rng), "ra")]
    if style.footer == "settings":
        return [
            Words(left, y, 3.0, f"{speed}   {gain}   0.05-150 Hz   50 Hz"),
            Words(right, y, 3.0, "CAL", "ra"),
        ]
    if style.footer == "page":
        return [Words((left + right) / 2, y, 3.0, f"{speed}  {gain}  F50  page 1/1", "ma")]
    return []


def _date(rng: np.random.Generator) -> str:
    day, month, year = (
        int(rng.integers(1, 29)),
        int(rng.integers(1, 13)),
        int(rng.integers(2015, 2026)),
    )
    hour, minute = int(rng.integers(0, 24)), int(rng.integers(0, 60))
    return f"{year}-{month:02d}-{day:02d}  {hour:02d}:{minute:02d}"


def _measurements(rate_bpm: int, rng: np.random.Generator) -> list[tuple[str, str]]:
    qt = int(390 - 0.9 * (rate_bpm - 60) + rng.integers(-15, 16))
    axes = [int(rng.integers(low, high)) for low, high in ((20, 70), (-20, 80), (10, 70))]
    return [
        ("HR", f"{rate_bpm} bpm"),
        ("PR", f"{int(rng.integers(130, 200))} ms"),
        ("QRS", f"{int(rng.integers(78, 112))} ms"),
        ("QT/QTc", f"{qt}/{qt + int(rng.integers(5, 50))} ms"),
        ("P/QRS/T", "/".join(str(axis) for axis in axes)),
        ("RV5/SV1", f"{rng.uniform(0.6, 2):.3f}/{rng.uniform(0.4, 1.5):.3f} mV"),
    ]  # fmt: skip


def _report_header(
    style: PageStyle,
    findings: tuple[str, ...],
    measures: list[tuple[str, str]],
    number: int,
    age: int,
    sex: str,
) -> tuple[list[Words | Rule], float]:
    left, middle = style.panel[0], style.sheet[0] / 2
    shift = 14.5 if findings else 0.0
    items: list[Words | Rule] = [
        Words(middle, 2.6, 5.8, "ECG REPORT", "ma"),
        Words(
            left,
            8.6,
            3.7,
            f"ID : {number}      {age}Years    {sex}        cm      kg      /   mmHg",
        ),
        Words(left + 140.0, 8.6, 3.7, "Room No.:        Department:"),
        Words(left, 12.9, 3.7, "Exam.Room:       Medication:"),
        Rule(left, style.panel[2] - 2.5, 17.4, 0.6),
        Rule(left, style.panel[2] - 2.5, 18.3, 0.6),
    ]
    if findings:
        items.append(Words(left + 57.0, 18.7, 3.7, "Diagnosis Information:"))
        items += [Words(left + 60.0, 23.0 + 4.3 * i, 3.7, f) for i, f in enumerate(findings)]
        for i, (key, value) in enumerate(measures):
            items.append(Words(left, 18.7 + 4.3 * i, 3.7, key))
            items.append(Words(left + 23.0, 18.7 + 4.3 * i, 3.7, f": {value}"))
    else:
        items.append(Words(left, 18.7, 3.7, "Diagnosis Information:"))
    for i, line in enumerate(("Technician :", "Ref-Phys. :", "Report Confirmed by:")):
        items.append(Words(left + 189.0, 22.9 + shift * 0.85 + 4.2 * i, 3.7, line))
    return items, shift
