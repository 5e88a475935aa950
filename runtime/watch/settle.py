"""Tells which files have arrived: the ones whose size and time have stood still."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from runtime.watch.arrivals import Found, Stamp

__all__ = ["STILL_LOOKS", "Settler"]

STILL_LOOKS: Final = 2
"""A file has arrived once this many looks found it as the look before did."""


@dataclass(slots=True)
class _File:
    stamp: Stamp
    since: float
    """Moment (s) at which this stamp was seen first."""
    still: int = 0
    """Looks that found it unchanged."""
    retry_at: float = 0.0
    """Not before this moment (s)."""
    tries: int = 0


class Settler:
    """Keeps what the looks at a folder saw.

    Parameters
    ----------
    settle_s : float
        Seconds for which a file must have stood still; at least the time resolution of the
        file system (2 s on FAT), or a change within it goes unseen.
    known : callable
        Called once for a name that was not there at the look before; tells whether this very
        file was dealt with before.
    """

    def __init__(self, settle_s: float, known: Callable[[Found], bool]) -> None:
        self._settle_s = settle_s
        self._known = known
        self._waiting: dict[str, _File] = {}
        self._done: dict[str, Stamp] = {}

    @property
    def waiting(self) -> int:
        """Return how many files have not been dealt with."""
        return len(self._waiting)

    def look(self, found: Iterable[Found], now: float) -> list[Found]:
        """Take in a look at the whole folder.

        Parameters
        ----------
        found : iterable of Found
            All files that are there; what is not among them is forgotten.
        now : float
            The moment in seconds of a clock that never goes back.

        Returns
        -------
        list of Found
            The files that have arrived and are due, the oldest first.
        """
        waiting: dict[str, _File] = {}
        done: dict[str, Stamp] = {}
        ready: list[Found] = []
        for file in found:
            before = self._done.get(file.name)
            if before == file.stamp or (
                before is None and file.name not in self._waiting and self._known(file)
            ):
                done[file.name] = file.stamp
                continue
            entry = self._waiting.get(file.name)
            if entry is None or entry.stamp != file.stamp:
                entry = _File(file.stamp, now)
            else:
                entry.still += 1
            waiting[file.name] = entry
            if self._arrived(entry, now) and now >= entry.retry_at:
                ready.append(file)
        # Assigned at the end: a look that failed half-way leaves everything as it was.
        self._waiting, self._done = waiting, done
        return sorted(ready, key=lambda file: (file.stamp.mtime_ns, file.name))

    def _arrived(self, entry: _File, now: float) -> bool:
        return entry.still >= STILL_LOOKS and now - entry.since >= self._settle_s

    def finish(self, file: Found) -> None:
        """Note that a file was dealt with."""
        self._waiting.pop(file.name, None)
        self._done[file.name] = file.stamp

    def postpone(self, file: Found, now: float, longest_s: float) -> int:
        """Note that a file could not be dealt with; return how often that was so."""
        entry = self._waiting[file.name]
        entry.tries += 1
        entry.retry_at = now + min(longest_s, 2.0 ** (entry.tries - 1))
        return entry.tries

    def tries(self, file: Found) -> int:
        """Return how often a waiting file was postponed."""
        return self._waiting[file.name].tries

    def still_for(self, file: Found, now: float) -> float:
        """Return for how many seconds a waiting file has stood still."""
        return now - self._waiting[file.name].since

    def forget(self) -> None:
        """Forget everything, as if all files were new."""
        self._waiting, self._done = {}, {}
