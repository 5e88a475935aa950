"""Rhythm strips: real-looking ECGs, but of one lead only."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
from PIL import Image, ImageDraw

from train.draw.paper import draw_paper
from train.draw.recording import Recording
from train.draw.style import STYLES
from train.draw.synthesis import heart_of_class, synthesise
from train.negatives.papers import sheet

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["STRIPS", "random_recording"]

_LABELS: Final = ("normal", "abnormal_heartbeat", "history_of_mi", "myocardial_infarction")


def random_recording(rng: np.random.Generator) -> Recording:
    """Return 10 s of a synthetic heart."""
    seed = int(rng.integers(0, 2**31))
    return synthesise(heart_of_class(str(rng.choice(_LABELS)), seed), seed)


def single_page(rng: np.random.Generator) -> Image.Image:
    """A cart's page that holds one lead."""
    names = [name for name, style in STYLES.items() if "single" in style.layouts]
    style = STYLES[str(rng.choice(names))]
    seed = int(rng.integers(0, 2**31))
    page, _ = draw_paper(random_recording(rng), style, layout="single", seed=seed)
    return page


def _strip(rng: np.random.Generator, height: int, px_per_mm: float) -> Image.Image:
    seconds = float(rng.uniform(4, 10))
    width = round(seconds * 25 * px_per_mm)
    image = Image.new("RGB", (width, height), (255, 250, 248))
    pen = ImageDraw.Draw(image)
    for index, x in enumerate(np.arange(0, max(width, height), px_per_mm)):
        colour = (240, 170, 165) if index % 5 == 0 else (252, 222, 220)
        pen.line((x, 0, x, height), fill=colour)
        pen.line((0, x, width, x), fill=colour)
    lead = random_recording(rng).values[int(rng.integers(0, 12))]
    part = lead[: round(seconds * 500)]
    y = height / 2 - (part - np.median(part)) * 10 * px_per_mm
    x = np.arange(part.size) / 500 * 25 * px_per_mm
    pen.line(list(zip(x.tolist(), y.tolist(), strict=True)), fill=(15, 15, 20), width=3)
    return image


def monitor_strip(rng: np.random.Generator) -> Image.Image:
    """A strip torn from a monitor, cut close."""
    scale = float(rng.uniform(4, 9))
    return _strip(rng, round(scale * rng.uniform(35, 60)), scale)


def strip_on_sheet(rng: np.random.Generator) -> Image.Image:
    """A strip glued to a sheet."""
    page = sheet(rng, upright=False)
    strip = _strip(rng, round(page.width / 297 * 45), page.width / 297)
    page.paste(strip, (page.width // 20, round(page.height * rng.uniform(0.1, 0.6))))
    return page


def two_channels(rng: np.random.Generator) -> Image.Image:
    """Two strips one above the other, as a monitor prints them."""
    scale = float(rng.uniform(4, 7))
    upper, lower = (_strip(rng, round(scale * 40), scale) for _ in range(2))
    page = Image.new("RGB", (max(upper.width, lower.width), upper.height + lower.height), "white")
    page.paste(upper, (0, 0))
    page.paste(lower, (0, upper.height))
    return page


STRIPS: Final[dict[str, Callable[[np.random.Generator], Image.Image]]] = {
    "single-page": single_page,
    "monitor-strip": monitor_strip,
    "strip-on-sheet": strip_on_sheet,
    "two-channels": two_channels,
}
