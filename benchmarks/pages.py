"""The pages that are measured: the full-size originals where they are, else the sample pages."""

from __future__ import annotations

import io
import os
from pathlib import Path

from runtime.errors import NoInputError
from runtime.inputs import looks_like_page

__all__ = ["default_folder", "find_pages", "scaled_grey_decode"]

_ROOT = Path(__file__).resolve().parents[1]


def default_folder() -> Path:
    """Return the folder of originals (``ECG_EDGE_DATA``, ``../shared/data``) or of samples."""
    named = os.environ.get("ECG_EDGE_DATA")
    data = Path(named) if named else _ROOT.parent / "shared" / "data"
    originals = data / "originals"
    return originals if originals.is_dir() else _ROOT / "models" / "samples"


def find_pages(folder: Path) -> list[Path]:
    """Return the JPEG pages of a folder in name order; the largest common size comes first.

    Cost depends on the size of a page, so a run measures pages of one size: the commonest.

    Raises
    ------
    NoInputError
        If the folder holds no page.
    """
    pages = (
        [p for p in sorted(folder.iterdir()) if looks_like_page(p.name)] if folder.is_dir() else []
    )
    jpegs = [p for p in pages if p.suffix.lower() in (".jpg", ".jpeg")]
    if not jpegs:
        raise NoInputError(f"{folder}: no JPEG page to measure with", "name a folder with --pages")
    sizes = {path: _size(path) for path in jpegs}
    commonest = max(set(sizes.values()), key=lambda size: (list(sizes.values()).count(size), size))
    return [path for path in jpegs if sizes[path] == commonest]


def _size(path: Path) -> tuple[int, int]:
    """Return width and height in pixels as the file's header tells them."""
    from PIL import Image

    with Image.open(path) as image:
        return image.size


def scaled_grey_decode(data: bytes) -> None:
    """Decode a JPEG as Pillow does it alone, in grey, at the scale that our own reading chooses.

    What every reading of the page must pay at least; ours is compared with it.
    """
    from PIL import Image

    from runtime.page import working_factor

    with Image.open(io.BytesIO(data)) as image:
        factor = working_factor(*image.size)
        image.draft("L", (image.width // factor, image.height // factor))
        image.load()
