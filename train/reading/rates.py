"""Shares with their Wilson intervals and the target they are held against."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from runtime.metrics import wilson

__all__ = ["Rate", "rate_of"]


@dataclass(frozen=True)
class Rate:
    """A share of n trials.

    Parameters
    ----------
    name : str
        What is counted, in plain words.
    hits, n : int
        Successes out of trials.
    target : float or None
        Share that issue 3 asks for; None where it asks for none.
    at_most : bool
        True where the target is an upper limit.
    """

    name: str
    hits: int
    n: int
    target: float | None = None
    at_most: bool = False

    @property
    def share(self) -> float:
        """Share of successes; NaN without trials."""
        return self.hits / self.n if self.n else float("nan")

    @property
    def met(self) -> bool | None:
        """Whether the share meets the target; None where there is no target or no trial."""
        if self.target is None or not self.n:
            return None
        return self.share <= self.target if self.at_most else self.share >= self.target

    def to_record(self) -> dict[str, Any]:
        """Return plain numbers for reading.json."""
        low, high = wilson(self.hits, self.n)
        return {
            "name": self.name,
            "hits": self.hits,
            "n": self.n,
            "share": round(self.share, 5) if self.n else None,
            "interval": [round(low, 5), round(high, 5)],
            "target": self.target,
            "at_most": self.at_most,
            "met": self.met,
        }


def rate_of(
    name: str, outcomes: Iterable[bool], target: float | None = None, *, at_most: bool = False
) -> Rate:
    """Count a series of outcomes."""
    seen = [bool(outcome) for outcome in outcomes]
    return Rate(name, sum(seen), len(seen), target, at_most)
