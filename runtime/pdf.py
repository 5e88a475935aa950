"""Reads the pages of a PDF through pypdfium2 (extra ``pdf``), one at a time, at a bounded size."""

from __future__ import annotations

import ctypes
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from PIL import Image

from runtime.errors import MissingExtraError, PageError
from runtime.page import Page, finish_page
from runtime.picture import MAX_PAGES, RESEND

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["PdfDocument"]

#: Longest side (px) of a drawn page: 4.7 px/mm on A4. A PDF has no pixels of its own, so these
#: count as its original pixels.
DRAWN_SIDE = 1400
#: Longest time (s) for drawing one page; a page of a million lines would block a hot folder.
MAX_DRAW_SECONDS = 4.0
#: Pixels of one embedded picture: A3 at 600 dpi. PDFium decodes it whole, at up to 4 bytes a pixel.
MAX_EMBEDDED_PIXELS = 70_000_000
#: Objects of one page that are looked through for embedded pictures.
MAX_OBJECTS = 200_000

# PDFium may be entered by one thread at a time, whatever the document.
_PDFIUM = threading.RLock()


class PdfDocument:
    """A PDF file.

    Parameters
    ----------
    data : bytes
        The whole file.
    kind : str
        What to report as the format; a DICOM file may wrap a PDF.

    Raises
    ------
    PageError
        If the file is locked with a password, damaged, without pages or too long.
    MissingExtraError
        If pypdfium2 is not installed.
    """

    def __init__(self, data: bytes, kind: str = "PDF") -> None:
        try:
            import pypdfium2
            import pypdfium2.raw
        except ImportError:
            raise MissingExtraError("pdf", "reading PDF files") from None
        self.format = kind
        self._raw: Any = pypdfium2.raw
        with _PDFIUM:
            self._document: Any = None
            try:
                self._document = pypdfium2.PdfDocument(data)
            except pypdfium2.PdfiumError as error:
                if getattr(error, "err_code", None) == self._raw.FPDF_ERR_PASSWORD:
                    raise PageError(
                        "the PDF is locked with a password",
                        "open it with the password and print it to a new PDF",
                    ) from None
                raise PageError("the PDF is damaged", RESEND) from None
            self.page_count = len(self._document)
            if not 1 <= self.page_count <= MAX_PAGES:
                self.close()
                raise PageError(
                    f"the PDF has {self.page_count} pages; 1 to {MAX_PAGES} can be read",
                    "split it into smaller files" if self.page_count else RESEND,
                )

    def __enter__(self) -> PdfDocument:
        """Return the document."""
        return self

    def __exit__(self, *_: object) -> None:
        """Release the file."""
        self.close()

    def close(self) -> None:
        """Release the file."""
        with _PDFIUM:
            if self._document is not None:
                self._document.close()
                self._document = None

    def read(self, number: int) -> Page:
        """Draw page `number` (from 1) as a grey working picture.

        Raises
        ------
        PageError
            If the page is damaged, or too large or too intricate to draw.
        """
        image, scale = self._draw(number, grey=True)
        return finish_page(
            image,
            scale=1.0,
            original_size=image.size,
            number=number,
            kind=self.format,
            dpi=72 * scale,  # a PDF unit is 1/72 inch
        )

    def picture(self, number: int) -> Image.Image:
        """Return page `number` as an RGB picture of the size that :meth:`read` uses.

        Raises
        ------
        PageError
            As :meth:`read`.
        """
        return self._draw(number, grey=False)[0]

    def _draw(self, number: int, *, grey: bool) -> tuple[Image.Image, float]:
        with _PDFIUM, self._page(number) as page:
            self._check_embedded(page)
            width, height = page.get_size()
            if not (0.1 < width < 1e6 and 0.1 < height < 1e6):
                raise PageError("the PDF page has no usable size", RESEND)
            scale = DRAWN_SIDE / max(width, height)
            size = (max(1, round(width * scale)), max(1, round(height * scale)))
            return self._render(page, size, grey=grey), scale

    @contextmanager
    def _page(self, number: int) -> Iterator[Any]:
        if not 1 <= number <= self.page_count or self._document is None:
            raise PageError(f"there is no page {number}", f"the file has {self.page_count}")
        page = None
        try:
            page = self._document[number - 1]
            yield page
        except PageError:
            raise
        except Exception:  # whatever PDFium or its binding stumbles over in a damaged file
            raise PageError(f"page {number} of the PDF is damaged", RESEND) from None
        finally:
            if page is not None:
                page.close()

    def _check_embedded(self, page: Any) -> None:
        """Refuse pages whose embedded pictures would not fit into memory when decoded."""
        pixels = 0
        for count, item in enumerate(page.get_objects(max_depth=4)):
            if count > MAX_OBJECTS:
                raise PageError("the PDF page is too intricate to draw", "print it to a new PDF")
            if item.type == self._raw.FPDF_PAGEOBJ_IMAGE:
                width, height = item.get_px_size()
                pixels = max(pixels, width * height)
        if pixels > MAX_EMBEDDED_PIXELS:
            raise PageError("the picture in the PDF is too large to decode", "scan it at 300 dpi")

    def _render(self, page: Any, size: tuple[int, int], *, grey: bool) -> Image.Image:
        """Draw a page in steps, so that it can be given up when it takes too long."""
        raw = self._raw
        channels, layout = (1, raw.FPDFBitmap_Gray) if grey else (4, raw.FPDFBitmap_BGRx)
        width, height = size
        stride = width * channels
        pixels = (ctypes.c_ubyte * (stride * height))()
        bitmap = raw.FPDFBitmap_CreateEx(width, height, layout, pixels, stride)
        deadline = time.monotonic() + MAX_DRAW_SECONDS
        pause = raw.IFSDK_PAUSE(version=1)
        ask = type(pause.NeedToPauseNow)(lambda _: time.monotonic() > deadline)
        pause.NeedToPauseNow = ask
        flags = raw.FPDF_ANNOT | (raw.FPDF_GRAYSCALE if grey else 0)
        try:
            raw.FPDFBitmap_FillRect(bitmap, 0, 0, width, height, 0xFFFFFFFF)
            state = raw.FPDF_RenderPageBitmap_Start(
                bitmap, page.raw, 0, 0, width, height, 0, flags, pause
            )
            raw.FPDF_RenderPage_Close(page.raw)
        finally:
            raw.FPDFBitmap_Destroy(bitmap)
        if state == raw.FPDF_RENDER_TOBECONTINUED:
            raise PageError("the PDF page takes too long to draw", "print it to a new PDF")
        if state != raw.FPDF_RENDER_DONE:
            raise PageError("the PDF page cannot be drawn", "print it to a new PDF")
        if grey:
            return Image.frombytes("L", size, bytes(pixels))
        return Image.frombytes("RGB", size, bytes(pixels), "raw", "BGRX")
