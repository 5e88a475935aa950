"""What befalls a page on its way into a computer: scan, fax, phone photo; the truth goes along."""

from __future__ import annotations

import io
from dataclasses import asdict, dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageChops, ImageDraw, ImageEnhance, ImageFilter

from train.draw.style import PageStyle
from train.draw.truth import Truth, map_points

__all__ = ["CAPTURES", "Fax", "Photo", "Scan", "capture_page", "random_capture"]

CAPTURES: Final = ("clean", "scan", "fax", "photo")
"""Ways a page can come in; ``clean`` is the cart's own file."""

_MIN_PX_PER_MM: Final = 3.2
"""A capture never shrinks a page below this: 80 dpi, the least at which 1 mm can be seen."""

_MAX_PX_PER_MM: Final = 7.9
"""Nor enlarges it beyond this: 200 dpi, the usual setting of an office scanner."""


@dataclass(frozen=True)
class Scan:
    """A flatbed or sheet-feed scan.

    Parameters
    ----------
    turn : int
        Degrees clockwise the sheet lay turned: 0, 90, 180, 270.
    skew_deg : float
        Slant beside it, clockwise positive.
    scale : float
        Scanner px per px of the clean page.
    blur_px, noise : float
        Blur radius in px; standard deviation of the noise in grey levels of 255.
    contrast, brightness : float
        Factors; 1 leaves the page.
    lid : int
        Grey level seen beside the sheet.
    grey : bool
        Scanned in grey.
    jpeg_quality : int
        Quality it was stored at.
    """

    turn: int
    skew_deg: float
    scale: float
    blur_px: float
    noise: float
    contrast: float
    brightness: float
    lid: int
    grey: bool
    jpeg_quality: int
    kind: Literal["scan"] = "scan"


@dataclass(frozen=True)
class Fax:
    """A fax: one bit a pixel.

    Parameters
    ----------
    turn, skew_deg, scale
        As of a scan.
    threshold : int
        Grey level below which it is black.
    dither : bool
        Floyd-Steinberg dithering instead of the threshold.
    specks : float
        Share of pixels flipped by the line.
    """

    turn: int
    skew_deg: float
    scale: float
    threshold: int
    dither: bool
    specks: float
    kind: Literal["fax"] = "fax"


@dataclass(frozen=True)
class Photo:
    """A phone photo of the sheet on a desk.

    Parameters
    ----------
    turn, skew_deg
        As of a scan.
    tilt_deg, pan_deg : float
        Angles of the camera off the sheet's normal, up-down and left-right.
    distance : float
        Camera distance in diagonals of the sheet: nearer is stronger perspective.
    longest_px : int
        Longest side of the photo.
    fill : float
        Share of the photo's sides that the sheet takes up.
    desk : tuple of int
        RGB of the desk.
    shade : float
        Brightness inside the shadow (1 = no shadow).
    shade_angle_deg, shade_offset : float
        Direction of the shadow's edge and its place across the photo (0 to 1).
    fall_off : float
        Loss of light from one side to the other.
    tint : tuple of float
        Colour of the light, factors of red, green and blue.
    folds : tuple of float
        Folds across the sheet: positive = place of an upright one as a share of the width,
        negative = of a level one as a share of the height.
    blur_px, noise : float
        As of a scan.
    jpeg_quality : int
        Quality it was stored at.
    """

    turn: int
    skew_deg: float
    tilt_deg: float
    pan_deg: float
    distance: float
    longest_px: int
    fill: float
    desk: tuple[int, int, int]
    shade: float
    shade_angle_deg: float
    shade_offset: float
    fall_off: float
    tint: tuple[float, float, float]
    folds: tuple[float, ...]
    blur_px: float
    noise: float
    jpeg_quality: int
    kind: Literal["photo"] = "photo"


