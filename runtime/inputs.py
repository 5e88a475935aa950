"""From what the user names (files, folders, globs, lists, stdin) to a stream of inputs."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Final, TextIO

from runtime.errors import NoInputError, PageError
from runtime.record import Record

if TYPE_CHECKING:
    from runtime.page import Document

__all__ = [
    "MAX_FILE_BYTES",
    "PAGE_SUFFIXES",
    "STDIN",
    "Input",
    "expand",
    "looks_like_page",
    "read_input",
    "read_list",
]

STDIN: Final = "-"
PAGE_SUFFIXES: Final = frozenset(
    ".jpg .jpeg .jpe .jfif .png .tif .tiff .bmp .dib .webp .gif .pdf .dcm .dicom".split()
)
"""Endings that make a file in a folder an input; a file named outright may have any."""

MAX_FILE_BYTES: Final = 128 * 1024 * 1024
"""Larger files are refused unread: an uncompressed A4 colour scan at 600 dpi has 104 MB."""


class Input(Record):
    """One thing to answer: a path, or bytes that are already here."""

    source: str
    """What the record shows as ``source``."""
    data: bytes | None = None
    """The bytes where they came by stdin; None = read the file when its turn comes."""

    def read(self) -> bytes:
        """Return the bytes; as :func:`read_input`."""
        return read_input(self)

    def open(self, data: bytes) -> Document:
        """Open the bytes that were read; as :func:`runtime.page.open_document`."""
        from runtime.page import open_document

        return open_document(data, self.source)


def expand(names: Iterable[str], recursive: bool = False) -> Iterator[Input]:
    """Yield the inputs that the names stand for, in their order, without listing them all.

    A folder yields its page files in name order; a pattern its matches in name order; a name
    that exists is never read as a pattern. A name that matches nothing is yielded as it stands,
    so that its record says so.
    """
    for name in names:
        if name == STDIN:
            yield Input("stdin", sys.stdin.buffer.read(MAX_FILE_BYTES + 1))
        elif os.path.isdir(name) and not looks_like_page(name):
            yield from _folder(name, recursive)
        elif not os.path.lexists(name) and any(mark in name for mark in "*?["):
            yield from _pattern(name, recursive)
        else:
            yield Input(name)


def read_list(name: str) -> Iterator[Input]:
    """Yield one input for each line of a file, or of stdin for ``-``, as the lines arrive.

    Raises
    ------
    NoInputError
        If the list cannot be opened.
    """
    if name == STDIN:
        yield from _lines(sys.stdin)
        return
    try:
        stream = open(name, encoding="utf-8", errors="surrogateescape")  # noqa: SIM115
    except OSError as fault:
        raise NoInputError(
            f"{name}: the list of paths cannot be read ({fault.strerror})",
            "name a text file with one path a line, or - for stdin",
        ) from fault
    with stream:
        yield from _lines(stream)


def looks_like_page(name: str) -> bool:
    """Tell whether the file name ends like a page's."""
    return os.path.splitext(name)[1].lower() in PAGE_SUFFIXES


def read_input(item: Input) -> bytes:
    """Return an input's bytes.

    Raises
    ------
    PageError
        If it is missing, no regular file, not permitted, too large, or the disk fails.
    """
    if item.data is not None:
        if len(item.data) > MAX_FILE_BYTES:
            raise _too_large(len(item.data))
        return item.data
    try:
        # O_NONBLOCK: opening a fifo that nobody writes to would otherwise wait for ever.
        descriptor = os.open(item.source, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as fault:
        raise PageError(*_why_not_opened(item.source, fault)) from fault
    except ValueError as fault:
        raise PageError("the name is not a valid file name", "rename the file") from fault
    try:
        return _read_regular(descriptor)
    except OSError as fault:
        raise PageError(f"reading failed ({fault.strerror})", "check the disk") from fault
    finally:
        os.close(descriptor)


def _read_regular(descriptor: int) -> bytes:
    """Read an open file to its end, if it is a regular one of bearable size."""
    status = os.fstat(descriptor)
    if stat.S_ISDIR(status.st_mode):
        raise PageError("this is a folder, not a page", "name the pages in it")
    if not stat.S_ISREG(status.st_mode):
        raise PageError("this is not a regular file", "save the page as a file first")
    if status.st_size > MAX_FILE_BYTES:
        raise _too_large(status.st_size)
    with open(descriptor, "rb", closefd=False) as file:
        return file.read(MAX_FILE_BYTES + 1)


def _folder(name: str, recursive: bool) -> Iterator[Input]:
    try:
        with os.scandir(name) as entries:
            found = sorted((entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries)
    except OSError:
        yield Input(name)  # its record will say why it cannot be read
        return
    for entry, is_folder in found:
        path = os.path.join(name, entry)
        if is_folder and not looks_like_page(entry):
            if recursive:
                yield from _folder(path, recursive)
        elif looks_like_page(entry):
            yield Input(path)


def _pattern(pattern: str, recursive: bool) -> Iterator[Input]:
    from glob import glob

    found = False
    for path in sorted(glob(pattern, recursive=recursive)):
        found = True
        if os.path.isdir(path) and not looks_like_page(path):
            yield from _folder(path, recursive)
        else:
            yield Input(path)
    if not found:
        yield Input(pattern)


def _lines(stream: TextIO) -> Iterator[Input]:
    # readline, not iteration: a co-process must get each answer before it sends the next line.
    while line := stream.readline():
        name = line.rstrip("\r\n")
        if name:
            yield Input(name)


def _why_not_opened(name: str, fault: OSError) -> tuple[str, str]:
    if isinstance(fault, FileNotFoundError):
        if os.path.islink(name):
            return "this link points to a file that does not exist", "mend or remove the link"
        return "there is no such file", "check the name"
    if isinstance(fault, PermissionError):
        return "no permission to read this file", "give read permission to this user"
    return f"the file cannot be opened ({fault.strerror})", "check the name and the disk"


def _too_large(size: int) -> PageError:
    return PageError(
        f"the file is too large ({size / 1e6:.0f} MB, the limit is {MAX_FILE_BYTES / 1e6:.0f} MB)",
        "save the page at 300 dpi or less",
    )
