"""Photographs and figures that scikit-image, scikit-learn and matplotlib carry, in five forms."""

from __future__ import annotations

import importlib.util
from functools import cache
from pathlib import Path
from typing import Final

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

__all__ = ["photograph_names", "photograph_variant"]

#: Package -> folder of its pictures.
_FOLDERS: Final = {
    "skimage": "data",
    "sklearn": "datasets/images",
    "matplotlib": "mpl-data/sample_data",
}
_ENDINGS: Final = (".jpg", ".png", ".tif", ".gif")


@cache
def _files() -> dict[str, Path]:
    found = {}
    for package, folder in _FOLDERS.items():
        spec = importlib.util.find_spec(package)
        if spec is None or spec.origin is None:
            continue
        for path in sorted((Path(spec.origin).parent / folder).iterdir()):
            if path.suffix.lower() in _ENDINGS and _is_readable(path):
                found[f"{package}-{path.stem}"] = path
    return found


def _is_readable(path: Path) -> bool:
    try:
        with Image.open(path):
            return True
    except UnidentifiedImageError:  # scikit-image carries TIFFs of a kind that Pillow cannot read
        return False


def photograph_names() -> list[str]:
    """Return the names of the pictures that this installation carries, sorted."""
    return sorted(_files())


def photograph_variant(name: str, number: int, rng: np.random.Generator) -> Image.Image:
    """Return one form of a photograph.

    Parameters
    ----------
    name : str
        One of :func:`photograph_names`.
    number : int
        0 as it is, 1 enlarged to the size of a page, 2 an enlarged part, 3 in black and white as a
        fax, 4 printed on a white page.
    rng : numpy.random.Generator
        Chooses the part.
    """
    with Image.open(_files()[name]) as file:
        image = file.convert("RGB")
    if number == 0:
        return image
    if number == 2:
        image = image.crop(_part(image.size, rng))
    page = ImageOps.contain(image, (1600, 1200), Image.Resampling.BICUBIC)
    if number == 3:
        return page.convert("L").point(lambda tone: 255 if tone > 128 else 0)
    if number == 4:
        sheet = Image.new("RGB", (2000, 1500), "white")
        sheet.paste(page.resize((page.width * 3 // 4, page.height * 3 // 4)), (300, 250))
        return sheet
    return page


def _part(size: tuple[int, int], rng: np.random.Generator) -> tuple[int, int, int, int]:
    width, height = (max(1, round(side * rng.uniform(0.3, 0.6))) for side in size)
    left = int(rng.integers(0, size[0] - width + 1))
    top = int(rng.integers(0, size[1] - height + 1))
    return left, top, left + width, top + height
