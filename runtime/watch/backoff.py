"""Waits longer each time a place is away or full, and says so once, not each time."""

from __future__ import annotations

import logging
from typing import Final

__all__ = ["LONGEST_S", "Troubles"]

_log = logging.getLogger("ecg_edge.watch")

LONGEST_S: Final = 60.0
"""Seconds between two tries at most: a share that is back is used within a minute."""
_FIRST_S: Final = 1.0
"""Seconds to the second try; doubled after each."""


class Troubles:
    """The places that are in trouble at the moment."""

    def __init__(self) -> None:
        self._tries: dict[str, int] = {}
        self._next: dict[str, float] = {}

    def report(self, place: str, why: str, remedy: str, now: float) -> None:
        """Note that a place failed; one line in the log for the first time.

        Parameters
        ----------
        place : str
            As the log names it.
        why, remedy : str
            What happened and what to do.
        now : float
            The moment in seconds of a clock that never goes back.
        """
        tries = self._tries.get(place, 0)
        if tries == 0:
            _log.warning("%s: %s; %s. Trying again by itself", place, why, remedy)
        self._tries[place] = tries + 1
        # Bounded before it is raised to a power: months of trouble are many tries.
        self._next[place] = now + min(LONGEST_S, _FIRST_S * 2.0 ** min(tries, 10))

    def over(self, place: str) -> None:
        """Note that a place worked; one line in the log if it was in trouble."""
        if self._tries.pop(place, 0):
            self._next.pop(place, None)
            _log.warning("%s: works again", place)

    def in_trouble(self, place: str) -> bool:
        """Tell whether a place failed and has not worked since."""
        return place in self._tries

    def wait(self, place: str, now: float) -> float:
        """Return for how many seconds more a place is left alone; 0 where it is not."""
        return max(0.0, self._next.get(place, now) - now)
