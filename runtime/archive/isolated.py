"""Answers pages in a child process, so that a page that ends a process ends only that one.

The parent sends a line of JSON (name and length) and the bytes; the child replies with a line of
JSON, the answers. Where the child dies or hangs on a page, that page gets an error row and the
next one a new child.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from select import select
from types import TracebackType
from typing import Any, Final

from runtime.archive.model import PackedModel, load
from runtime.archive.source import PageFile
from runtime.archive.work import answers, failed

__all__ = ["Isolated", "main"]

_SECONDS_A_PAGE: Final = 120
"""Limit for one file: a page takes well under a second, a long PDF some ten."""
_MEMORY_BYTES: Final = 8 * 1024**3
"""Address space of the child; beyond it a page is answered with "not enough memory"."""


class Isolated:
    """A child process that answers files, replaced whenever one of them ends it."""

    def __init__(self, model: PackedModel, seconds: float = _SECONDS_A_PAGE) -> None:
        self._model = model
        self._seconds = seconds
        self._folder = tempfile.TemporaryDirectory(prefix="ecg-edge-")
        model.unpack(Path(self._folder.name))
        self._child: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Isolated:
        """Return itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        fault: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End the child."""
        self._end()
        self._folder.cleanup()

    def answers(self, file: PageFile, data: bytes) -> list[dict[str, Any]]:
        """Return the answers for every page of a file, an error where the child did not live."""
        for _ in range(2):  # twice: the first child may have died of something else
            reply = self._ask(file, data)
            if reply is not None:
                return reply
        sha256 = hashlib.sha256(data).hexdigest()
        reason = "reading this page ended the program; save it again as JPEG or PNG"
        return [failed(self._model, file.source, sha256, reason)]

    def _ask(self, file: PageFile, data: bytes) -> list[dict[str, Any]] | None:
        child = self._child or self._start()
        assert child.stdin is not None
        assert child.stdout is not None
        head = json.dumps({"source": file.source, "bytes": len(data)}).encode() + b"\n"
        try:
            child.stdin.write(head + data)
            child.stdin.flush()
            ready, _, _ = select([child.stdout], [], [], self._seconds)
            line = child.stdout.readline() if ready else b""
        except BrokenPipeError:
            line = b""
        if not line.endswith(b"\n"):
            self._end()
            return None
        return list(json.loads(line))

    def _start(self) -> subprocess.Popen[bytes]:
        model = self._model
        words = [self._folder.name, model.engine, str(model.threads), model.loader]
        # The child's module path is ours, so that it finds the same code and loader.
        paths = os.pathsep.join(path or os.getcwd() for path in sys.path)
        self._child = subprocess.Popen(
            [sys.executable, "-m", "runtime.archive.isolated", *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": paths},
        )
        return self._child

    def _end(self) -> None:
        if self._child is not None:
            self._child.kill()
            self._child.communicate()
            self._child = None


def main(words: list[str]) -> None:
    """Answer what comes on stdin until it ends; the child's side."""
    folder, engine, threads, loader = words
    _limit_memory()
    classifier = load(loader, Path(folder), engine, int(threads))
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # no library's chatter may reach the parent
    while line := sys.stdin.buffer.readline():
        head = json.loads(line)
        data = sys.stdin.buffer.read(head["bytes"])
        found = answers(classifier, PageFile(head["source"]), data)
        replies.write(json.dumps(found).encode() + b"\n")
        replies.flush()


def _limit_memory() -> None:
    try:
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES, _MEMORY_BYTES))
    except (ImportError, ValueError, OSError):
        return  # no such limit on this system; the child is still only one process


if __name__ == "__main__":
    main(sys.argv[1:])
