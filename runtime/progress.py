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
        self._done = 0
        self._started = self._last = monotonic()

    def step(self) -> None:
        """Count one page."""
        self._done += 1
        now = monotonic()
        if self._shown and now - self._last >= _INTERVAL_S:
            self._last = now
            print(f"\r\x1b[K{self.line(now)}", end="", file=self._stream, flush=True)

    def line(self, now: float) -> str:
        """Return what the terminal shows at a moment of the monotonic clock."""
        rate = self._done / max(now - self._started, 1e-9)
        if not self._total:
            return f"{self._done} pages, {rate:.1f} a second"
        left = max(self._total - self._done, 0) / max(rate, 1e-9)
        filled = min(20, 20 * self._done // self._total)
        bar = "#" * filled + "." * (20 - filled)
        minutes, seconds = divmod(round(left), 60)
        return (
            f"[{bar}] {self._done}/{self._total} pages, {rate:.1f} a second, "
            f"{minutes}:{seconds:02d} left"
        )

    def close(self) -> None:
        """Clear the line."""
        if self._shown:
            print("\r\x1b[K", end="", file=self._stream, flush=True)
