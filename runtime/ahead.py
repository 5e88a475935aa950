"""Decodes the first page while the rest of the program still loads.

The decoders are native code that lets Python go on, so the modules, the weights and the engine's
library are loaded meanwhile: some 10 ms of a first answer. Later pages are answered one after the
other; who wants several cores names ``--workers``.
"""

from __future__ import annotations

import threading
from itertools import chain, islice
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from types import TracebackType

    from PIL import Image

    from runtime.inputs import Input
    from runtime.page import Document, Page

__all__ = ["ReadAhead", "first_ahead"]

T = TypeVar("T")


def first_ahead(inputs: Iterable[Input]) -> Iterator[Input | ReadAhead]:
    """Begin to read the first input at once; return it and the others, in their order."""
    rest = iter(inputs)
    first = [ReadAhead(item) for item in islice(rest, 1)]
    return chain(first, rest)


class ReadAhead:
    """An input whose first page a thread decodes; stands where a `runtime.inputs.Input` does.

    Parameters
    ----------
    item : Input
        What to read. Faults are kept, and raised where an `Input` would raise them.
    """

    def __init__(self, item: Input) -> None:
        self.source = item.source
        self._data = data = _kept(item.read)
        self._document: Document | Exception
        if isinstance(data, Exception):
            self._document = data
        else:
            self._document = _kept(lambda: _Begun(item.open(data)))

    def read(self) -> bytes:
        """Return the input's bytes; as :meth:`runtime.inputs.Input.read`."""
        return _told(self._data)

    def open(self, data: bytes) -> Document:
        """Return the document, whose first page is begun; as `runtime.page.open_document`."""
        return _told(self._document)


def _kept(step: Callable[[], T]) -> T | Exception:
    """Return what a step gives, or its fault."""
    try:
        return step()
    except Exception as fault:
        return fault


def _told(outcome: T | Exception) -> T:
    """Return what a step gave, or raise its fault."""
    if isinstance(outcome, Exception):
        raise outcome
    return outcome


class _Begun:
    """A document whose first page a thread decodes from the moment it is made."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self._first: Page | Exception | None = None
        self._thread: threading.Thread | None = threading.Thread(target=self._begin, daemon=True)
        try:
            self._thread.start()
        except RuntimeError:  # no thread to be had: the page is decoded when it is asked for
            self._thread = None

    def _begin(self) -> None:
        self._first = _kept(lambda: self._document.read(1))

    def _wait(self) -> None:
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    @property
    def format(self) -> str:
        return self._document.format

    @property
    def page_count(self) -> int:
        return self._document.page_count

    def read(self, number: int) -> Page:
        self._wait()
        if number != 1 or self._first is None:
            return self._document.read(number)
        first, self._first = self._first, None
        return _told(first)

    def picture(self, number: int) -> Image.Image:
        self._wait()
        return self._document.picture(number)

    def close(self) -> None:
        self._wait()
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
