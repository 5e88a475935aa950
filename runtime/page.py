"""Turns the bytes of a file into grey working pictures of its pages, in bounded memory.

What a file is, is read from its first bytes, never from its name. Each kind has its own module:
:mod:`runtime.picture` (JPEG, PNG, TIFF, BMP, WebP, GIF), :mod:`runtime.pdf`, :mod:`runtime.dicom`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np
from PIL import Image

from runtime.errors import PageError
from runtime.record import Record

if TYPE_CHECKING:
    from types import TracebackType

    from numpy.typing import NDArray

__all__ = ["Document", "Page", "open_document", "page_from_image", "working_factor"]

#: Pictures are halved while they are read until their longest side (px) is at most this. What is
#: left has more than half of it, 1,050 px: 3.5 px/mm on a scan filled by A4 (297 mm), 3.0 on a
#: phone photo filled to 85 %; the reading of the trace needs 3. The 2213 x 1572 JPEG of a cart is
#: decoded at half size (7.9 -> 3.9 px/mm): 5.1 ms instead of 5.7 ms, then a quarter of the pixels.
MAX_HALVED_SIDE = 2100
#: Above this longest side (px), where another halving would leave too little, resample ...
RESAMPLE_ABOVE = 1800
#: ... to this longest side (px): 4.7 px/mm on a scan of A4, 4.0 on a photo filled to 85 %.
RESAMPLED_SIDE = 1400
#: Files beyond this size (bytes) are refused unread: an uncompressed A4 colour scan at 600 dpi has
#: 104 MB.
MAX_FILE_BYTES = 128 * 1024 * 1024
#: Resolutions outside these bounds (dots per inch) are left-overs of software, not of a scanner.
PLAUSIBLE_DPI = (20.0, 2400.0)


class Page(Record):
    """One page of an input as a grey working picture.

    Attributes
    ----------
    grey : ndarray of uint8, shape (height, width)
        The upright picture (EXIF orientation applied), 0 = black, 255 = white, C-contiguous.
    scale : float
        Working pixels per original pixel; at most 1.
    original_size : tuple of int
        Width and height of the upright page in original pixels.
    number : int
        Number of the page in its document, from 1.
    format : str
        What the file is: ``"JPEG"``, ``"PNG"``, ``"TIFF"``, ``"PDF"``, ``"DICOM"``, ...
    dpi : float or None
        Dots per inch of the original as the file states them; software often states them wrongly.
    """

    grey: NDArray[np.uint8]
    scale: float
    original_size: tuple[int, int]
    number: int = 1
    format: str = "image"
    dpi: float | None = None


class Document(Protocol):
    """An opened file of one or more pages; a context manager."""

    @property
    def format(self) -> str:
        """What the file is, for example ``"TIFF"``."""

    @property
    def page_count(self) -> int:
        """Number of pages; at least 1."""

    def read(self, number: int) -> Page:
        """Read page `number` (from 1) as a grey working picture.

        Raises
        ------
        PageError
            If the page cannot be decoded within the limits, with the reason and the remedy.
        """

    def picture(self, number: int) -> Image.Image:
        """Return page `number` as an upright RGB picture, for people to look at.

        Its longest side is at most `MAX_HALVED_SIDE`; it covers the same area as :meth:`read`.
        """

    def close(self) -> None:
        """Release the file."""

    def __enter__(self) -> Document:
        """Return the document."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Release the file."""


def open_document(data: bytes, name: str | None = None) -> Document:
    """Open the bytes of a file.

    Parameters
    ----------
    data : bytes
        The whole file.
    name : str, optional
        Name of the file; only its ending is used, and only for DICOM files without preamble.

    Returns
    -------
    Document
        Use it in a ``with`` statement.

    Raises
    ------
    PageError
        If the file is empty, damaged, too large, locked, or of no accepted kind.
    MissingExtraError
        If the file is a PDF or DICOM file and the extra that reads it is not installed.
    """
    if not data:
        raise PageError("the file is empty", "send or export it again")
    if len(data) > MAX_FILE_BYTES:
        raise PageError(
            f"the file has {len(data) / 2**20:.0f} MB, more than the limit of "
            f"{MAX_FILE_BYTES // 2**20} MB",
            "scan at 300 dpi, or save as JPEG",
        )
    if data[128:132] == b"DICM":
        from runtime.dicom import open_dicom

        return open_dicom(data)
    if b"%PDF-" in data[:1024]:
        from runtime.pdf import PdfDocument

        return PdfDocument(data)
    if name is not None and name.lower().endswith((".dcm", ".dicom")):
        from runtime.dicom import open_dicom

        return open_dicom(data)
    from runtime.picture import open_picture

    return open_picture(data)


def page_from_image(image: Image.Image, number: int = 1) -> Page:
    """Make a page of a Pillow image that a program already holds.

    Parameters
    ----------
    image : PIL.Image.Image
        Any mode; left unchanged. Its EXIF orientation, where it has one, is applied.
    number : int
        Page number to give it.

    Raises
    ------
    PageError
        If the image cannot be decoded or has a mode without a grey form.
    """
    from runtime.picture import page_of_open_image

    return page_of_open_image(image, number)


def working_factor(width: int, height: int) -> int:
    """Return the power of two by which a picture is reduced while it is read.

    Parameters
    ----------
    width, height : int
        Size in original pixels.

    Returns
    -------
    int
        1, 2, 4, ...: the smallest that brings the longest side to `MAX_HALVED_SIDE` or less.
    """
    factor = 1
    while max(width, height) > MAX_HALVED_SIDE * factor:
        factor *= 2
    return factor


def plausible_dpi(value: object) -> float | None:
    """Return a resolution in dots per inch, or None where the file states none worth keeping.

    Parameters
    ----------
    value : object
        A number, or a pair of numbers of which the first is taken (Pillow's ``info["dpi"]``).
    """
    if isinstance(value, (tuple, list)) and value:
        value = value[0]
    try:
        dpi = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, ZeroDivisionError, OverflowError):
        return None
    low, high = PLAUSIBLE_DPI
    return dpi if low <= dpi <= high else None


def finish_page(
    grey: Image.Image,
    *,
    scale: float,
    original_size: tuple[int, int],
    number: int,
    kind: str,
    dpi: float | None,
) -> Page:
    """Make the page of a reduced, upright grey picture, resampling it once more if still large.

    Parameters
    ----------
    grey : PIL.Image.Image
        Mode ``"L"``.
    scale : float
        Pixels of `grey` per original pixel.
    original_size : tuple of int
        Upright width and height in original pixels.
    number : int
        Page number.
    kind : str
        What the file is.
    dpi : float or None
        Stated resolution of the original.
    """
    longest = max(grey.size)
    if longest > RESAMPLE_ABOVE:
        ratio = RESAMPLED_SIDE / longest
        size = (max(1, round(grey.width * ratio)), max(1, round(grey.height * ratio)))
        grey = grey.resize(size, Image.Resampling.BILINEAR)
        scale *= ratio
    array = np.ascontiguousarray(np.asarray(grey))
    return Page(array, scale, original_size, number, kind, dpi)
