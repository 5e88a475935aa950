"""Pictures from the radiology and ultrasound of our own making, and Shepp and Logan's phantom."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["SCANS"]


def _grain(image: Image.Image, rng: np.random.Generator, sigma: float) -> Image.Image:
    tones = np.asarray(image, np.float32)
    values = tones + rng.normal(0, sigma, tones.shape)
    return Image.fromarray(np.clip(values, 0, 255).astype(np.uint8))


def chest(rng: np.random.Generator) -> Image.Image:
    """A chest X-ray: dark lungs, bright spine, heart and ribs, blurred."""
    side = int(rng.integers(700, 1800))
    image = Image.new("L", (side, round(side * rng.uniform(0.8, 1.2))), int(rng.integers(90, 150)))
    width, height = image.size
    pen = ImageDraw.Draw(image)
    for centre in (0.3, 0.7):
        pen.ellipse(
            (width * (centre - 0.17), height * 0.15, width * (centre + 0.17), height * 0.85),
            fill=40,
        )
    for rib in range(9):
        y = height * (0.12 + 0.08 * rib)
        for centre in (0.3, 0.7):
            box = (width * (centre - 0.2), y, width * (centre + 0.2), y + height * 0.16)
            pen.arc(box, 190, 350, fill=int(rng.integers(70, 120)), width=max(2, width // 70))
    pen.rectangle((width * 0.47, 0, width * 0.53, height), fill=190)
    pen.ellipse((width * 0.42, height * 0.45, width * 0.68, height * 0.8), fill=170)
    blurred = image.filter(ImageFilter.GaussianBlur(width / rng.uniform(60, 200)))
    return _grain(blurred, rng, rng.uniform(2, 8))


def inverted_chest(rng: np.random.Generator) -> Image.Image:
    """The same with bones dark, as some viewers show it."""
    return chest(rng).point(lambda tone: 255 - tone)


def head_slice(rng: np.random.Generator) -> Image.Image:
    """Shepp and Logan's head phantom (1974), as scikit-image carries it, turned and windowed."""
    from skimage.data import shepp_logan_phantom

    tones = np.clip(shepp_logan_phantom() * rng.uniform(1.0, 3.0), 0, 1)
    image = Image.fromarray((tones * 255).astype(np.uint8)).rotate(float(rng.uniform(0, 360)))
    return _grain(image.resize((1000, 1000), Image.Resampling.BICUBIC), rng, rng.uniform(0, 12))


def sinogram(rng: np.random.Generator) -> Image.Image:
    """Projections of the phantom: bands of curves across the picture."""
    from skimage.data import shepp_logan_phantom
    from skimage.transform import radon, resize

    small = resize(shepp_logan_phantom(), (160, 160))
    lines = radon(small, np.linspace(0, float(rng.uniform(90, 360)), 200), circle=True)
    tones = lines / lines.max() * 255
    if rng.random() < 0.5:
        tones = 255 - tones
    return Image.fromarray(tones.astype(np.uint8)).resize((1200, 900), Image.Resampling.BICUBIC)


def ultrasound(rng: np.random.Generator) -> Image.Image:
    """A sector of speckle on black."""
    height, width = 900, 1200
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    radius, angle = np.hypot(x - width / 2, y), np.arctan2(x - width / 2, y + 1)
    inside = (np.abs(angle) < rng.uniform(0.5, 0.8)) & (radius < height * 0.95) & (radius > 60)
    speckle = rng.rayleigh(40, (height, width)) * (1.2 - radius / height)
    hollow = np.hypot(x - width * rng.uniform(0.4, 0.6), y - height * 0.5) < rng.uniform(80, 200)
    tones = np.where(inside, np.where(hollow, speckle * 0.2, speckle), 0)
    return Image.fromarray(np.clip(tones, 0, 255).astype(np.uint8))


SCANS: Final[dict[str, Callable[[np.random.Generator], Image.Image]]] = {
    "chest": chest,
    "inverted-chest": inverted_chest,
    "head-slice": head_slice,
    "sinogram": sinogram,
    "ultrasound": ultrasound,
}
