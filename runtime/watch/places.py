"""The folders of a watch: what may lie where, and what it means when one is away or full."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from runtime.errors import NoInputError, OutputError, UsageError

__all__ = [
    "AUDIT",
    "FOLDER",
    "FULL",
    "LEDGER",
    "MOVES",
    "NOT_ALLOWED",
    "OUT",
    "REMEDIES",
    "PlaceLostError",
    "WatchSettings",
    "check_places",
    "in_plain_words",
    "reaching",
]

FOLDER: Final = "the watched folder"
OUT: Final = "the folder of the answers"
LEDGER: Final = "the ledger"
AUDIT: Final = "the audit log"
MOVES: Final = "moving files away"

REMEDIES: Final = {
    FOLDER: "check the share and its mount",
    OUT: "make space, or check the disk or share and its rights",
    LEDGER: "make space, or check the disk; --ledger names another place",
    AUDIT: "make space, or check the disk; --audit-log names another place",
    MOVES: "check rights and space of the folders named by --done and --failed",
}
FULL: Final = frozenset((errno.ENOSPC, errno.EDQUOT))
NOT_ALLOWED: Final = frozenset((errno.EACCES, errno.EPERM, errno.EROFS))
_WORDS: Final = {
    errno.ENOENT: "it is not there",
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "its quota is used up",
    errno.EACCES: "no permission",
    errno.EROFS: "it is read-only",
    errno.ESTALE: "the share was exchanged",
}


@dataclass(frozen=True, slots=True)
class WatchSettings:
    """What the command line says."""

    folder: Path
    out: Path
    ledger: Path
    done: Path | None = None
    failed: Path | None = None
    explain: Path | None = None
    """Folder of the PNGs; None = none are drawn."""
    interval_s: float = 2.0
    settle_s: float = 2.0
    once: bool = False
    redact: bool = False


class PlaceLostError(Exception):
    """A place that all answering depends on is away or full."""

    def __init__(self, place: str, fault: OSError) -> None:
        super().__init__(place)
        self.place = place
        self.fault = fault


@contextmanager
def reaching(place: str) -> Iterator[None]:
    """Turn an OSError into the loss of a place."""
    try:
        yield
    except OSError as fault:
        raise PlaceLostError(place, fault) from fault


def in_plain_words(fault: OSError) -> str:
    """Return what happened without the file's name, which logs may have to leave out."""
    return _WORDS.get(fault.errno or 0, fault.strerror or "input or output failed")


def check_places(settings: WatchSettings, audit: Path | None = None) -> None:
    """Refuse what would make the watch feed on itself or follow links; make missing folders.

    Raises
    ------
    UsageError
        If the folder is a link or no folder, or anything that is written lies inside it.
    NoInputError
        If the folder is not there; one that was watched before is waited for.
    OutputError
        If a folder to write into cannot be made.
    """
    folder = settings.folder
    if not _is_awaited(settings):
        _check_folder(folder)
    written = {
        "--out": settings.out,
        "--done": settings.done,
        "--failed": settings.failed,
        "--explain": settings.explain,
        "--ledger": settings.ledger,
        "--audit-log": audit,
    }
    for flag, path in written.items():
        if path is not None and _is_inside(path, folder):
            raise UsageError(f"{flag} {path} lies inside {folder}", "name a folder outside it")
    for flag in ("--done", "--failed"):
        path = written[flag]
        if path is not None and _is_inside(folder, path):
            raise UsageError(f"{folder} lies inside {flag} {path}", "name a folder beside it")
    for path in (settings.out, settings.done, settings.failed, settings.explain):
        if path is not None:
            _make(path)


def _is_awaited(settings: WatchSettings) -> bool:
    """Tell whether the folder is away but was watched before: a share that is not up yet."""
    seen = settings.ledger.is_file() and not settings.once
    return seen and not os.path.lexists(settings.folder)


def _check_folder(folder: Path) -> None:
    if folder.is_symlink():
        raise UsageError(f"{folder}: this is a link", "name the folder itself")
    if not os.path.lexists(folder):
        raise NoInputError(f"{folder}: there is no such folder", "check the name and the mount")
    if not folder.is_dir():
        raise UsageError(f"{folder}: this is not a folder", "name the folder that files arrive in")


def _is_inside(path: Path, folder: Path) -> bool:
    """Tell whether a path, which need not exist, is a folder or lies in it, links resolved."""
    resolved = path.resolve()
    if resolved.is_relative_to(folder.resolve()):
        return True
    if not folder.exists():
        return False
    home = os.stat(folder)
    for place in (resolved, *resolved.parents):
        with suppress(OSError):
            if os.path.samestat(os.stat(place), home):
                return True
    return False


def _make(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as fault:
        raise OutputError(
            f"{path}: the folder cannot be made ({fault.strerror})",
            "name a folder that exists or can be made, and is writable",
        ) from fault
