"""The hot folder: answers what arrives, loses nothing, and runs for months unattended.

For each file: write the answers (each in one step, on the disk), then the audit log, then the
ledger, then move the file if asked to. The end of the process at any point leaves a state from
which the next start goes on to exactly one answer a page for the file's last content.
"""

from __future__ import annotations

import errno
import hashlib
import logging
import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

from runtime.audit_log import AuditLog
from runtime.errors import ExitCode, NoInputError, OutputError
from runtime.inputs import looks_like_page
from runtime.mounts import Mount
from runtime.supervisor import StopSignal, notify
from runtime.watch.answering import Answering, Isolated, Reader
from runtime.watch.answers import AnswerFolder
from runtime.watch.arrivals import Found, Stamp, Taken, find_pages, head_of, starts_like_page, take
from runtime.watch.backoff import LONGEST_S, Troubles
from runtime.watch.durable import ChangedError, move_durably, return_held
from runtime.watch.ledger import Answered, Ledger, LedgerDamagedError, set_aside
from runtime.watch.places import (
    AUDIT,
    FOLDER,
    FULL,
    LEDGER,
    MOVES,
    NOT_ALLOWED,
    OUT,
    REMEDIES,
    PlaceLostError,
    WatchSettings,
    in_plain_words,
    reaching,
)
from runtime.watch.settle import Settler

__all__ = ["Watcher", "watch"]

_log = logging.getLogger("ecg_edge.watch")

_BLOCKING: Final = (FOLDER, OUT, LEDGER, AUDIT)
"""Without these there is no answering; files that cannot be moved are answered all the same."""
_PATIENCE: Final = 5.0
"""Times --settle for which a file that cannot be read is given time: a cart may be slow."""
_ONCE_PATIENCE_S: Final = 60.0
"""Seconds without any progress after which --once leaves files that go on changing."""
_SCAN_SHARE: Final = 4.0
"""Looking takes a fifth of the time at most, however large the folder."""
_SIGN_OF_LIFE_S: Final = 20.0
"""Rests are cut into pieces of this length (s), so that systemd's watchdog hears of us."""
_UNMATCHED_TRIES: Final = 3
"""Some shares show other times for an open file than for its name: taken as it is after these."""


def watch(
    settings: WatchSettings,
    reader: Reader,
    audit: AuditLog | None = None,
    isolated: Isolated | None = None,
) -> ExitCode:
    """Watch until SIGTERM or SIGINT, or for one pass with ``once``.

    Parameters
    ----------
    settings : WatchSettings
        Checked with `runtime.watch.places.check_places`.
    reader : Reader
        Answers the pages.
    audit : AuditLog or None
        Gets a line an answer.
    isolated : callable or None
        Answers a file in a process apart that was in hand whenever this one ended.

    Returns
    -------
    ExitCode
        OK after SIGTERM, INTERRUPTED after SIGINT; after one pass OK, SOME_INPUTS_FAILED, or
        OUTPUT if a file could not be moved.

    Raises
    ------
    NoInputError, OutputError
        If the watch cannot begin; with ``once`` also if a place is lost on the way.
    """
    with StopSignal() as stop:
        watcher = Watcher(
            settings, reader, audit, isolated, stopped=lambda: stop.received is not None
        )
        notify("READY=1", "STATUS=watching")
        try:
            while stop.received is None and not watcher.finished:
                rest = watcher.round()
                notify("WATCHDOG=1")
                while rest > 0 and stop.received is None and not watcher.finished:
                    stop.wait(min(rest, _SIGN_OF_LIFE_S))
                    rest -= _SIGN_OF_LIFE_S
                    notify("WATCHDOG=1")
        finally:
            notify("STOPPING=1")
            watcher.close()
        if stop.received is None:
            return watcher.exit_code
        _log.info("stopped by %s", stop.received.name)
        return ExitCode.OK if stop.received.name == "SIGTERM" else ExitCode.INTERRUPTED