def random_capture(
    kind: str, rng: np.random.Generator, style: PageStyle
) -> Scan | Fax | Photo | None:
    """Draw the settings of a capture.

    Parameters
    ----------
    kind : str
        One of ``CAPTURES``.
    rng : numpy Generator
        Source of chance.
    style : PageStyle
        Its resolution bounds the scale.

    Returns
    -------
    Scan, Fax, Photo or None
        None for ``clean``.
    """
    if kind == "clean":
        return None
    turn = int(rng.choice([0, 90, 180, 270], p=[0.7, 0.1, 0.1, 0.1]))
    least = min(1.0, _MIN_PX_PER_MM / style.px_per_mm)
    most = min(1.1, _MAX_PX_PER_MM / style.px_per_mm)
    steep = rng.random() < 0.15  # most sheets lie nearly straight; some do not
    skew = float(rng.uniform(3, 9) * rng.choice([-1, 1]) if steep else rng.uniform(-3, 3))
    if kind == "scan":
        return Scan(
            turn=turn, skew_deg=skew, scale=float(max(least, rng.uniform(0.65, most))),
            blur_px=float(rng.uniform(0.0, 0.7)), noise=float(rng.uniform(0, 5)),
            contrast=float(rng.uniform(0.75, 1.25)), brightness=float(rng.uniform(0.92, 1.06)),
            lid=int(rng.choice([255, 250, 235, 60, 0], p=[0.4, 0.25, 0.15, 0.1, 0.1])),
            grey=bool(rng.random() < 0.35), jpeg_quality=int(rng.integers(45, 96)),
        )  # fmt: skip
    if kind == "fax":
        return Fax(
            turn=turn, skew_deg=skew / 2, scale=float(max(least, rng.uniform(0.7, 1.1))),
            threshold=int(rng.integers(100, 160)), dither=bool(rng.random() < 0.25),
            specks=float(rng.uniform(0, 0.0015)),
        )  # fmt: skip
    if kind != "photo":
        raise ValueError(f"unknown capture {kind!r}; one of {', '.join(CAPTURES)}")
    grey = float(rng.uniform(18, 110) if rng.random() < 0.88 else rng.uniform(140, 190))
    desk = tuple(int(np.clip(grey * f, 0, 255)) for f in rng.uniform(0.75, 1.2, 3))
    folds = tuple(
        float(rng.uniform(0.3, 0.7) * rng.choice([-1, 1])) for _ in range(rng.integers(3))
    )
    return Photo(
        turn=turn, skew_deg=float(rng.uniform(-8, 8)), tilt_deg=float(rng.uniform(-15, 15)),
        pan_deg=float(rng.uniform(-15, 15)), distance=float(rng.uniform(1.6, 3.0)),
        longest_px=int(rng.integers(1400, 1901)), fill=float(rng.uniform(0.84, 0.97)),
        desk=(desk[0], desk[1], desk[2]), shade=float(rng.uniform(0.5, 1.0)),
        shade_angle_deg=float(rng.uniform(0, 360)), shade_offset=float(rng.uniform(0.2, 0.8)),
        fall_off=float(rng.uniform(0, 0.35)),
        tint=(float(rng.uniform(0.92, 1)), float(rng.uniform(0.92, 1)), float(rng.uniform(0.8, 1))),
        folds=folds, blur_px=float(rng.uniform(0.0, 0.9)), noise=float(rng.uniform(1, 7)),
        jpeg_quality=int(rng.integers(55, 96)),
    )  # fmt: skip


def capture_page(
    page: Image.Image, truth: Truth, style: PageStyle, how: Scan | Fax | Photo, seed: int
) -> tuple[Image.Image, Truth]:
    """Scan, fax or photograph a page.

    Parameters
    ----------
    page : PIL image, mode RGB
        The clean page.
    truth : Truth
        Its truth.
    style : PageStyle
        Its style: whether the grid outlives a fax.
    how : Scan, Fax or Photo
        Settings.
    seed : int
        Draws the noise.

    Returns
    -------
    page : PIL image
        RGB, L or 1.
    truth : Truth
        Every box where it has come to lie.
    """
    rng = np.random.default_rng([seed, 4])
    if isinstance(how, Photo):
        image, matrix = _photograph(page, how, rng)
    else:
        image, matrix = _lay_on_glass(page, how)
        image = _scan(image, how, rng) if isinstance(how, Scan) else _fax(image, how, rng)
    moved = truth.mapped(matrix, image.size, asdict(how))
    if isinstance(how, Fax) and not how.dither and not _outlives(style, how.threshold):
        moved = moved.without_grid()
    return image, moved


# --- geometry -------------------------------------------------------------------------------------


def _warp(
    image: Image.Image,
    matrix: NDArray[np.float64],
    size: tuple[int, int],
    fill: tuple[int, ...] | int,
) -> Image.Image:
    back = np.linalg.inv(matrix)
    back = back / back[2, 2]
    return image.transform(
        size, Image.Transform.PERSPECTIVE, tuple(back.ravel()[:8]), Image.Resampling.BILINEAR,
        fillcolor=fill,
    )  # fmt: skip


def _rotation(degrees: float) -> NDArray[np.float64]:
    cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return np.array([[cos, -sin, 0.0], [sin, cos, 0.0], [0.0, 0.0, 1.0]])


