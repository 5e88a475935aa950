"""Reads the pages of a PDF through pypdfium2 (extra ``pdf``), one at a time, at a bounded size.

The drawing is done by :mod:`runtime.pdf_worker` in a process of its own, one a document: starting
it takes about 60 ms, and a hostile file can neither crash the runtime nor take its memory.
"""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

from PIL import Image

from runtime.errors import MissingExtraError, PageError
from runtime.page import Page, finish_page
from runtime.picture import MAX_PAGES, RESEND

__all__ = ["PdfDocument"]

#: Longest wait (s) for an answer of the worker, which itself gives up drawing after 4 s.
MAX_WAIT_SECONDS = 8.0


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
        if importlib.util.find_spec("pypdfium2") is None:
            raise MissingExtraError("pdf", "reading PDF files")
        self.format = kind
        self._worker = _start_worker()
        try:
            header, _ = self._ask(len(data).to_bytes(8, "little") + data)
            self.page_count = int(header["pages"])
            if not 1 <= self.page_count <= MAX_PAGES:
                raise PageError(
                    f"the PDF has {self.page_count} pages; 1 to {MAX_PAGES} can be read",
                    "split it into smaller files" if self.page_count else RESEND,
                )
        except PageError:
            self.close()
            raise

    def __enter__(self) -> PdfDocument:
        """Return the document."""
        return self

    def __exit__(self, *_: object) -> None:
        """Release the file."""
        self.close()

    def __del__(self) -> None:
        """Release the file where the caller forgot to."""
        if getattr(self, "_worker", None) is not None:
            self.close()

    def close(self) -> None:
        """Release the file: end its worker."""
        worker = self._worker
        if worker.returncode is None:
            worker.kill()
            worker.wait()
        for stream in (worker.stdin, worker.stdout):
            if stream is not None and not stream.closed:
                try:
                    stream.close()
                except OSError:
                    continue  # a request that a dead worker never took

    def read(self, number: int) -> Page:
        """Draw page `number` (from 1) as a grey working picture.

        Raises
        ------
        PageError
            If the page is damaged, or too large or too intricate to draw.
        """
        header, pixels = self._page(number, grey=True)
        size = tuple(header["size"])
        return finish_page(
            Image.frombytes("L", size, pixels),
            scale=1.0,
            original_size=size,
            number=number,
            kind=self.format,
            dpi=float(header["dpi"]),
        )

    def picture(self, number: int) -> Image.Image:
        """Return page `number` as an RGB picture of the size that :meth:`read` uses.

        Raises
        ------
        PageError
            As :meth:`read`.
        """
        header, pixels = self._page(number, grey=False)
        return Image.frombytes("RGB", tuple(header["size"]), pixels, "raw", "BGRX")

    def _page(self, number: int, *, grey: bool) -> tuple[dict[str, Any], bytes]:
        if not 1 <= number <= self.page_count:
            raise PageError(f"there is no page {number}", f"the file has {self.page_count}")
        return self._ask(json.dumps({"page": number, "grey": grey}).encode() + b"\n")

    def _ask(self, request: bytes) -> tuple[dict[str, Any], bytes]:
        """Send a request and return the answer's header and pixels.

        A worker that was lost is not started again: the pages behind the one that killed it are
        reported as unreadable too.
        """
        worker = self._worker
        assert worker.stdin is not None
        assert worker.stdout is not None
        late = threading.Timer(MAX_WAIT_SECONDS, worker.kill)
        late.daemon = True
        late.start()
        try:
            worker.stdin.write(request)
            worker.stdin.flush()
            header = json.loads(worker.stdout.readline() or b"null")
            pixels = worker.stdout.read(header["bytes"]) if header and "bytes" in header else b""
        except (OSError, ValueError):
            header, pixels = None, b""
        finally:
            late.cancel()
        if header is None or len(pixels) != header.get("bytes", 0):
            raise PageError(
                "the PDF cannot be drawn within the limits of memory and time",
                "print it to a new PDF, or scan it",
            )
        if "error" in header:
            raise PageError(*header["error"])
        return header, pixels


def _start_worker() -> subprocess.Popen[bytes]:
    root = str(Path(__file__).resolve().parents[1])
    start = f"import sys; sys.path.insert(0, {root!r}); from runtime.pdf_worker import main; main()"
    return subprocess.Popen(
        [sys.executable, "-P", "-c", start],  # -P: no module of the working folder gets in
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        # Ctrl-C or a stop of the whole group is for the parent: it finishes the page in hand.
        start_new_session=True,
    )
