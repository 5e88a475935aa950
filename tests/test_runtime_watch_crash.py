"""The watch is ended before and after every single write, rename and commit of a day's work."""

from __future__ import annotations

import errno
import json
import os
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from stub_reader import StubReader, put, stub_page

from runtime.audit_log import AuditLog
from runtime.watch.ledger import Ledger
from runtime.watch.places import WatchSettings, check_places
from runtime.watch.watcher import Watcher

EARLIER, LATER, OTHER, BAD = (
    stub_page("normal", pages=3),
    stub_page("covid19", pages=1),
    stub_page("normal", text="other"),
    b"bad",
)


class KilledError(BaseException):
    """Stands for kill -9: nothing in the program catches it."""


class Killer:
    """Counts the steps that change something on the disk, and ends the process at one of them."""

    def __init__(self, at: int) -> None:
        self.at = at
        self.steps = 0
        self.armed = False
        """Set while the watch works; what carts do is not ended."""

    def around(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def step(*words: Any, **named: Any) -> Any:
            self._count()
            result = real(*words, **named)
            self._count()
            return result

        return step

    def _count(self) -> None:
        self.steps += self.armed
        if self.armed and self.steps == self.at:
            raise KilledError


class Day:
    """A day of one watch, with what the carts do in it."""

    def __init__(self, root: Path, killer: Killer) -> None:
        self.root, self.killer, self.now = root, killer, 0.0
        self.inbox = root / "in"
        self.inbox.mkdir(parents=True)
        self.settings = WatchSettings(
            self.inbox, root / "out", root / "l.sqlite", root / "done", root / "failed"
        )
        self.start()

    def start(self) -> None:
        check_places(self.settings)
        self.audit = AuditLog(self.root / "audit.jsonl", "watch")
        self.watcher = Watcher(self.settings, StubReader(), self.audit, clock=lambda: self.now)

    def end(self) -> None:
        self.watcher.close()
        self.audit.close()

    def look(self, times: int) -> None:
        for _ in range(times):
            self.killer.armed = True
            try:
                self.watcher.round()
                self.killer.armed = False
            except KilledError:
                self.killer.armed = False
                self.end()
                self.start()
            self.now += 2.0

    def run(self) -> None:
        put(self.inbox, "a.pdf", EARLIER)
        put(self.inbox, "sub/b.jpg", OTHER)
        put(self.inbox, "c.jpg", BAD)
        self.look(9)
        put(self.inbox, "a.pdf", LATER)
        self.look(20)
        self.end()

    def answers(self) -> dict[str, tuple[str, str | None]]:
        out = self.root / "out"
        return {
            str(path.relative_to(out)): (record["status"], record["label"])
            for path in out.rglob("*.ecg.json")
            for record in [json.loads(path.read_text())]
        }

    def kept(self, folder: str) -> Counter[bytes]:
        return Counter(
            path.read_bytes()
            for path in (self.root / folder).rglob("*")
            if path.is_file() and not path.name.endswith(".part")
        )


@pytest.fixture
def base(tmp_path: Path):
    """Return a folder in memory where there is one: a thousand commits wait for the disk."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else tmp_path) as folder:
        yield Path(folder)


@pytest.mark.parametrize("other_disk", [False, True], ids=["one-disk", "two-disks"])
def test_end_at_any_step_leaves_one_answer_a_page_and_every_file_once(
    base: Path, monkeypatch, other_disk: bool
) -> None:
    real_rename = os.rename

    def rename(source, target):
        if other_disk and Path(source).parent != Path(target).parent:
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
        real_rename(source, target)

    at, steps = 0, 1
    while at < steps:
        at += 1
        killer = Killer(at)
        with monkeypatch.context() as patch:
            patch.setattr(os, "rename", killer.around(rename))
            for name in ("replace", "unlink", "mkdir"):
                patch.setattr(os, name, killer.around(getattr(os, name)))
            # A step like any other, but what only a power cut would show need not be waited for.
            patch.setattr(os, "fsync", killer.around(lambda descriptor: None))
            for name in ("begin", "commit"):
                patch.setattr(Ledger, name, killer.around(getattr(Ledger, name)))
            # A process that was killed takes nothing back.
            patch.setattr(Ledger, "release", lambda self, name: None)
            patch.setattr(AuditLog, "write", killer.around(AuditLog.write))
            day = Day(base / str(at), killer)
            day.run()
        steps = max(steps, killer.steps)
        where = f"ended at step {at}"
        assert day.answers() == {
            "a.pdf.ecg.json": ("ok", "covid19"),
            "sub/b.jpg.ecg.json": ("ok", "normal"),
            "c.jpg.ecg.json": ("error", None),
        }, where
        assert day.kept("done") == Counter({EARLIER: 1, LATER: 1, OTHER: 1}), where
        assert day.kept("failed") == Counter({BAD: 1}), where
        assert day.kept("in") == Counter(), where
        lines = [json.loads(line) for line in (day.root / "audit.jsonl").read_text().splitlines()]
        assert {(line["status"], line["page"]) for line in lines} >= {("ok", 3), ("error", 1)}
    assert steps > 60, "the day has that many steps at least"
