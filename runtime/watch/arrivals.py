"""Finds the pages in a watched folder, as cheaply as a folder of 100,000 files allows."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from runtime.inputs import MAX_FILE_BYTES, looks_like_page
from runtime.record import Record

__all__ = [
    "Found",
    "Stamp",
    "Taken",
    "find_pages",
    "head_of",
    "may_be_page",
    "starts_like_page",
    "take",
]

_UNFINISHED: Final = frozenset(
    ".tmp .temp .part .partial .filepart .crdownload .download .swp .lock .bak".split()
)
"""Endings under which programs write what is not finished yet."""
_HEAD_BYTES: Final = 1024
"""How much of a file without a telling name is read to see what it is."""
_PICTURE_MARKS: Final = (
    b"\xff\xd8\xff",  # JPEG
    b"\x89PNG\r\n\x1a\n",
    b"II*\x00",  # TIFF, little-endian
    b"MM\x00*",  # TIFF, big-endian
    b"GIF8",
)


class Stamp(Record):
    """What changes when a file's content changes.

    The time of the last status change cannot be set by programs, so it also tells files apart
    that were replaced by others of the same size and time.
    """

    size: int
    mtime_ns: int
    ctime_ns: int

    @classmethod
    def of(cls, status: os.stat_result) -> Stamp:
        """Return a file's stamp."""
        return cls(status.st_size, status.st_mtime_ns, status.st_ctime_ns)


class Found(Record):
    """A file that may be a page."""

    name: str
    """Path below the watched folder."""
    stamp: Stamp


@dataclass(frozen=True, slots=True)
class Taken:
    """A file's content, read once, so that what is hashed is what is answered."""

    data: bytes | None
    """None where the file is too large to be a page."""
    sha256: str
    status: os.stat_result


def find_pages(root: Path, refuse: Callable[[str, str], None]) -> Iterator[Found]:
    """Yield the files below a folder that may be pages, in no special order.

    Parameters
    ----------
    root : Path
        The watched folder. Hidden folders are left out, links are never followed.
    refuse : callable
        Called with the name and the reason for what looks like a page but is a link, a fifo or
        another special file, and for folders that cannot be read.

    Raises
    ------
    OSError
        If the folder itself cannot be read: it or its share is away.
    """
    folders = [""]
    while folders:
        folder = folders.pop()
        try:
            with os.scandir(root / folder) as entries:
                inside = list(entries)
        except OSError as fault:
            if not folder:
                raise
            if not isinstance(fault, FileNotFoundError):
                refuse(folder, f"this folder cannot be read ({fault.strerror})")
            continue
        for entry in inside:
            name = os.path.join(folder, entry.name)
            if _is_folder(entry):
                if not entry.name.startswith("."):
                    folders.append(name)
            elif may_be_page(entry.name) and (found := _look(entry, name, refuse)):
                yield found


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir(follow_symlinks=False)
    except OSError:
        return False  # what it is cannot be told; `_look` will not get further either


def _look(entry: os.DirEntry[str], name: str, refuse: Callable[[str, str], None]) -> Found | None:
    """Return what an entry is, None for what is no regular file or went away meanwhile."""
    try:
        status = entry.stat(follow_symlinks=False)
    except OSError:
        return None
    if stat.S_ISREG(status.st_mode):
        return Found(name, Stamp.of(status))
    kind = "a link" if stat.S_ISLNK(status.st_mode) else "no regular file"
    refuse(name, f"this is {kind} and is not read; put the file itself into the folder")
    return None


def may_be_page(name: str) -> bool:
    """Tell by its name whether a file may be a page.

    A page's ending, or none, or a number: DICOM files are often named by their identifier. What
    carts drop beside the pages (XML, CDB, .slw), hidden and unfinished files are left out.
    """
    if name.startswith((".", "~")):
        return False
    ending = os.path.splitext(name)[1].lower()
    if ending in _UNFINISHED:
        return False
    return looks_like_page(name) or not ending or ending[1:].isdigit()


def starts_like_page(head: bytes) -> bool:
    """Tell by its first bytes whether a file is a picture, a PDF or DICOM."""
    return (
        head.startswith(_PICTURE_MARKS)
        or (head.startswith(b"RIFF") and head[8:12] == b"WEBP")
        or head[128:132] == b"DICM"
        or b"%PDF-" in head[:_HEAD_BYTES]
    )


def take(path: Path) -> Taken | None:
    """Read a file whole.

    Returns
    -------
    Taken or None
        None if it changed while it was read, or is no regular file any more.

    Raises
    ------
    OSError
        If it cannot be opened or read.
    """
    # Not through a link put in its place since, and never waiting for a fifo's writer.
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        before = os.fstat(descriptor)
        if not stat.S_ISREG(before.st_mode):
            return None
        data: bytes | None = None
        if before.st_size > MAX_FILE_BYTES:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        else:
            data = file.read(MAX_FILE_BYTES + 1)
            sha256 = hashlib.sha256(data).hexdigest()
        after = os.fstat(descriptor)
    if Stamp.of(after) != Stamp.of(before) or (data is not None and len(data) != after.st_size):
        return None
    return Taken(data, sha256, after)


def head_of(path: Path) -> bytes:
    """Return the first bytes of a file; see `starts_like_page`.

    Raises
    ------
    OSError
        If it cannot be opened or read.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        return file.read(_HEAD_BYTES)
