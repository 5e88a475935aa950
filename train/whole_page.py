"""The whole page as a small grey picture: what the literature trains on, and nothing else does.

Kept apart from runtime on purpose. Such a picture shows header, footer, layout and printed
diagnosis, so it serves protocol P1, the tutorials' baselines and the leak probes only.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image

from runtime.page import Page, open_document

SIDE = 128
"""Side of the square picture, px, as in the tutorials."""


def whole_page(page: Page, size: int = SIDE) -> np.ndarray:
    """Return the page squeezed into a square, float32 [size, size], 0 = black, 1 = white."""
    picture = Image.fromarray(page.grey).resize((size, size), Image.Resampling.BOX)
    return np.asarray(picture, dtype=np.float32) / 255


def read_whole_pages(paths: Iterable[Path], size: int = SIDE) -> np.ndarray:
    """Read the first page of each file, float32 [n, size, size]; white where unreadable."""
    from runtime.errors import PageError

    pages = []
    for path in paths:
        try:
            with open_document(path.read_bytes(), path.name) as document:
                pages.append(whole_page(document.read(1), size))
        except PageError:
            pages.append(np.ones((size, size), np.float32))
    return np.stack(pages)
