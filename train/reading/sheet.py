"""A contact sheet of real pages with the panel and the leads' boxes drawn on them, to look at."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from train.draw.lettering import font_of
from train.reading.ecg5 import Ecg5Page
from train.reading.reader import Reader

__all__ = ["write_contact_sheet"]

_TILE: Final = (400, 300)
_COLUMNS: Final = 10


def write_contact_sheet(reader: Reader, pages: list[Ecg5Page], path: Path) -> None:
    """Write the sheet.

    Parameters
    ----------
    reader : Reader
        The device's reading.
    pages : list of Ecg5Page
        Pages to show, ten a row.
    path : Path
        PNG file to write. Panel red, leads' boxes green, page name and layout in blue below.
    """
    rows = -(-len(pages) // _COLUMNS)
    sheet = Image.new("RGB", (_COLUMNS * _TILE[0], rows * _TILE[1]), (120, 120, 120))
    for index, page in enumerate(pages):
        place = ((index % _COLUMNS) * _TILE[0], (index // _COLUMNS) * _TILE[1])
        sheet.paste(_tile(reader, page), place)
    sheet.quantize(32, dither=Image.Dither.NONE).save(path, "PNG", optimize=True)


def _tile(reader: Reader, page: Ecg5Page) -> Image.Image:
    data = page.path.read_bytes()
    reading = reader.read(data)
    with Image.open(page.path) as opened:
        picture = opened.convert("RGB")
    ratio = min((_TILE[0] - 6) / picture.width, (_TILE[1] - 24) / picture.height)
    size = (round(picture.width * ratio), round(picture.height * ratio))
    small = picture.resize(size, Image.Resampling.BOX)
    pen = ImageDraw.Draw(small)
    words = f"{page.path.stem}  "
    if reading.panel is not None:
        for lead in reading.panel.leads:
            _outline(pen, lead.box * ratio, (0, 150, 0), 1)
        _outline(pen, reading.panel.quad * ratio, (225, 0, 0), 2)
        words += f"{reading.panel.layout} {reading.panel.scale_source}"
    if reading.refused:
        words += f" REFUSED {reading.reasons[0][:30]}"
    tile = Image.new("RGB", (_TILE[0] - 4, _TILE[1] - 4), (255, 255, 255))
    tile.paste(small, (0, 0))
    pen = ImageDraw.Draw(tile)
    pen.text((4, _TILE[1] - 22), words, fill=(0, 0, 200), font=font_of("sans", 13))
    return tile


def _outline(
    pen: ImageDraw.ImageDraw, quad: NDArray[np.float32], colour: tuple[int, int, int], width: int
) -> None:
    corners = [(float(x), float(y)) for x, y in quad]
    pen.line([*corners, corners[0]], fill=colour, width=width)