def _moved(x: float, y: float, scale: float = 1.0) -> NDArray[np.float64]:
    return np.array([[scale, 0.0, x], [0.0, scale, y], [0.0, 0.0, 1.0]])


def _corners(size: tuple[int, int]) -> NDArray[np.float32]:
    w, h = size
    return np.array([[0, 0], [w, 0], [w, h], [0, h]], dtype=np.float32)


def _lay_on_glass(page: Image.Image, how: Scan | Fax) -> tuple[Image.Image, NDArray[np.float64]]:
    grey = isinstance(how, Fax) or how.grey
    image = page.convert("L") if grey else page
    if how.scale < 0.999:  # area average first: a scanner does not alias
        size = (round(page.width * how.scale), round(page.height * how.scale))
        image = image.resize(
            size, Image.Resampling.BOX if how.scale < 0.5 else Image.Resampling.BILINEAR
        )
    shrink = np.diag([image.width / page.width, image.height / page.height, 1.0])
    left = how.scale if how.scale > 1.001 else 1.0
    matrix = _rotation(how.turn + how.skew_deg) @ _moved(0, 0, left)
    spread = map_points(matrix, _corners(image.size))
    low, high = spread.min(axis=0), spread.max(axis=0)
    matrix = _moved(-float(low[0]), -float(low[1])) @ matrix
    size = (int(np.ceil(high[0] - low[0])), int(np.ceil(high[1] - low[1])))
    lid = how.lid if isinstance(how, Scan) else 255
    fill: tuple[int, ...] | int = lid if grey else (lid, lid, lid)
    return _warp(image, matrix, size, fill), matrix @ shrink


def _photo_matrix(
    page_size: tuple[int, int], how: Photo
) -> tuple[NDArray[np.float64], tuple[int, int]]:
    """Pinhole camera over the sheet: page px to photo px, and the photo's size."""
    w, h = page_size
    diagonal = float(np.hypot(w, h))
    tilt, pan = np.radians(how.tilt_deg), np.radians(how.pan_deg)
    about_x = np.array(
        [[1, 0, 0], [0, np.cos(tilt), -np.sin(tilt)], [0, np.sin(tilt), np.cos(tilt)]]
    )
    about_y = np.array([[np.cos(pan), 0, np.sin(pan)], [0, 1, 0], [-np.sin(pan), 0, np.cos(pan)]])
    pose = about_x @ about_y @ _rotation(how.turn + how.skew_deg)
    # A point (x, y, 0) of the centred sheet is seen at pose[:2] / (distance + pose[2]).
    plane = np.stack([pose[:, 0], pose[:, 1], [0.0, 0.0, how.distance * diagonal]], axis=1)
    matrix = plane @ _moved(-w / 2, -h / 2)
    spread = map_points(matrix, _corners(page_size))
    low, high = spread.min(axis=0), spread.max(axis=0)
    extent = high - low
    long_side, short_side = float(how.longest_px), float(round(how.longest_px * 0.75))
    size = (long_side, short_side) if extent[0] >= extent[1] else (short_side, long_side)
    zoom = how.fill * min(size[0] / float(extent[0]), size[1] / float(extent[1]))
    centre = (low + high) / 2
    matrix = (
        _moved(size[0] / 2, size[1] / 2, zoom)
        @ _moved(-float(centre[0]), -float(centre[1]))
        @ matrix
    )
    return matrix, (round(size[0]), round(size[1]))


# --- light, blur and noise ------------------------------------------------------------------------


def _scan(image: Image.Image, how: Scan, rng: np.random.Generator) -> Image.Image:
    levels = (np.arange(256) - 128) * how.contrast + 128 * how.brightness
    table = np.clip(levels, 0, 255).astype(np.uint8).tolist()
    image = image.point(table * len(image.getbands()))
    return _stored(_noisy(_blurred(image, how.blur_px), how.noise, rng), how.jpeg_quality)


def _fax(image: Image.Image, how: Fax, rng: np.random.Generator) -> Image.Image:
    bits = np.array(image.convert("1")) if how.dither else np.asarray(image) > how.threshold
    count = int(bits.size * how.specks)
    flips = rng.integers(0, bits.size, count)
    flat = bits.ravel()
    flat[flips] = ~flat[flips]
    return Image.fromarray(flat.reshape(bits.shape))


def _outlives(style: PageStyle, threshold: int) -> bool:
    """Whether the grid or its frame is dark enough to be black after a threshold."""
    lines = [style.grid_bold, *([style.frame] if style.frame else [])]
    return min(_luma(colour) for colour in lines) < threshold


