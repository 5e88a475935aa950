"""Writes and moves files so that a power cut leaves the old state or the new one, never a part."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Final

__all__ = ["ChangedError", "move_durably", "return_held", "sync_folder", "write_durably"]

_CHUNK: Final = 1 << 20
"""Bytes copied at a time between file systems."""
_HELD: Final = ".ecg-edge-held."
"""Prefix of a file that was copied to another file system and is about to be removed."""


class ChangedError(Exception):
    """The file is not the one that was answered any more."""


def write_durably(target: Path, content: bytes, part: Path) -> None:
    """Write a file in one step.

    Parameters
    ----------
    target : Path
        Appears, or replaces what stood there, only once its content is on the disk.
    content : bytes
        The whole file.
    part : Path
        Where it is written first; on the target's file system, used by one process only, so that
        a crash leaves one part at most and the next write takes its place.

    Raises
    ------
    OSError
        If the disk is full, the folder is away, or the name is not possible there.
    """
    try:
        with open(part, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, target)
    except OSError:
        with suppress(OSError):
            part.unlink()
        raise


def sync_folder(folder: Path) -> None:
    """Bring a folder's names to the disk; file systems that cannot are left to their own ways."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    except OSError as fault:
        if fault.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EBADF):
            raise
    finally:
        os.close(descriptor)


def move_durably(
    source: Path, target: Path, sha256: str, expected: os.stat_result, part: Path
) -> Path:
    """Move a file under a free name; nothing is ever overwritten or removed unseen.

    Parameters
    ----------
    source, target : Path
        From where to where; on different file systems the file is copied, compared and only
        then removed.
    sha256 : str
        SHA-256 of the content, hexadecimal.
    expected : os.stat_result
        The source as it was when it was read: a file that was replaced since stays where it is.
    part : Path
        Where a copy is written first, on the target's file system.

    Returns
    -------
    Path
        Where the file is now: `target`, or `target` with the first 12 digits of the checksum
        before its ending where that name was taken.

    Raises
    ------
    ChangedError
        If the source is not the expected file any more.
    OSError
        If it cannot be moved; the source is still there.
    """
    if not _same(os.lstat(source), expected):
        raise ChangedError
    free = next(name for name in _names(target, sha256) if not os.path.lexists(name))
    try:
        os.rename(source, free)
    except OSError as fault:
        if fault.errno != errno.EXDEV:
            raise
        return _copy_over(source, target, sha256, expected, part)
    if not _same(os.lstat(free), expected):
        _put_back(free, source)
        raise ChangedError
    _sync_both(source, free)
    return free


def return_held(root: Path) -> None:
    """Give files their name back that a crash left between their copy and their removal."""
    for folder, _, names in os.walk(root):
        for name in names:
            if name.startswith(_HELD):
                home = name.removeprefix(_HELD)
                _put_back(Path(folder, name), Path(folder, home))


def _copy_over(
    source: Path, target: Path, sha256: str, expected: os.stat_result, part: Path
) -> Path:
    """Copy to another file system, then take the source away if it is still the same file."""
    _copy(source, part, sha256, expected)
    # A crash between copy and removal left the copy there: it is not made a second time.
    free = next(
        name
        for name in _names(target, sha256)
        if not os.path.lexists(name) or _holds(name, sha256, expected.st_size)
    )
    os.replace(part, free)
    sync_folder(free.parent)
    # Renamed first and looked at then: what was put in its place meanwhile is not removed.
    held = source.with_name(_HELD + source.name)
    os.rename(source, held)
    if not _same(os.lstat(held), expected):
        _put_back(held, source)
        raise ChangedError
    os.unlink(held)
    sync_folder(source.parent)
    return free


def _copy(source: Path, part: Path, sha256: str, expected: os.stat_result) -> None:
    """Copy a file with the time of its last change, comparing its content on the way."""
    digest = hashlib.sha256()
    descriptor = os.open(source, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        with os.fdopen(descriptor, "rb") as read, open(part, "wb") as written:
            while chunk := read.read(_CHUNK):
                digest.update(chunk)
                written.write(chunk)
            written.flush()
            os.utime(part, ns=(expected.st_atime_ns, expected.st_mtime_ns))
            os.fsync(written.fileno())
        if digest.hexdigest() != sha256:
            raise ChangedError
    except (OSError, ChangedError):
        with suppress(OSError):
            part.unlink()
        raise


def _names(target: Path, sha256: str) -> Iterator[Path]:
    yield target
    stem = f"{target.stem}.{sha256[:12]}"
    yield target.with_name(stem + target.suffix)
    for number in count(2):
        yield target.with_name(f"{stem}.{number}{target.suffix}")


def _holds(path: Path, sha256: str, size: int) -> bool:
    """Tell whether a path is a regular file with this content."""
    status = os.lstat(path)
    if not stat.S_ISREG(status.st_mode) or status.st_size != size:
        return False
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == sha256


def _put_back(taken: Path, home: Path) -> None:
    """Rename a file to its old name unless that name was taken again."""
    if not os.path.lexists(home):
        os.rename(taken, home)


def _same(found: os.stat_result, expected: os.stat_result) -> bool:
    """Tell whether it is the same file with the same content; moving itself changes ctime."""
    return (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns) == (
        expected.st_dev,
        expected.st_ino,
        expected.st_size,
        expected.st_mtime_ns,
    ) and stat.S_ISREG(found.st_mode)


def _sync_both(source: Path, target: Path) -> None:
    sync_folder(target.parent)
    if source.parent != target.parent:
        sync_folder(source.parent)
