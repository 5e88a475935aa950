"""ECG pages that nobody can read: too small, too blurred, too pale, or with the panel cut off."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
from PIL import Image, ImageFilter

from train.draw.paper import draw_paper
from train.draw.style import STYLES
from train.draw.truth import Truth
from train.negatives.strips import random_recording

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["RUINED"]


def _page(
    rng: np.random.Generator, unlike: tuple[str, ...] = ("single",)
) -> tuple[Image.Image, Truth]:
    style = STYLES[str(rng.choice(sorted(STYLES)))]
    layout = str(rng.choice([name for name in style.layouts if name not in unlike]))
    seed = int(rng.integers(0, 2**31))
    return draw_paper(random_recording(rng), style, layout=layout, seed=seed)


def thumbnail(rng: np.random.Generator) -> Image.Image:
    """A preview of 120 to 260 px: less than 1 px/mm."""
    page, _ = _page(rng)
    page.thumbnail((int(rng.integers(120, 261)),) * 2)
    return page


def enlarged_thumbnail(rng: np.random.Generator) -> Image.Image:
    """A preview blown up again."""
    small = thumbnail(rng)
    return small.resize((small.width * 6, small.height * 6), Image.Resampling.BICUBIC)


def blurred(rng: np.random.Generator) -> Image.Image:
    """Out of focus by 2.5 to 5 mm: the QRS complexes are gone."""
    page, truth = _page(rng)
    px_per_mm = STYLES[truth.style].px_per_mm
    return page.filter(ImageFilter.GaussianBlur(px_per_mm * float(rng.uniform(2.5, 5))))


def bleached(rng: np.random.Generator) -> Image.Image:
    """Thermal paper after years in the light."""
    page, _ = _page(rng)
    keep = float(rng.uniform(0.02, 0.08))
    return Image.fromarray((255 - (255 - np.asarray(page, np.float32)) * keep).astype(np.uint8))


def _cut(rng: np.random.Generator, sides: tuple[float, float, float, float]) -> Image.Image:
    """Cut the page so that these shares of the panel are lost: left, top, right, bottom."""
    # 3x4+3 still shows all twelve leads without its lower half, 12x1 without its left or right.
    spared = "3x4+3" if sides[3] else "12x1" if sides[0] or sides[2] else "single"
    page, truth = _page(rng, ("single", spared))
    (x0, y0), (x1, y1) = truth.panel[0], truth.panel[2]
    left, top, right, bottom = sides
    return page.crop(
        (
            round(float(x0 + left * (x1 - x0))) if left else 0,
            round(float(y0 + top * (y1 - y0))) if top else 0,
            round(float(x1 - right * (x1 - x0))) if right else page.width,
            round(float(y1 - bottom * (y1 - y0))) if bottom else page.height,
        )
    )


def left_half_missing(rng: np.random.Generator) -> Image.Image:
    """The left 40 to 60 % of the panel lies outside the picture."""
    return _cut(rng, (float(rng.uniform(0.4, 0.6)), 0, 0, 0))


def right_half_missing(rng: np.random.Generator) -> Image.Image:
    """The right 40 to 60 % of the panel lies outside the picture."""
    return _cut(rng, (0, 0, float(rng.uniform(0.4, 0.6)), 0))


def top_half_missing(rng: np.random.Generator) -> Image.Image:
    """The upper 45 to 60 % of the panel lies outside the picture."""
    return _cut(rng, (0, float(rng.uniform(0.45, 0.6)), 0, 0))


def bottom_half_missing(rng: np.random.Generator) -> Image.Image:
    """The lower 45 to 60 % of the panel lies outside the picture."""
    return _cut(rng, (0, 0, 0, float(rng.uniform(0.45, 0.6))))


RUINED: Final[dict[str, Callable[[np.random.Generator], Image.Image]]] = {
    "thumbnail": thumbnail,
    "enlarged-thumbnail": enlarged_thumbnail,
    "blurred": blurred,
    "bleached": bleached,
    "left-half-missing": left_half_missing,
    "right-half-missing": right_half_missing,
    "top-half-missing": top_half_missing,
    "bottom-half-missing": bottom_half_missing,
}
