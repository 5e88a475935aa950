"""QR codes, bar codes and labels that lie beside a page on a ward."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
from PIL import Image, ImageDraw

from train.negatives.papers import font_of_size, sheet

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["CODES"]


def _modules(rng: np.random.Generator) -> Image.Image:
    """Random modules with the three finder patterns of ISO/IEC 18004; looks like a QR code."""
    side = 17 + 4 * int(rng.integers(1, 11))
    cells = rng.random((side, side)) < 0.5
    finder = np.ones((7, 7), bool)
    finder[1:6, 1:6] = False
    finder[2:5, 2:5] = True
    for row, col in ((0, 0), (0, side - 7), (side - 7, 0)):
        cells[max(0, row - 1) : row + 8, max(0, col - 1) : col + 8] = False
        cells[row : row + 7, col : col + 7] = finder
    return Image.fromarray(np.where(cells, 0, 255).astype(np.uint8))


def qr_code(rng: np.random.Generator) -> Image.Image:
    """One code filling the picture."""
    code = _modules(rng)
    scale = int(rng.integers(8, 30))
    large = code.resize((code.width * scale, code.height * scale), Image.Resampling.NEAREST)
    page = Image.new("L", (large.width + 8 * scale, large.height + 8 * scale), 255)
    page.paste(large, (4 * scale, 4 * scale))
    return page


def qr_sheet(rng: np.random.Generator) -> Image.Image:
    """Rows of codes on a sheet, as labels are printed."""
    page = sheet(rng)
    rows, cols = int(rng.integers(2, 5)), int(rng.integers(2, 6))
    size = round(0.7 * min(page.width / cols, page.height / rows))
    for row in range(rows):
        for col in range(cols):
            code = _modules(rng).resize((size, size), Image.Resampling.NEAREST)
            place = (
                round(page.width * (col + 0.15) / cols),
                round(page.height * (row + 0.15) / rows),
            )
            page.paste(code.convert("RGB"), place)
    return page


def bar_code(rng: np.random.Generator) -> Image.Image:
    """Bar codes with their numbers."""
    page = sheet(rng)
    pen = ImageDraw.Draw(page)
    rows = int(rng.integers(1, 5))
    for row in range(rows):
        top = page.height * (0.05 + row / rows)
        bottom = top + page.height * 0.6 / rows
        x = page.width * 0.1
        unit = page.width / rng.integers(250, 500)
        while x < page.width * 0.9:
            wide = unit * rng.integers(1, 5)
            pen.rectangle((x, top, x + wide, bottom), fill=(0, 0, 0))
            x += wide + unit * rng.integers(1, 5)
        number = "".join(str(digit) for digit in rng.integers(0, 10, 13))
        pen.text((page.width * 0.3, bottom + 6), number, fill=(0, 0, 0), font=font_of_size(28))
    return page


CODES: Final[dict[str, Callable[[np.random.Generator], Image.Image]]] = {
    "qr-code": qr_code,
    "qr-sheet": qr_sheet,
    "bar-code": bar_code,
}
