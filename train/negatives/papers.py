"""Sheets without an ECG: blank, ruled, gridded, written and tabulated."""

from __future__ import annotations

import string
from typing import TYPE_CHECKING, Final

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["PAPERS", "font_of_size", "sheet"]

_WORDS: Final = (
    "patient ward report of the and with left right heart rate pain since two days history known "
    "blood pressure taken at rest no change seen follow up in one week dose daily discharge letter "
    "general condition good stable lung clear oxygen saturation on room air laboratory values"
).split()


def font_of_size(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Return Pillow's own font at a size in px."""
    return ImageFont.load_default(size)


def sheet(rng: np.random.Generator, *, upright: bool | None = None) -> Image.Image:
    """Return an empty sheet of a random usual size and paper colour, mode RGB."""
    long = int(rng.integers(900, 2400))
    size = (long, round(long / 1.414))
    if upright if upright is not None else rng.random() < 0.5:
        size = size[::-1]
    tone = int(rng.integers(225, 256))
    tint = rng.integers(0, 14, 3)
    return Image.new("RGB", size, tuple(int(max(0, tone - t)) for t in tint))


def _noisy(image: Image.Image, rng: np.random.Generator, sigma: float) -> Image.Image:
    tones = np.asarray(image, np.float32)
    values = tones + rng.normal(0, sigma, tones.shape[:2])[..., None]
    return Image.fromarray(np.clip(values, 0, 255).astype(np.uint8))


def blank(rng: np.random.Generator) -> Image.Image:
    """Plain paper."""
    return sheet(rng)


def scanned_blank(rng: np.random.Generator) -> Image.Image:
    """Plain paper as a scanner sees it: noise, a shade towards one side, dust."""
    page = sheet(rng)
    width, height = page.size
    shade = np.linspace(1.0, rng.uniform(0.6, 0.95), width)[None, :, None]
    page = Image.fromarray((np.asarray(page) * shade).astype(np.uint8))
    pen = ImageDraw.Draw(page)
    for _ in range(int(rng.integers(5, 60))):
        x, y, r = rng.uniform(0, width), rng.uniform(0, height), rng.uniform(0.5, 4)
        pen.ellipse((x - r, y - r, x + r, y + r), fill=(60, 60, 60))
    return _noisy(page, rng, rng.uniform(1, 8))


def ecg_paper(rng: np.random.Generator) -> Image.Image:
    """Unused ECG paper: 1 mm and 5 mm lines."""
    page = sheet(rng)
    pen = ImageDraw.Draw(page)
    step = max(page.size) / 297
    fine = tuple(int(v) for v in (rng.integers(240, 255), *rng.integers(190, 235, 2)))
    bold = (fine[0] - 8, fine[1] - 55, fine[2] - 55)
    for index, position in enumerate(np.arange(0, max(page.size), step)):
        colour = bold if index % 5 == 0 else fine
        pen.line((position, 0, position, page.height), fill=colour)
        pen.line((0, position, page.width, position), fill=colour)
    return page


def ruled(rng: np.random.Generator) -> Image.Image:
    """Writing paper."""
    page = sheet(rng, upright=True)
    pen = ImageDraw.Draw(page)
    gap = page.height / rng.integers(4, 40)
    for y in np.arange(gap, page.height, gap):
        pen.line((0, y, page.width, y), fill=(90, 110, 170), width=int(rng.integers(1, 4)))
    return page


def _paragraphs(
    pen: ImageDraw.ImageDraw, box: tuple[float, float, float, float], rng: np.random.Generator
) -> None:
    left, top, right, bottom = box
    size = int(rng.integers(14, 40))
    font = font_of_size(size)
    y = top
    while y < bottom - size:
        line = " ".join(rng.choice(_WORDS, int((right - left) / size / 3) + 1))
        if rng.random() < 0.1:
            line = line[: len(line) // 3]
        pen.text((left, y), line[: int((right - left) / size / 0.5)], fill=(20, 20, 25), font=font)
        y += size * 1.4 * (2 if rng.random() < 0.1 else 1)


def letter(rng: np.random.Generator) -> Image.Image:
    """A page of text."""
    page = sheet(rng, upright=True)
    width, height = page.size
    pen = ImageDraw.Draw(page)
    _paragraphs(pen, (width * 0.1, height * 0.1, width * 0.9, height * 0.92), rng)
    return page


def columns(rng: np.random.Generator) -> Image.Image:
    """A page of text in columns, as in a journal."""
    page = sheet(rng)
    width, height = page.size
    pen = ImageDraw.Draw(page)
    count = int(rng.integers(2, 5))
    for index in range(count):
        left = width * (0.05 + 0.9 * index / count)
        right = left + width * 0.9 / count - 20
        _paragraphs(pen, (left, height * 0.06, right, height * 0.95), rng)
    return page


def few_lines(rng: np.random.Generator) -> Image.Image:
    """A sheet with three to six lines of large text: as many rows as an ECG has."""
    page = sheet(rng, upright=False)
    width, height = page.size
    pen = ImageDraw.Draw(page)
    rows = int(rng.integers(3, 7))
    font = font_of_size(int(height / rows / rng.uniform(2, 5)))
    for index in range(rows):
        text = " ".join(rng.choice(_WORDS, 12))
        pen.text(
            (width * 0.05, height * (0.1 + 0.85 * index / rows)), text, fill=(10, 10, 10), font=font
        )
    return page


def dense_print(rng: np.random.Generator) -> Image.Image:
    """A listing of random characters."""
    page = sheet(rng)
    pen = ImageDraw.Draw(page)
    size = int(rng.integers(10, 22))
    font = font_of_size(size)
    letters = np.array(list(string.printable[:90]))
    for y in range(20, page.height - 20, round(size * 1.3)):
        line = "".join(rng.choice(letters, int(page.width / size * 1.6)))
        pen.text((20, y), line, fill=(0, 0, 0), font=font)
    return page


def table(rng: np.random.Generator) -> Image.Image:
    """A ruled table of numbers."""
    page = sheet(rng)
    width, height = page.size
    pen = ImageDraw.Draw(page)
    rows, cols = int(rng.integers(3, 30)), int(rng.integers(2, 9))
    font = font_of_size(max(10, int(height / rows / 2.5)))
    for row in range(rows + 1):
        y = height * (0.08 + 0.84 * row / rows)
        pen.line((width * 0.05, y, width * 0.95, y), fill=(40, 40, 40), width=2)
        for col in range(cols if row < rows else 0):
            value = f"{rng.normal(50, 30):.1f}"
            pen.text(
                (width * (0.06 + 0.9 * col / cols), y + 6), value, fill=(20, 20, 20), font=font
            )
    for col in range(cols + 1):
        x = width * (0.05 + 0.9 * col / cols)
        pen.line((x, height * 0.08, x, height * 0.92), fill=(40, 40, 40), width=2)
    return page


def form(rng: np.random.Generator) -> Image.Image:
    """A form: labels, boxes, lines to write on, ticks."""
    page = sheet(rng, upright=True)
    width, height = page.size
    pen = ImageDraw.Draw(page)
    size = int(height / 50)
    y = height * 0.06
    while y < height * 0.92:
        pen.text(
            (width * 0.08, y),
            str(rng.choice(_WORDS)).title(),
            fill=(10, 10, 10),
            font=font_of_size(size),
        )
        if rng.random() < 0.5:
            pen.line((width * 0.35, y + size, width * 0.9, y + size), fill=(60, 60, 60), width=2)
        else:
            for box in range(int(rng.integers(2, 6))):
                x = width * (0.35 + 0.1 * box)
                pen.rectangle((x, y, x + size, y + size), outline=(30, 30, 30), width=2)
        y += size * rng.uniform(1.6, 3.5)
    return page


def handwriting(rng: np.random.Generator) -> Image.Image:
    """Rows of scribble."""
    page = sheet(rng)
    width, height = page.size
    pen = ImageDraw.Draw(page)
    rows = int(rng.integers(3, 14))
    for row in range(rows):
        base = height * (0.1 + 0.85 * row / rows)
        steps = int(width * 0.85 / 6)
        turn = np.cumsum(rng.normal(0, 0.9, steps))
        x = width * 0.06 + np.arange(steps) * 6 + 9 * np.cos(turn)
        y = base + height / rows * 0.22 * np.sin(turn) * rng.uniform(0.3, 1.0, steps)
        for start in range(0, steps - 20, 24):
            word = list(
                zip(x[start : start + 20].tolist(), y[start : start + 20].tolist(), strict=True)
            )
            pen.line(word, fill=(25, 30, 90), width=3)
    return page.filter(ImageFilter.GaussianBlur(0.7))


def music(rng: np.random.Generator) -> Image.Image:
    """Sheet music: staves, notes, bar lines."""
    page = sheet(rng)
    width, height = page.size
    pen = ImageDraw.Draw(page)
    rows = int(rng.integers(3, 9))
    gap = height / rows / 12
    for row in range(rows):
        top = height * (0.06 + 0.9 * row / rows)
        for line in range(5):
            y = top + line * gap
            pen.line((width * 0.05, y, width * 0.95, y), fill=(20, 20, 20), width=2)
        for x in np.arange(width * 0.08, width * 0.93, gap * rng.uniform(2, 4)):
            y = top + gap * rng.uniform(0, 4)
            pen.ellipse((x, y, x + gap * 1.2, y + gap), fill=(0, 0, 0))
            pen.line(
                (x + gap * 1.2, y + gap / 2, x + gap * 1.2, y - gap * 3), fill=(0, 0, 0), width=2
            )
    return page


PAPERS: Final[dict[str, Callable[[np.random.Generator], Image.Image]]] = {
    "blank": blank,
    "scanned-blank": scanned_blank,
    "ecg-paper": ecg_paper,
    "ruled": ruled,
    "letter": letter,
    "columns": columns,
    "few-lines": few_lines,
    "dense-print": dense_print,
    "table": table,
    "form": form,
    "handwriting": handwriting,
    "music": music,
}
