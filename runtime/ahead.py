"""Decodes the first page while the rest of the program still loads.

The decoders are native code that lets Python go on, so the modules, the weights and the engine's
library are loaded meanwhile: some 10 ms of a first answer. Later pages are answered one after the
other; who wants several cores names ``--workers``.
"""

from __future__ import annotations

import threading
from itertools import chain, islice
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from types import TracebackType

    from PIL import Image

    from runtime.inputs import Input
    from runtime.page import Document, Page

__all__ = ["ReadAhead", "first_ahead"]


def first_ahead(inputs: Iterable[Input]) -> Iterator[Input | ReadAhead]:
    """Begin to read the first input at once; return it and the others, in their order."""
    rest = iter(inputs)
    first = [ReadAhead(item) for item in islice(rest, 1)]
    return chain(first, rest)


class ReadAhead:
    """An input whose first page a thread reads; stands where a `runtime.inputs.Input` does.

    Parameters
    ----------
    item : Input
        What to read.
    """

    def __init__(self, item: Input) -> None:
        self.source = item.source
        self._data: bytes | None = None
        self._document: Document | None = None
        self._fault: Exception | None = None
        self._thread = threading.Thread(target=self._work, args=(item,), daemon=True)
        self._thread.start()

    def _work(self, item: Input) -> None:
        try:
            self._data = item.read()
            self._document = _Begun(item.open(self._data))
        except Exception as fault:  # told where the answer is due, as if it happened there
            self._fault = fault

    def read(self) -> bytes:
        """Return the input's bytes; as :meth:`runtime.inputs.Input.read`."""
        self._thread.join()
        if self._data is None:
            raise self._known_fault()
        return self._data

    def open(self, data: bytes) -> Document:
        """Return the document, whose first page is decoded; as `runtime.page.open_document`."""
        self._thread.join()
        if self._document is None:
            raise self._known_fault()
        return self._document

    def _known_fault(self) -> Exception:
        return self._fault or RuntimeError("the page was not read")


class _Begun:
    """A document whose first page is decoded when it is made, and told when it is asked for."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self._first: Page | Exception | None
        try:
            self._first = document.read(1)
        except Exception as fault:  # of this page alone
            self._first = fault

    @property
    def format(self) -> str:
        return self._document.format

    @property
    def page_count(self) -> int:
        return self._document.page_count

    def read(self, number: int) -> Page:
        if number != 1 or self._first is None:
            return self._document.read(number)
        first, self._first = self._first, None
        if isinstance(first, Exception):
            raise first
        return first

    def picture(self, number: int) -> Image.Image:
        return self._document.picture(number)

    def close(self) -> None:
        self._document.close()

    def __enter__(self) -> Document:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
