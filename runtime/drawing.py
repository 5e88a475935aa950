"""Draws the leads of a recording that came as numbers to a clean ECG page."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw, ImageFont

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

__all__ = ["draw_leads"]

#: Resolution of the drawing, px/mm; the page then has 1,375 x 850 px.
PX_PER_MM = 5
#: Paper speed (mm/s) and gain (mm/mV) of the drawing: the usual ones of a 12-lead ECG (AHA/ACC/HRS
#: 2007, part I).
MM_PER_SECOND = 25
MM_PER_MILLIVOLT = 10
#: Seconds of a lead in one of the four columns, and of the rhythm strip below.
COLUMN_SECONDS = 2.5
STRIP_SECONDS = 10.0
ROWS = (("I", "aVR", "V1", "V4"), ("II", "aVL", "V2", "V5"), ("III", "aVF", "V3", "V6"))
RHYTHM_LEAD = "II"
#: Geometry, mm: margins around the panel, height of a row, width of the calibration pulse's place.
MARGIN = 10
ROW_HEIGHT = 37.5
PULSE_PLACE = 5
_PAPER, _FINE, _COARSE, _INK = 255, 232, 200, 0


def draw_leads(
    leads: Mapping[str, NDArray[np.float32]], sampling_hz: float
) -> tuple[Image.Image, float]:
    """Draw 12 leads as three rows of four and a rhythm strip of lead II, with grid and pulse.

    Parameters
    ----------
    leads : mapping of str to ndarray of float32, shape (samples,)
        Millivolts; all 12 leads, equally long. What a recording lacks at its end stays blank.
    sampling_hz : float
        Samples a second.

    Returns
    -------
    image : PIL.Image.Image
        Mode ``"L"``.
    px_per_mm : float
        Its resolution.
    """
    width = 2 * MARGIN + PULSE_PLACE + STRIP_SECONDS * MM_PER_SECOND
    height = 2 * MARGIN + 4 * ROW_HEIGHT
    image = Image.new("L", (round(width * PX_PER_MM), round(height * PX_PER_MM)), _PAPER)
    pen = ImageDraw.Draw(image)
    _draw_grid(pen, image.size)
    for row, names in enumerate(ROWS):
        _draw_pulse(pen, row)
        for column, name in enumerate(names):
            start = column * COLUMN_SECONDS
            _draw_lead(pen, name, leads[name], sampling_hz, row, start, COLUMN_SECONDS)
    _draw_pulse(pen, 3)
    _draw_lead(pen, RHYTHM_LEAD, leads[RHYTHM_LEAD], sampling_hz, 3, 0.0, STRIP_SECONDS)
    return image, float(PX_PER_MM)


def _draw_grid(pen: ImageDraw.ImageDraw, size: tuple[int, int]) -> None:
    width, height = size
    for step, tone in ((1, _FINE), (5, _COARSE)):
        for x in range(0, width, step * PX_PER_MM):
            pen.line((x, 0, x, height), fill=tone)
        for y in range(0, height, step * PX_PER_MM):
            pen.line((0, y, width, y), fill=tone)


def _baseline(row: int) -> float:
    return (MARGIN + (row + 0.5) * ROW_HEIGHT) * PX_PER_MM


def _draw_pulse(pen: ImageDraw.ImageDraw, row: int) -> None:
    """Draw the calibration pulse of 1 mV."""
    left, foot = MARGIN * PX_PER_MM, _baseline(row)
    top, step = foot - MM_PER_MILLIVOLT * PX_PER_MM, PX_PER_MM
    points = [
        (left, foot),
        (left + step, foot),
        (left + step, top),
        (left + 4 * step, top),
        (left + 4 * step, foot),
        (left + 5 * step, foot),
    ]
    pen.line(points, fill=_INK, width=2)


def _draw_lead(
    pen: ImageDraw.ImageDraw,
    name: str,
    millivolts: NDArray[np.float32],
    sampling_hz: float,
    row: int,
    start: float,
    seconds: float,
) -> None:
    first, last = round(start * sampling_hz), round((start + seconds) * sampling_hz)
    part = millivolts[first:last]
    left = (MARGIN + PULSE_PLACE + start * MM_PER_SECOND) * PX_PER_MM
    base = _baseline(row)
    pen.text((left + 8, base - 80), name, fill=_INK, font=ImageFont.load_default())
    if len(part) < 2:
        return
    x = left + np.arange(len(part)) / sampling_hz * MM_PER_SECOND * PX_PER_MM
    centred = part - np.median(part)
    limit = 3 * ROW_HEIGHT / MM_PER_MILLIVOLT  # beyond the page in any case; keeps numbers small
    y = base - np.clip(centred, -limit, limit) * MM_PER_MILLIVOLT * PX_PER_MM
    pen.line(list(zip(x.tolist(), y.tolist(), strict=True)), fill=_INK, width=2, joint="curve")
