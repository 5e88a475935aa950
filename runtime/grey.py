"""Turns a decoded Pillow image of any mode into a reduced grey or RGB one, band by band.

Working in bands keeps the extra memory small beside the decoded picture itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from runtime.errors import PageError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["orient", "reduce_image", "upright_size"]

#: Pixels of one band: 4 million take 16 MB as RGBA.
BAND_PIXELS = 4_000_000

#: EXIF orientation (tag 0x0112, CIPA DC-008 section 4.6.5) -> the turn that makes it upright.
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def orient(image: Image.Image, orientation: int) -> Image.Image:
    """Turn an image upright as its EXIF orientation (1 to 8) says."""
    turn = _TURNS.get(orientation)
    return image if turn is None else image.transpose(turn)


def upright_size(size: tuple[int, int], orientation: int) -> tuple[int, int]:
    """Return width and height of a picture of `size` once it is upright."""
    return (size[1], size[0]) if orientation >= 5 else size


def reduce_image(image: Image.Image, factor: int, mode: str) -> Image.Image:
    """Convert an image to a mode and average each square of `factor` x `factor` pixels.

    Transparent parts count as white paper.

    Parameters
    ----------
    image : PIL.Image.Image
        Any mode; left unchanged.
    factor : int
        A power of two; 1 leaves the size as it is.
    mode : str
        ``"L"`` or ``"RGB"``.

    Returns
    -------
    PIL.Image.Image
        Of that mode, ``ceil(width / factor)`` x ``ceil(height / factor)`` pixels.

    Raises
    ------
    PageError
        If the image has a mode that has no grey form.
    """
    if image.mode == mode and "transparency" not in image.info:
        return image.reduce(factor) if factor > 1 else image
    convert = _converter(image, mode)
    width, height = image.size
    reduced = Image.new(mode, (-(-width // factor), -(-height // factor)))
    rows = max(1, BAND_PIXELS // (width * factor)) * factor
    for top in range(0, height, rows):
        band = convert(image.crop((0, top, width, min(height, top + rows))))
        reduced.paste(band.reduce(factor) if factor > 1 else band, (0, top // factor))
    return reduced


def _converter(image: Image.Image, mode: str) -> Callable[[Image.Image], Image.Image]:
    """Choose how a band of this image becomes `mode`."""
    if image.mode in ("I", "F") or image.mode.startswith("I;"):
        low, high = _tone_range(image)
        return lambda band: _tones_to_bytes(band, low, high).convert(mode)
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        return lambda band: _on_white(band, mode)
    if image.mode in ("CMYK", "YCbCr", "HSV", "RGBX"):  # Pillow has no direct way to grey
        return lambda band: band.convert("RGB").convert(mode)
    if image.mode in ("1", "L", "P", "RGB"):
        return lambda band: band.convert(mode)
    raise PageError(f"pictures of the colour mode {image.mode} cannot be read", "save it as PNG")


def _on_white(band: Image.Image, mode: str) -> Image.Image:
    solid = band.convert("RGBA")
    white = Image.new(mode, band.size, "white")
    white.paste(solid.convert("RGB").convert(mode), mask=solid.getchannel("A"))
    return white


def _tone_range(image: Image.Image) -> tuple[float, float]:
    """Return the values that mean black and white in a picture of more than 8 bits.

    Whole numbers are taken by the bit depth in use (8, 10, 12, 14, 16: medical scanners store 12
    bits in 16), floating point by its own range.
    """
    tones = np.asarray(image)
    if image.mode == "F":
        finite = tones[np.isfinite(tones)]
        return (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
    largest = float(tones.max(initial=0))
    white = next((2**bits - 1 for bits in (8, 10, 12, 14, 16) if largest < 2**bits), largest)
    return 0.0, float(white)


def _tones_to_bytes(band: Image.Image, low: float, high: float) -> Image.Image:
    tones = np.nan_to_num(np.asarray(band, np.float32), posinf=high, neginf=low)
    span = max(high - low, 1e-12)
    return Image.fromarray(np.clip((tones - low) * (255 / span), 0, 255).round().astype(np.uint8))
