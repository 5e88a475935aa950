"""Remembers across restarts which file was answered with which content, in SQLite.

The answers' folder is the truth and the ledger its index: a ledger that is lost or damaged is
begun anew, and answers that are there already are taken over (`runtime.watch.answers`).
"""

from __future__ import annotations

import errno
import logging
import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from runtime.errors import OutputError
from runtime.watch.arrivals import Stamp

__all__ = ["Answered", "Ledger", "LedgerDamagedError"]

_log = logging.getLogger("ecg_edge.ledger")

SCHEMA_VERSION: Final = 1
_APPLICATION: Final = 0x45434745
"""SQLite application id, ``ECGE``: another program's database is not taken for a ledger."""
_LOCK_WAIT_S: Final = 5.0
"""A process that was just killed gives its lock back well within this time."""

_JOURNAL_PAGES: Final = 64
"""Pages (of 4 kB) in the journal before they are copied into the file: by default 1,000, and
4 MB are much on a small disk that is nearly full."""

_TABLES: Final = """
CREATE TABLE answered (
    name BLOB PRIMARY KEY,      -- path below the watched folder, as the file system has it
    size INTEGER NOT NULL,      -- bytes
    mtime_ns INTEGER NOT NULL,
    ctime_ns INTEGER NOT NULL,
    sha256 TEXT NOT NULL,       -- of the content
    pages INTEGER NOT NULL,
    failed INTEGER NOT NULL,    -- 1 = a page of it could not be read
    answered_at TEXT NOT NULL   -- UTC
) WITHOUT ROWID;
CREATE TABLE in_hand (
    name BLOB PRIMARY KEY,
    sha256 TEXT NOT NULL,
    begun INTEGER NOT NULL      -- how often it was begun and not ended
) WITHOUT ROWID;
"""


class LedgerDamagedError(Exception):
    """The file is no ledger, or a damaged one."""


@dataclass(frozen=True, slots=True)
class Answered:
    """What the ledger knows of a file."""

    stamp: Stamp
    sha256: str
    pages: int
    failed: bool


class Ledger:
    """The open ledger; one process at a time.

    Use `open` to make one.
    """

    def __init__(self, path: Path, database: sqlite3.Connection) -> None:
        self.path = path
        self._database = database
        self._identity = _identity(path)

    @classmethod
    def open(cls, path: Path) -> Ledger:
        """Open or begin a ledger; a damaged one is set aside under another name first.

        Raises
        ------
        OutputError
            If another process has it open, it is of a later version, or it cannot be written.
        """
        try:
            return cls(path, _connect(path))
        except LedgerDamagedError as fault:
            aside = set_aside(path)
            _log.warning(
                "the ledger was damaged (%s) and is now %s; a new one is begun, and answers that "
                "are there already are taken over",
                fault,
                aside,
            )
            return cls(path, _connect(path))

    @property
    def in_place(self) -> bool:
        """Tell whether the open file is still the one under its name."""
        return _identity(self.path) == self._identity

    def get(self, name: str) -> Answered | None:
        """Return what is known of a file."""
        with _translated():
            row = self._database.execute(
                "SELECT size, mtime_ns, ctime_ns, sha256, pages, failed FROM answered "
                "WHERE name = ?",
                (os.fsencode(name),),
            ).fetchone()
        if row is None:
            return None
        size, mtime_ns, ctime_ns, sha256, pages, failed = row
        return Answered(Stamp(size, mtime_ns, ctime_ns), sha256, pages, bool(failed))

    def begin(self, name: str, sha256: str) -> int:
        """Note that a content is being answered; return how often that was begun and not ended.

        Survives the end of the process but, to spare the disk, not always a power cut.
        """
        with _translated():
            self._database.execute("PRAGMA synchronous = NORMAL")
            with self._database:
                begun = self._database.execute(
                    "INSERT INTO in_hand VALUES (?, ?, 1) ON CONFLICT (name) DO UPDATE SET "
                    "begun = CASE WHEN sha256 = excluded.sha256 THEN begun + 1 ELSE 1 END, "
                    "sha256 = excluded.sha256 RETURNING begun",
                    (os.fsencode(name), sha256),
                ).fetchone()[0]
        return int(begun) - 1

    def release(self, name: str) -> None:
        """Take back `begin`: answering was put off, the process did not end."""
        with _translated(), self._database:
            self._database.execute("DELETE FROM in_hand WHERE name = ?", (os.fsencode(name),))

    def probe(self) -> None:
        """Raise the OSError of the day if nothing can be written."""
        self.begin("", "")
        self.release("")

    def commit(self, name: str, answered: Answered) -> None:
        """Note that a file's answers are on the disk; on the disk itself when it returns."""
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        key = os.fsencode(name)
        with _translated():
            self._database.execute("PRAGMA synchronous = FULL")
            with self._database:
                self._database.execute(
                    "INSERT OR REPLACE INTO answered VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                    (key, *answered.stamp, answered.sha256, answered.pages, answered.failed, now),
                )
                self._database.execute("DELETE FROM in_hand WHERE name = ?", (key,))

    def close(self) -> None:
        """Close the file."""
        with suppress(sqlite3.Error):
            self._database.close()

    def __enter__(self) -> Ledger:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def set_aside(path: Path) -> Path:
    """Rename a damaged ledger and its journal; return the new name.

    Raises
    ------
    OutputError
        If it cannot be renamed.
    """
    aside = path.with_name(f"{path.name}.damaged-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}")
    try:
        # The journal first: one that outlived its database would spoil the new one.
        for ending in ("-wal", "-shm", "-journal"):
            with suppress(FileNotFoundError):
                os.rename(f"{path}{ending}", f"{aside}{ending}")
        os.rename(path, aside)
    except OSError as fault:
        raise _not_writable(path, str(fault.strerror)) from fault
    return aside


