"""The audit log: one JSON line an answer, without names, in files that are rotated."""

from __future__ import annotations

import fcntl
import json
import os
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Final

from runtime import __version__
from runtime.errors import OutputError

__all__ = ["KEPT_FILES", "MAX_BYTES", "SCHEMA", "AuditLog"]

SCHEMA: Final = "ecg-edge/audit/1"
MAX_BYTES: Final = 10_000_000
"""Size from which a new file is begun: about 20,000 answers."""
KEPT_FILES: Final = 10
"""Older files that are kept as ``FILE.1`` (the youngest) to ``FILE.10``."""
_MODE: Final = 0o640
"""The owner writes, its group reads."""


class AuditLog:
    """Appends lines; several threads and several processes may share a file.

    Parameters
    ----------
    path : str or Path
        The file; made if it is missing.
    command : str
        Who answers: ``"classify"``, ``"watch"`` or ``"serve"``.
    max_bytes : int
        Size of a file at most.

    Raises
    ------
    OutputError
        If the file cannot be opened.
    """

    def __init__(
        self, path: str | os.PathLike[str], command: str, max_bytes: int = MAX_BYTES
    ) -> None:
        self.path = Path(path)
        self._command = command
        self._max_bytes = max_bytes
        self._lock = threading.Lock()
        self._descriptor = -1
        try:
            self._open()
        except OSError as fault:
            raise OutputError(
                f"{self.path}: the audit log cannot be written ({fault.strerror})",
                "name a file in a folder that exists and is writable",
            ) from fault

    def write(self, record: Mapping[str, Any], recovered: bool = False) -> None:
        """Append the line of one answer.

        Parameters
        ----------
        record : mapping
            A record of schema ``ecg-edge/result/1``; of it only what names nobody is written.
        recovered : bool
            The answer was written before and only its line may be missing; a reader may find two.

        Raises
        ------
        OSError
            If the disk is full or the folder is away.
        """
        entry = {
            "schema": SCHEMA,
            "time": _now(),
            "command": self._command,
            "ecg_edge": __version__,
            "sha256": record["sha256"],
            "page": record["page"],
            "status": record["status"],
            "label": record["label"],
            "flags": list(record["flags"]),
            "model": dict(record["model"]),
        }
        if recovered:
            entry["recovered"] = True
        line = json.dumps(entry, ensure_ascii=True).encode("ascii") + b"\n"
        with self._lock:
            self._append(line)

    def sync(self) -> None:
        """Bring what was written to the disk itself."""
        with self._lock:
            os.fsync(self._descriptor)

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._close()

    def __enter__(self) -> AuditLog:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _append(self, line: bytes) -> None:
        while True:
            if self._descriptor < 0 or not self._in_place():
                self._close()
                self._open()
            fcntl.flock(self._descriptor, fcntl.LOCK_EX)
            try:
                # Another process, or logrotate, may have renamed it while this one waited.
                if not self._in_place():
                    continue
                size = os.fstat(self._descriptor).st_size
                if size and size + len(line) > self._max_bytes:
                    self._rotate()
                    continue
                self._write_whole(line, size)
                return
            finally:
                fcntl.flock(self._descriptor, fcntl.LOCK_UN)

    def _write_whole(self, line: bytes, size: int) -> None:
        """Write a line, or nothing: half a line on a full disk is cut off again."""
        if os.write(self._descriptor, line) != len(line):
            os.ftruncate(self._descriptor, size)
            raise OSError(28, os.strerror(28), str(self.path))

    def _rotate(self) -> None:
        names = [self.path, *(self._numbered(n) for n in range(1, KEPT_FILES + 1))]
        for older, younger in zip(reversed(names), reversed(names[:-1]), strict=False):
            with suppress(FileNotFoundError):
                os.replace(younger, older)

    def _numbered(self, number: int) -> Path:
        return self.path.with_name(f"{self.path.name}.{number}")

    def _in_place(self) -> bool:
        try:
            return os.path.samestat(os.stat(self.path), os.fstat(self._descriptor))
        except OSError:
            return False

    def _open(self) -> None:
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        self._descriptor = os.open(self.path, flags, _MODE)
        # A power cut may have left half a line: the next one must not continue it.
        size = os.fstat(self._descriptor).st_size
        if size and os.pread(self._descriptor, 1, size - 1) != b"\n":
            os.write(self._descriptor, b"\n")

    def _close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def _now() -> str:
    """Return the moment in UTC, to the millisecond, as ISO 8601."""
    seconds, nanoseconds = divmod(time.time_ns(), 1_000_000_000)
    moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
    return f"{moment}.{nanoseconds // 1_000_000:03d}Z"
