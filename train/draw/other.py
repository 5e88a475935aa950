"""Pictures that are not 12-lead ECGs: text, forms, charts, blank sheets, X-ray-like pictures."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from train.draw.lettering import font_of

__all__ = ["NOT_ECG", "draw_other"]

_WORDS: Final = (
    "the ward round begins at eight every bed has a list of medicines and a chart of fluids please "
    "return this form to the desk before noon visitors wash their hands at the door a nurse will "
    "call you when your results are ready bring a warm coat and the letter from your doctor"
).split()
"""Words for text pages, ours."""


def draw_other(kind: str, seed: int) -> Image.Image:
    """Draw a picture that is not an ECG.

    Parameters
    ----------
    kind : str
        One of ``NOT_ECG``.
    seed : int
        The same seed gives the same picture.

    Returns
    -------
    PIL image, mode RGB
    """
    rng = np.random.default_rng([seed, 8, list(NOT_ECG).index(kind)])
    return NOT_ECG[kind](rng)


def _text(rng: np.random.Generator) -> Image.Image:
    portrait = rng.random() < 0.7
    size = (990, 1400) if portrait else (1400, 990)
    page = Image.new("RGB", size, (255, 255, 255))
    pen = ImageDraw.Draw(page)
    family = str(rng.choice(["serif", "sans", "mono"]))
    px = int(rng.integers(16, 30))
    pen.text((90, 70), "Information for patients", fill=0, font=font_of(family, px * 2))
    columns = int(rng.integers(1, 3))
    width = (size[0] - 180) // columns
    for column in range(columns):
        y = 170
        while y < size[1] - 120:
            if rng.random() < 0.12:
                y += px
                continue
            line = ""
            while True:
                longer = f"{line} {rng.choice(_WORDS)}".strip()
                if pen.textlength(longer, font=font_of(family, px)) > width - 30:
                    break
                line = longer
            pen.text((90 + column * width, y), line, fill=(20, 20, 20), font=font_of(family, px))
            y += round(px * 1.5)
    return page


def _form(rng: np.random.Generator) -> Image.Image:
    page = Image.new("RGB", (990, 1400), (255, 255, 255))
    pen = ImageDraw.Draw(page)
    font = font_of("sans", 20)
    pen.text((80, 60), "Medication chart", fill=0, font=font_of("sans", 40))
    rows, columns = int(rng.integers(14, 30)), int(rng.integers(4, 10))
    for r in range(rows + 1):
        y = 160 + r * 1150 // rows
        pen.line([(80, y), (910, y)], fill=(90, 90, 90), width=2)
    for c in range(columns + 1):
        x = 80 + c * 830 // columns
        pen.line([(x, 160), (x, 1310)], fill=(90, 90, 90), width=2)
    for r in range(rows):
        for c in range(columns):
            if rng.random() < 0.6:
                word = str(rng.choice(_WORDS))[: max(3, 30 // columns)]
                pen.text((88 + c * 830 // columns, 170 + r * 1150 // rows), word, fill=0, font=font)
    return page


def _chart(rng: np.random.Generator) -> Image.Image:
    page = Image.new("RGB", (1280, 960), (255, 255, 255))
    pen = ImageDraw.Draw(page)
    pen.rectangle([120, 80, 1200, 840], outline=0, width=2)
    font = font_of("sans", 22)
    pen.text((520, 30), "Temperature and pulse", fill=0, font=font_of("sans", 28))
    for i in range(7):
        pen.text((50, 825 - i * 124), str(i * 20), fill=0, font=font)
        if rng.random() < 0.7:
            pen.line([(120, 840 - i * 124), (1200, 840 - i * 124)], fill=(215, 215, 215))
    for i in range(10):
        pen.text((130 + i * 108, 850), f"day {i + 1}", fill=0, font=font)
    if rng.random() < 0.4:
        for i in range(12):
            top = 840 - int(rng.integers(50, 700))
            pen.rectangle([140 + i * 88, top, 200 + i * 88, 840], fill=(70, 110, 180))
        return page
    for colour in ((200, 40, 40), (30, 90, 170), (40, 140, 60))[: int(rng.integers(1, 4))]:
        steps = int(rng.integers(10, 60))
        walk = np.cumsum(rng.normal(0, 1, steps))
        walk = (walk - walk.min()) / max(1e-6, float(np.ptp(walk)))
        points = [(120 + 1080 * i / (steps - 1), 800 - 640 * float(v)) for i, v in enumerate(walk)]
        pen.line(points, fill=colour, width=3)
    return page


def _blank(rng: np.random.Generator) -> Image.Image:
    shade = int(rng.integers(225, 256))
    noise = rng.normal(shade, 1.5, (900, 1280, 1)).clip(0, 255).astype(np.uint8)
    return Image.fromarray(np.repeat(noise, 3, axis=2))


def _empty_grid(rng: np.random.Generator) -> Image.Image:
    page = Image.new("RGB", (1400, 1000), (255, 250, 248))
    pen = ImageDraw.Draw(page)
    step = float(rng.uniform(3.5, 7.5))
    for i in range(int(1400 / step) + 1):
        colour = (235, 150, 140) if i % 5 == 0 else (250, 215, 210)
        pen.line([(i * step, 0), (i * step, 1000)], fill=colour)
        if i * step < 1000:
            pen.line([(0, i * step), (1400, i * step)], fill=colour)
    return page


def _xray(rng: np.random.Generator) -> Image.Image:
    y, x = np.mgrid[0:1:900j, 0:1:760j]
    body = np.exp(-(((x - 0.5) / 0.42) ** 4)) * 190
    for side in (0.3, 0.7):
        body -= np.exp(-(((x - side) / 0.13) ** 2) - ((y - 0.5) / 0.28) ** 2) * 130
    body += np.exp(-(((x - 0.5) / 0.035) ** 2)) * 50
    body += np.exp(-(((x - 0.58) / 0.12) ** 2) - ((y - 0.62) / 0.12) ** 2) * 90
    ribs = np.sin(y * 55 + np.abs(x - 0.5) * 16 + rng.uniform(0, 6)) * 12
    picture = body + ribs * (body > 40) + rng.normal(0, 4, body.shape)
    grey = Image.fromarray(picture.clip(0, 255).astype(np.uint8)).filter(ImageFilter.BoxBlur(1))
    ImageDraw.Draw(grey).text((30, 30), "R", fill=240, font=font_of("sans", 48))
    return grey.convert("RGB")


def _scene(rng: np.random.Generator) -> Image.Image:
    """A blurred indoor scene: patches of colour with soft edges and sensor noise."""
    small = rng.integers(0, 256, (12, 16, 3), dtype=np.uint8)
    page = Image.fromarray(small).resize((1280, 960), Image.Resampling.BICUBIC)
    pen = ImageDraw.Draw(page)
    for _ in range(int(rng.integers(5, 20))):
        x, y = int(rng.integers(0, 1200)), int(rng.integers(0, 900))
        colour = tuple(int(v) for v in rng.integers(0, 256, 3))
        pen.ellipse(
            [x, y, x + int(rng.integers(20, 300)), y + int(rng.integers(20, 300))], fill=colour
        )
    noise = rng.normal(0, 6, (960, 1280, 1))
    return Image.fromarray((np.asarray(page) + noise).clip(0, 255).astype(np.uint8))


NOT_ECG: Final[dict[str, Callable[[np.random.Generator], Image.Image]]] = {
    "text": _text,
    "form": _form,
    "chart": _chart,
    "blank": _blank,
    "empty-grid": _empty_grid,
    "x-ray": _xray,
    "scene": _scene,
}
"""Kinds of pictures that a reader must refuse. A single strip is ``draw_page(layout="single")``."""