def _connect(path: Path) -> sqlite3.Connection:
    try:
        database = sqlite3.connect(path, timeout=_LOCK_WAIT_S)
    except sqlite3.Error as fault:
        raise _not_writable(path, str(fault)) from fault
    try:
        _prepare(path, database)
    except LedgerDamagedError:
        database.close()
        raise
    except sqlite3.Error as fault:
        database.close()
        if _damaged(fault):
            raise LedgerDamagedError(str(fault)) from fault
        if fault.sqlite_errorcode in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            raise OutputError(
                f"{path}: another watch has this ledger open",
                "stop it, or name another --out and --ledger for this one",
            ) from fault
        raise _not_writable(path, str(fault)) from fault
    except OutputError:
        database.close()
        raise
    return database


def _prepare(path: Path, database: sqlite3.Connection) -> None:
    """Lock the file for this process, look whether it is whole, and make its tables."""
    # Exclusive: one watch at a time, and no shared memory, which network shares do not have.
    database.execute("PRAGMA locking_mode = EXCLUSIVE")
    database.execute("PRAGMA journal_mode = WAL")
    database.execute(f"PRAGMA wal_autocheckpoint = {_JOURNAL_PAGES}")
    database.execute("PRAGMA synchronous = FULL")
    with database:
        database.execute("BEGIN IMMEDIATE")
        version = int(database.execute("PRAGMA user_version").fetchone()[0])
        application = int(database.execute("PRAGMA application_id").fetchone()[0])
        tables = int(database.execute("SELECT count(*) FROM sqlite_master").fetchone()[0])
    if version > SCHEMA_VERSION and application == _APPLICATION:
        raise OutputError(
            f"{path}: written by a later version of ecg-edge (ledger version {version})",
            "update ecg-edge, or name another --ledger",
        )
    if tables == 0:
        database.executescript(
            f"BEGIN;{_TABLES}PRAGMA user_version = {SCHEMA_VERSION};"
            f"PRAGMA application_id = {_APPLICATION};COMMIT;"
        )
        return
    if application != _APPLICATION:
        raise OutputError(f"{path}: this is another program's database", "name another --ledger")
    verdict = database.execute("PRAGMA quick_check(1)").fetchone()[0]
    if verdict != "ok":
        raise LedgerDamagedError(verdict)


@contextmanager
def _translated() -> Iterator[None]:
    """Turn SQLite's errors into `LedgerDamagedError` or an OSError that tells a full disk."""
    try:
        yield
    except sqlite3.Error as fault:
        if _damaged(fault):
            raise LedgerDamagedError(str(fault)) from fault
        code = getattr(fault, "sqlite_errorcode", None)
        number = errno.ENOSPC if code == sqlite3.SQLITE_FULL else errno.EIO
        raise OSError(number, f"ledger: {fault}") from fault


def _damaged(fault: sqlite3.Error) -> bool:
    code = getattr(fault, "sqlite_errorcode", None)
    # The low byte is the kind of error, the rest its detail.
    return code is not None and code & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _not_writable(path: Path, why: str) -> OutputError:
    return OutputError(
        f"{path}: the ledger cannot be written ({why})",
        "name a folder that exists, is writable and has space, or another --ledger",
    )
