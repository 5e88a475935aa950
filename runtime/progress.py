"""A progress line on a terminal, and nothing anywhere else."""

from __future__ import annotations

import sys
from time import monotonic
from typing import Final, TextIO

__all__ = ["Progress"]

_INTERVAL_S: Final = 0.2
"""Seconds between two updates: fast enough to look alive, too slow to cost anything."""


class Progress:
    """Counts pages; shows how many a second and, where the total is known, the time left.

    Parameters
    ----------
    total : int or None
        Number of pages to come; None if unknown.
    stream : TextIO or None
        Where to draw; standard error by default. Nothing is drawn unless it is a terminal.
    """

    def __init__(self, total: int | None = None, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        self._shown = bool(getattr(self._stream, "isatty", lambda: False)())
        self._total = total
        self._done = self._skipped = 0
        self._started = self._last = monotonic()

    def step(self, pages: int = 1) -> None:
        """Count pages that were answered."""
        self._done += pages
        self.draw()

    def skip(self, pages: int) -> None:
        """Take note of pages that need no answer, which must not count as speed."""
        self._skipped += pages

    def expect(self, total: int) -> None:
        """Set the number of pages, skipped ones included, where it is known only later."""
        self._total = total

    def draw(self) -> None:
        """Draw the line if it is time to."""
        now = monotonic()
        if self._shown and now - self._last >= _INTERVAL_S:
            self._last = now
            print(f"\r\x1b[K{self.line(now)}", end="", file=self._stream, flush=True)

    def line(self, now: float) -> str:
        """Return what the terminal shows at a moment of the monotonic clock."""
        rate = self._done / max(now - self._started, 1e-9)
        here = self._done + self._skipped
        if not self._total:
            return f"{here} pages, {rate:.1f} a second"
        left = max(self._total - here, 0) / max(rate, 1e-9)
        filled = min(20, 20 * here // self._total)
        bar = "#" * filled + "." * (20 - filled)
        minutes, seconds = divmod(round(left), 60)
        return (
            f"[{bar}] {here}/{self._total} pages, {rate:.1f} a second, {minutes}:{seconds:02d} left"
        )

    def close(self) -> None:
        """Clear the line."""
        if self._shown:
            print("\r\x1b[K", end="", file=self._stream, flush=True)
