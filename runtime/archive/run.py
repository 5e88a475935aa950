"""One run of the command: checks what can be checked at once, then opens the cluster."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from contextlib import suppress
from itertools import chain
from threading import Thread
from time import monotonic
from typing import Final

from runtime.archive.batch import BatchResult
from runtime.archive.cluster import dashboard_line, open_client
from runtime.archive.destination import open_destination
from runtime.archive.model import pack
from runtime.archive.schedule import Totals, score
from runtime.archive.source import PageFile, absolute, list_pages
from runtime.bundle import load_bundle
from runtime.errors import NoInputError, UsageError
from runtime.inputs import STDIN
from runtime.progress import Progress

__all__ = ["run_archive"]

_LINE_S: Final = 60.0
"""Seconds between two lines of progress where standard error is a log and no terminal."""


def run_archive(args: argparse.Namespace) -> Totals:
    """Answer a source into a destination; see `runtime.commands.archive` for the arguments.

    Raises
    ------
    EcgEdgeError
        Whatever keeps the run from starting, or stops it; a stopped run can be started again.
    """
    _check_places(args.source, args.out)
    bundle = load_bundle(args.model)
    model = pack(bundle, args.engine, args.threads)
    model.open()  # a broken bundle or a missing engine is told before any worker starts
    open_destination(args.out)
    files = _first(args.source)
    watcher = _Watcher(quiet=args.quiet)
    with open_client(args.scheduler, args.workers) as client:
        watcher.say(dashboard_line(client))
        watcher.count(args.source)
        try:
            return score(
                files,
                args.out,
                model,
                client,
                batch_files=args.batch,
                retry_errors=args.retry_errors,
                listener=watcher,
            )
        except KeyboardInterrupt:
            watcher.close()
            watcher.say("stopped; what was answered is kept, the same command goes on from there")
            raise
        finally:
            watcher.close()


def _check_places(source: str, destination: str) -> None:
    """Refuse a destination inside the source and the reverse: pictures of reports are no pages."""
    if source == STDIN:
        return
    a, b = absolute(source).rstrip("/") + "/", absolute(destination).rstrip("/") + "/"
    if a.startswith(b) or b.startswith(a):
        raise UsageError(
            f"{source} and {destination} lie one inside the other", "name a folder elsewhere"
        )


def _first(source: str) -> Iterator[PageFile]:
    """Return the listing after making sure that there is something in it."""
    files = list_pages(source)
    first = next(files, None)
    if first is None:
        raise NoInputError(f"{source}: no page in it", "check the name and the files' endings")
    return chain([first], files)


class _Watcher:
    """Shows the progress: a bar on a terminal, a line a minute in a log."""

    def __init__(self, quiet: bool) -> None:
        self._quiet = quiet
        self._terminal = sys.stderr.isatty()
        self._progress = Progress()
        self._told = False
        self._last = monotonic()

    def say(self, line: str) -> None:
        """Write a line on standard error."""
        if not self._quiet:
            print(line, file=sys.stderr, flush=True)

    def count(self, source: str) -> None:
        """Count the files beside the run, for the time left."""
        if source != STDIN and not self._quiet:
            Thread(target=self._count, args=(source,), daemon=True).start()

    def _count(self, source: str) -> None:
        # Where counting fails, so will the run, which tells why.
        with suppress(Exception):
            self._progress.expect(sum(1 for _ in list_pages(source)))

    def answered(self, result: BatchResult) -> None:
        """Count a batch."""
        if not self._quiet:
            self._progress.step(result.files)
            self._tell()

    def skipped(self, files: int) -> None:
        """Count files that were held already."""
        self._progress.skip(files)

    def waiting(self, threads: int) -> None:
        """Keep the line alive, and tell once where there is nobody to work."""
        if threads == 0 and not self._told:
            self._told = True
            self.say("no worker has joined the cluster yet; waiting for one")
        if not self._quiet:
            self._progress.draw()
            self._tell()

    def _tell(self) -> None:
        now = monotonic()
        if not self._terminal and now - self._last >= _LINE_S:
            self._last = now
            self.say(self._progress.line(now).rpartition("] ")[2])  # without the bar

    def close(self) -> None:
        """Clear the bar."""
        self._progress.close()