def _luma(colour: tuple[int, int, int]) -> float:
    return 0.299 * colour[0] + 0.587 * colour[1] + 0.114 * colour[2]


def _photograph(
    page: Image.Image, how: Photo, rng: np.random.Generator
) -> tuple[Image.Image, NDArray[np.float64]]:
    matrix, size = _photo_matrix(page.size, how)
    page = _folded(page, how.folds)
    # Where the warp shrinks, average first, for a lens does not alias.
    shrink = float(np.sqrt(_jacobian(matrix, page.size)))
    sheet, seen = page, matrix
    if shrink < 0.9:
        small = (round(page.width * shrink), round(page.height * shrink))
        sheet = page.resize(small, Image.Resampling.BILINEAR)
        seen = matrix @ np.diag([page.width / small[0], page.height / small[1], 1.0])
    corners = map_points(matrix, _corners(page.size))
    image = _onto_desk(_warp(sheet, seen, size, how.desk), corners, how, rng)
    image = ImageChops.multiply(image, _light(size, how))
    return _stored(_noisy(_blurred(image, how.blur_px), how.noise, rng), how.jpeg_quality), matrix


def _jacobian(matrix: NDArray[np.float64], size: tuple[int, int]) -> float:
    quad = map_points(matrix, _corners(size)).astype(np.float64)
    x, y = quad[:, 0], quad[:, 1]
    area = abs(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))) / 2
    return float(area / (size[0] * size[1]))


def _onto_desk(
    sheet: Image.Image, corners: NDArray[np.float32], how: Photo, rng: np.random.Generator
) -> Image.Image:
    size = sheet.size
    grain = rng.normal(1.0, 0.12, (24, 6)).clip(0.6, 1.4)  # long streaks, like wood
    desk = np.clip(grain[..., None] * np.array(how.desk), 0, 255).astype(np.uint8)
    ground = Image.fromarray(desk).resize(size, Image.Resampling.BILINEAR)
    mask = Image.new("L", size, 0)
    ImageDraw.Draw(mask).polygon([(float(x), float(y)) for x, y in corners], fill=255)
    ground.paste(sheet, mask=mask)
    return ground


def _folded(page: Image.Image, folds: tuple[float, ...]) -> Image.Image:
    if not folds:
        return page
    page = page.copy()
    w, h = page.size
    wide = max(3, round(0.006 * w))
    for place in folds:
        for side, light in ((0, 0.86), (1, 1.06)):
            if place > 0:
                x = round(place * w) + side * wide
                box = (x, 0, x + wide, h)
            else:
                y = round(-place * h) + side * wide
                box = (0, y, w, y + wide)
            page.paste(ImageEnhance.Brightness(page.crop(box)).enhance(light), box[:2])
    return page


def _light(size: tuple[int, int], how: Photo) -> Image.Image:
    """Uneven light as a picture to multiply with: fall-off, one soft shadow, colour of the lamp."""
    y, x = np.mgrid[0:1:48j, 0:1:64j]
    angle = np.radians(how.shade_angle_deg)
    across = (x - 0.5) * np.cos(angle) + (y - 0.5) * np.sin(angle) + 0.5
    field = 1.0 - how.fall_off * np.clip(1.0 - across, 0, 1)
    edge = 1.0 / (1.0 + np.exp(-(across - how.shade_offset) / 0.025))
    field = field * (how.shade + (1.0 - how.shade) * edge)
    bands = [Image.fromarray(np.clip(field * t * 255, 0, 255).astype(np.uint8)) for t in how.tint]
    return Image.merge("RGB", bands).resize(size, Image.Resampling.BILINEAR)


def _blurred(image: Image.Image, radius: float) -> Image.Image:
    return image.filter(ImageFilter.BoxBlur(radius)) if radius > 0.05 else image


def _noisy(image: Image.Image, level: float, rng: np.random.Generator) -> Image.Image:
    if level <= 0:
        return image
    # One tile laid out in rows of chance order: a picture's worth of normal numbers costs 50 ms.
    tile = (rng.standard_normal((256, 512), dtype=np.float32) * level).astype(np.int16)
    rows = tile[rng.integers(0, 256, image.height)]
    noise = np.tile(rows, (1, image.width // 512 + 1))[:, : image.width]
    values = np.asarray(image).astype(np.int16)
    values += noise[..., None] if values.ndim == 3 else noise
    return Image.fromarray(np.clip(values, 0, 255).astype(np.uint8))


def _stored(image: Image.Image, quality: int) -> Image.Image:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    with Image.open(buffer) as stored:
        stored.load()
        return stored.copy()
