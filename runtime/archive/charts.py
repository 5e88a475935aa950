"""Draws the report's bar and line charts with Pillow; the device has no plotting library."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Final

from PIL import Image, ImageDraw, ImageFont

__all__ = ["bar_chart", "line_chart", "png_bytes", "round_top", "stacked"]

_WIDTH: Final = 1000
_LEFT, _RIGHT, _TOP, _BOTTOM = 260, 90, 54, 46
_BAR: Final = 26
_PLOT_HEIGHT: Final = 220
_INK: Final = "#1d2733"
_FAINT: Final = "#d5dbe1"
_COLOURS: Final = ("#1f6f8b", "#c8553d", "#588157", "#7a5c99", "#b8860b")
"""Dark enough to read on white in print and told apart by people who see no red or green."""


def bar_chart(title: str, bars: Sequence[tuple[str, float, str]]) -> Image.Image:
    """Draw horizontal bars.

    Parameters
    ----------
    title : str
        Above the chart.
    bars : sequence of (name, value, text)
        Top to bottom; the text stands at the bar's end.
    """
    image, draw = _canvas(title, _TOP + _BAR * max(len(bars), 1) + 14)
    longest = max((value for _, value, _ in bars), default=0) or 1
    for i, (name, value, text) in enumerate(bars):
        top = _TOP + i * _BAR
        length = round((_WIDTH - _LEFT - _RIGHT) * value / longest)
        middle = top + _BAR / 2 - 2
        draw.text((_LEFT - 10, middle), _short(name), _INK, _font(14), anchor="rm")
        draw.rectangle((_LEFT, top + 2, _LEFT + max(length, 1), top + _BAR - 6), _COLOURS[0])
        draw.text((_LEFT + length + 6, middle), text, _INK, _font(14), anchor="lm")
    return image


def line_chart(
    title: str,
    names: Sequence[str],
    series: Mapping[str, Sequence[float | None]],
    limits: tuple[float, float],
    unit: str = "",
) -> Image.Image:
    """Draw lines over periods; a gap stands where a value is None.

    Parameters
    ----------
    title : str
        Above the chart.
    names : sequence of str
        The periods, left to right.
    series : mapping of str to sequence of float or None
        Name of the line -> its values, one a period.
    limits : (float, float)
        Ends of the vertical axis.
    unit : str
        Behind the figures of the axis.
    """
    image, draw = _canvas(title, _TOP + _PLOT_HEIGHT + _BOTTOM)
    left, right, bottom = 80, _WIDTH - 40, _TOP + _PLOT_HEIGHT
    low, high = limits
    for k in range(5):
        y = bottom - _PLOT_HEIGHT * k / 4
        draw.line((left, y, right, y), _FAINT)
        figure = f"{low + (high - low) * k / 4:.3g}{unit}"
        draw.text((left - 8, y), figure, _INK, _font(13), anchor="rm")
    across = [left + (right - left) * (i + 0.5) / max(len(names), 1) for i in range(len(names))]
    every = max(1, -(-len(names) // 8))
    for x, name in list(zip(across, names, strict=True))[::every]:
        draw.text((x, bottom + 8), name, _INK, _font(12), anchor="ma")
    key: float = right
    for (name, values), colour in zip(series.items(), _COLOURS, strict=False):
        dots = [
            None if v is None else (x, bottom - _PLOT_HEIGHT * _inside(v, low, high))
            for x, v in zip(across, values, strict=True)
        ]
        _line(draw, dots, colour)
        draw.text((key, 34), name, colour, _font(14), anchor="rm")
        key -= draw.textlength(name, _font(14)) + 24
    return image


def _line(
    draw: ImageDraw.ImageDraw, dots: Sequence[tuple[float, float] | None], colour: str
) -> None:
    for a, b in pairwise(dots):
        if a is not None and b is not None:
            draw.line((*a, *b), colour, 2)
    for dot in dots:
        if dot is not None:
            x, y = dot
            draw.ellipse((x - 3, y - 3, x + 3, y + 3), colour)


def stacked(charts: Sequence[Image.Image]) -> Image.Image:
    """Return the charts one below the other."""
    whole = Image.new("RGB", (_WIDTH, sum(chart.height for chart in charts)), "white")
    top = 0
    for chart in charts:
        whole.paste(chart, (0, top))
        top += chart.height
    return whole


def round_top(value: float) -> float:
    """Return a round upper end for an axis: 1, 2, 4 or 8 times a power of ten; at least 1."""
    top = 1.0
    while True:
        for step in (1, 2, 4, 8):
            if value <= top * step:
                return top * step
        top *= 10


def png_bytes(image: Image.Image) -> bytes:
    """Return the picture as PNG."""
    sink = io.BytesIO()
    image.quantize(64).save(sink, "PNG", optimize=True)
    return sink.getvalue()


def _canvas(title: str, height: int) -> tuple[Image.Image, ImageDraw.ImageDraw]:
    image = Image.new("RGB", (_WIDTH, height), "white")
    draw = ImageDraw.Draw(image)
    draw.text((20, 12), title, _INK, _font(18))
    return image, draw


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


def _short(name: str) -> str:
    return name if len(name) <= 34 else f"{name[:33]}…"


def _inside(value: float, low: float, high: float) -> float:
    return min(1.0, max(0.0, (value - low) / ((high - low) or 1.0)))