class Watcher:
    """One watch: a folder, its ledger, and what the looks have seen so far.

    Parameters
    ----------
    settings, reader, audit, isolated
        See `watch`.
    clock : callable
        Seconds that never go back.
    stopped : callable
        Tells whether to leave after the file in hand.
    """

    def __init__(
        self,
        settings: WatchSettings,
        reader: Reader,
        audit: AuditLog | None = None,
        isolated: Isolated | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
        stopped: Callable[[], bool] = lambda: False,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._stopped = stopped
        self._part = f".ecg-edge.{_mark(settings)}.part"
        self._answers = AnswerFolder(settings.out, settings.explain, self._part)
        self._troubles = Troubles()
        self._answering = Answering(
            settings.folder, reader, self._answers, audit, self._troubles, isolated
        )
        self._settler = Settler(settings.settle_s, self._is_known)
        self._ledger: Ledger | None = Ledger.open(settings.ledger)
        places = {
            FOLDER: settings.folder,
            LEDGER: settings.ledger.parent,
            OUT: settings.out,
        }
        self._mounts = {place: Mount(path) for place, path in places.items()}
        self._targets = {
            root: Mount(root) for root in (settings.done, settings.failed) if root is not None
        }
        self._refused: set[str] = set()
        self._refused_now: set[str] = set()
        self._unopened: set[Found] = set()
        self._failed = self._unmoved = 0
        self._progress_at = clock()
        self.finished = False
        """With ``once``: everything that was there has been dealt with."""
        if settings.done is not None or settings.failed is not None:
            with suppress(OSError):
                return_held(settings.folder)

    @property
    def exit_code(self) -> ExitCode:
        """Return the exit code of a finished pass."""
        if self._unmoved:
            return ExitCode.OUTPUT
        return ExitCode.SOME_INPUTS_FAILED if self._failed else ExitCode.OK

    def close(self) -> None:
        """Close the ledger."""
        if self._ledger is not None:
            self._ledger.close()

    def round(self) -> float:
        """Look once and answer what has arrived; return the seconds to rest before the next.

        Raises
        ------
        NoInputError, OutputError
            With ``once``, if a place is lost.
        """
        now = self._clock()
        wait = max(self._troubles.wait(place, now) for place in _BLOCKING)
        if wait > 0:
            return wait
        try:
            return self._look_and_answer(now)
        except PlaceLostError as lost:
            return self._lost(lost)
        except LedgerDamagedError as fault:
            return self._begin_ledger_anew(fault)

    def _look_and_answer(self, now: float) -> float:
        self._check_mounts()
        ledger = self._open_ledger()
        ready = self._look(now)
        looked = self._clock()
        pause = max(self._settings.interval_s, _SCAN_SHARE * (looked - now))
        left = len(ready)
        for file in ready:
            # What arrives while a backlog is worked off must be looked at too.
            if self._stopped() or self._clock() - looked > pause:
                break
            left -= 1
            self._handle(ledger, file)
            notify("WATCHDOG=1")
        if self._settings.once:
            self._end_of_pass()
        return 0.0 if left else pause

    # -- looking ------------------------------------------------------------------------------

    def _check_mounts(self) -> None:
        """Notice a share that is not mounted: what is written under its name would go elsewhere."""
        for place, mount in self._mounts.items():
            with reaching(place):
                mount.check()

    def _look(self, now: float) -> list[Found]:
        self._refused_now = set()
        with reaching(FOLDER):
            # Whole before it is used: a share may break off half-way through.
            found = list(find_pages(self._settings.folder, self._refuse))
        self._troubles.over(FOLDER)
        self._refused = self._refused_now
        if self._unopened:
            self._unopened &= set(found)
        return self._settler.look(found, now)

    def _refuse(self, name: str, why: str) -> None:
        self._refused_now.add(name)
        if name not in self._refused:
            _log.warning("%s: %s", self._shown(name), why)

    def _is_known(self, file: Found) -> bool:
        """Tell whether the ledger has this very file and nothing is left to do with it."""
        assert self._ledger is not None
        with reaching(LEDGER):
            row = self._ledger.get(file.name)
        return row is not None and row.stamp == file.stamp and self._target_of(row) is None

    # -- answering ----------------------------------------------------------------------------

    def _handle(self, ledger: Ledger, file: Found) -> None:
        with reaching(LEDGER):
            row = ledger.get(file.name)
        if row is None or row.stamp != file.stamp:
            row = self._answer(ledger, file, row)
        if row is not None:
            self._move(file, row)

    def _answer(self, ledger: Ledger, file: Found, before: Answered | None) -> Answered | None:
        """Answer a file; return what the ledger now has of it, None where it has to wait."""
        path = self._settings.folder / file.name
        try:
            if not looks_like_page(file.name) and not starts_like_page(head_of(path)):
                self._finish(file)
                return None
            taken = take(path)
        except FileNotFoundError:
            return None
        except OSError as fault:
            self._not_opened(file, before, fault)
            return None
        if taken is None or not self._is_the_one(file, taken):
            self._settler.postpone(file, self._clock(), LONGEST_S)
            return None
        try:
            row = self._answering.bring(ledger, file, before, taken)
        except OSError as fault:
            self._not_written(file, fault)
            return None
        with reaching(LEDGER):
            ledger.commit(file.name, row)
        self._troubles.over(LEDGER)
        self._failed += row.failed
        _log.info("%s: answered, %d page(s)", self._shown(file.name), row.pages)
        return row

    def _is_the_one(self, file: Found, taken: Taken) -> bool:
        """Tell whether what was read is what stood still."""
        same = Stamp.of(taken.status) == file.stamp
        return same or self._settler.tries(file) >= _UNMATCHED_TRIES

    def _not_written(self, file: Found, fault: OSError) -> None:
        """Tell a folder that takes nothing from a file whose answer it does not take."""
        if fault.errno in FULL:
            raise PlaceLostError(OUT, fault) from fault
        with reaching(OUT):
            self._answers.probe()
        if self._settler.postpone(file, self._clock(), LONGEST_S) == 1:
            _log.warning(
                "%s: its answer cannot be written (%s); rename the file, or look at what has "
                "the answer's name in the folder of the answers",
                self._shown(file.name),
                fault.strerror,
            )
        self._give_up_if_once(file)

    def _not_opened(self, file: Found, before: Answered | None, fault: OSError) -> None:
        """Give a file that cannot be opened time; then say so once, and go on trying."""
        with reaching(FOLDER):
            os.scandir(self._settings.folder).close()
        now = self._clock()
        self._settler.postpone(file, now, LONGEST_S)
        patience = _PATIENCE * self._settings.settle_s
        if not self._settings.once and self._settler.still_for(file, now) < patience:
            return
        if file not in self._unopened:
            self._unopened.add(file)
            _log.warning("%s: cannot be opened (%s)", self._shown(file.name), fault.strerror)
            # An answer to what the file held when it could be read is not thrown away for this.
            if before is None:
                self._answering.write_unopened(file)
        self._give_up_if_once(file)

    def _give_up_if_once(self, file: Found) -> None:
        if self._settings.once:
            self._failed += 1
            self._finish(file)

    def _finish(self, file: Found) -> None:
        self._settler.finish(file)
        self._progress_at = self._clock()

    def _end_of_pass(self) -> None:
        """With ``once``: note whether everything that was there has been dealt with."""
        waiting = self._settler.waiting
        patience = _ONCE_PATIENCE_S + _PATIENCE * self._settings.settle_s
        if waiting and self._clock() - self._progress_at > patience:
            _log.warning("%d files go on changing and are left; run again later", waiting)
            self._failed += waiting
            waiting = 0
        self.finished = waiting == 0

    # -- moving -------------------------------------------------------------------------------

    def _target_of(self, row: Answered) -> Path | None:
        return self._settings.failed if row.failed else self._settings.done

    def _move(self, file: Found, row: Answered) -> None:
        """Move an answered file where that is asked for."""
        root, now, settings = self._target_of(row), self._clock(), self._settings
        if root is None:
            self._finish(file)
            return
        if not settings.once:
            # What looks broken may be a page that a cart has stopped in the middle of.
            patience = _PATIENCE * settings.settle_s if row.failed else 0.0
            if self._settler.still_for(file, now) < patience:
                return
            if self._troubles.wait(MOVES, now) > 0:
                return
        try:
            self._move_to(root, file, row)
        except (ChangedError, FileNotFoundError) as fault:
            if isinstance(fault, FileNotFoundError) and not root.is_dir():
                self._not_moved(root, file, fault)
            else:  # the file went away or was replaced; the next look shows it
                self._settler.postpone(file, now, LONGEST_S)
        except OSError as fault:
            self._not_moved(root, file, fault)
        else:
            self._troubles.over(MOVES)
            self._finish(file)

    def _move_to(self, root: Path, file: Found, row: Answered) -> None:
        source = self._settings.folder / file.name
        expected = os.lstat(source)
        if Stamp.of(expected) != file.stamp:
            raise ChangedError
        self._targets[root].check()
        target = root / file.name
        if root.is_dir():  # never made: where it is away, its share is not mounted
            target.parent.mkdir(parents=True, exist_ok=True)
        move_durably(source, target, row.sha256, expected, root / self._part)

    def _not_moved(self, root: Path, file: Found, fault: OSError) -> None:
        now = self._clock()
        tries = self._settler.postpone(file, now, LONGEST_S)
        if self._settings.once:
            self._unmoved += 1
            self._finish(file)
        if fault.errno in FULL | NOT_ALLOWED | {errno.ENODEV} or not root.is_dir():
            self._troubles.report(MOVES, in_plain_words(fault), REMEDIES[MOVES], now)
        elif tries == 1:
            _log.warning("%s: cannot be moved (%s)", self._shown(file.name), fault.strerror)

    # -- the ledger and lost places -----------------------------------------------------------

    def _open_ledger(self) -> Ledger:
        """Return the ledger, opened again if its file is another one or was lost."""
        if self._ledger is not None and self._ledger.in_place:
            return self._ledger
        self._drop_ledger()
        if not self._settings.ledger.parent.is_dir():
            raise PlaceLostError(LEDGER, FileNotFoundError(errno.ENOENT, "its folder is away"))
        try:
            self._ledger = Ledger.open(self._settings.ledger)
        except OutputError as fault:
            raise PlaceLostError(LEDGER, OSError(errno.EIO, fault.message)) from fault
        if self._troubles.in_trouble(LEDGER):
            with reaching(LEDGER):
                self._ledger.probe()
            self._troubles.over(LEDGER)
        return self._ledger

    def _drop_ledger(self) -> None:
        """Close the ledger; another one may know other files."""
        if self._ledger is not None:
            self._ledger.close()
            self._ledger = None
            self._settler.forget()

    def _begin_ledger_anew(self, fault: LedgerDamagedError) -> float:
        """Set a ledger aside that turned out damaged; the next round opens a new one."""
        self._drop_ledger()
        try:
            aside = set_aside(self._settings.ledger)
        except OutputError as lost:
            return self._lost(PlaceLostError(LEDGER, OSError(errno.EIO, lost.message)))
        _log.warning(
            "the ledger was damaged (%s) and is now %s; a new one is begun, and answers that are "
            "there already are taken over",
            fault,
            aside,
        )
        return 0.0

    def _lost(self, lost: PlaceLostError) -> float:
        """Note that a place is away or full; return the seconds to wait."""
        place, words = lost.place, in_plain_words(lost.fault)
        if self._settings.once:
            kind = NoInputError if place == FOLDER else OutputError
            raise kind(f"{place}: {words}", REMEDIES[place]) from lost.fault
        if place == LEDGER and lost.fault.errno not in FULL:
            self._drop_ledger()
        now = self._clock()
        self._troubles.report(place, words, REMEDIES[place], now)
        return self._troubles.wait(place, now)

    def _shown(self, name: str) -> str:
        """Return a file's name as logs may show it."""
        if self._settings.redact:
            return f"file {hashlib.sha256(os.fsencode(name)).hexdigest()[:12]}"
        return ascii(name)[1:-1]


def _mark(settings: WatchSettings) -> str:
    """Return what tells this watch's unfinished files from another's."""
    pair = f"{settings.folder.resolve()}\0{settings.out.resolve()}"
    return hashlib.sha256(os.fsencode(pair)).hexdigest()[:8]
