"""Draws PDF pages in a process of its own, with limits on memory and time; see :mod:`runtime.pdf`.

PDFium is a large C++ library that inflates whatever a file packs: a kilobyte can ask for a
gigabyte, and a crash of it would end a service. Here it can only end this process.

Protocol, on stdin and stdout: 8 bytes of length and the file; then, for each page, a line of JSON
``{"page": 1, "grey": true}``. Each answer is a line of JSON, followed by ``bytes`` bytes of pixels.
This module imports neither numpy nor Pillow, so that it starts fast.
"""

from __future__ import annotations

import ctypes
import json
import os
import sys
import time
from typing import Any, BinaryIO

from runtime.errors import PageError

__all__ = ["main"]

#: Address space (bytes) of this process: with the 100 MB of the one that reads the answer, below
#: the 500 MB that a device with 1 GB can spare. A full A4 page at 600 dpi in colour fits.
MAX_MEMORY = 400 * 2**20
#: Longest side (px) of a drawn page: 4.7 px/mm on A4. A PDF has no pixels of its own, so these
#: count as its original pixels.
DRAWN_SIDE = 1400
#: Longest time (s) for drawing one page; a page of a million lines would block a hot folder.
MAX_DRAW_SECONDS = 4.0
#: Pixels of one embedded picture: A4 at 600 dpi and a half. PDFium decodes it whole, at up to 4
#: bytes a pixel, and leaves it out silently where it finds no memory.
MAX_EMBEDDED_PIXELS = 50_000_000
#: Objects of one page that are looked through for embedded pictures.
MAX_OBJECTS = 50_000


def main() -> None:
    """Answer the requests on stdin until it ends."""
    requests = sys.stdin.buffer
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever PDFium prints must not reach the answers
    _limit_memory()
    data = requests.read(int.from_bytes(requests.read(8), "little"))
    try:
        document = _open(data)
        _send(answers, {"pages": len(document)})
    except PageError as error:
        _send(answers, {"error": [error.message, error.remedy]})
        return
    for line in requests:
        request = json.loads(line)
        try:
            header, pixels = _draw(document, int(request["page"]), grey=bool(request["grey"]))
            _send(answers, header, pixels)
        except PageError as error:
            _send(answers, {"error": [error.message, error.remedy]})


def _limit_memory() -> None:
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return
    resource.setrlimit(resource.RLIMIT_AS, (MAX_MEMORY, MAX_MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _send(answers: BinaryIO, header: dict[str, Any], pixels: bytes = b"") -> None:
    answers.write(json.dumps(header).encode() + b"\n" + pixels)
    answers.flush()


def _open(data: bytes) -> Any:
    import pypdfium2

    try:
        return pypdfium2.PdfDocument(data)
    except pypdfium2.PdfiumError as error:
        if getattr(error, "err_code", None) == 4:  # FPDF_ERR_PASSWORD of fpdfview.h
            raise PageError(
                "the PDF is locked with a password",
                "open it with the password and print it to a new PDF",
            ) from None
        raise PageError("the PDF is damaged", "export it again") from None


def _draw(document: Any, number: int, *, grey: bool) -> tuple[dict[str, Any], bytes]:
    try:
        page = document[number - 1]
        _check_embedded(page)
        width, height = page.get_size()
        if not (0.1 < width < 1e6 and 0.1 < height < 1e6):
            raise PageError("the PDF page has no usable size", "print it to a new PDF")
        scale = DRAWN_SIDE / max(width, height)
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        pixels = _render(page, size, grey=grey)
        page.close()
    except PageError:
        raise
    except Exception:  # whatever PDFium or its binding stumbles over in a damaged file
        raise PageError(f"page {number} of the PDF is damaged", "export it again") from None
    return {"size": size, "dpi": 72 * scale, "bytes": len(pixels)}, pixels


def _check_embedded(page: Any) -> None:
    """Refuse pages whose embedded pictures would not fit into memory when decoded."""
    from pypdfium2.raw import FPDF_PAGEOBJ_IMAGE

    for count, item in enumerate(page.get_objects(max_depth=4)):
        if count > MAX_OBJECTS:
            raise PageError("the PDF page is too intricate to draw", "print it to a new PDF")
        if item.type == FPDF_PAGEOBJ_IMAGE:
            width, height = item.get_px_size()
            if width * height > MAX_EMBEDDED_PIXELS:
                raise PageError(
                    f"the picture in the PDF is {width} x {height} pixels, too large to decode in "
                    "bounded memory",
                    "scan it at 300 dpi",
                )


def _render(page: Any, size: tuple[int, int], *, grey: bool) -> bytes:
    """Draw a page in steps, so that it can be given up when it takes too long.

    Returns
    -------
    bytes
        Rows of 8-bit grey, or of blue, green, red and one unused byte.
    """
    from pypdfium2 import raw

    channels, layout = (1, raw.FPDFBitmap_Gray) if grey else (4, raw.FPDFBitmap_BGRx)
    width, height = size
    stride = width * channels
    pixels = (ctypes.c_ubyte * (stride * height))()
    bitmap = raw.FPDFBitmap_CreateEx(width, height, layout, pixels, stride)
    deadline = time.monotonic() + MAX_DRAW_SECONDS
    pause = raw.IFSDK_PAUSE(version=1)
    pause.NeedToPauseNow = type(pause.NeedToPauseNow)(lambda _: time.monotonic() > deadline)
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
    return bytes(pixels)


if __name__ == "__main__":
    main()
