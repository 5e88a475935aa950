"""Ratios on a machine that slows down and speeds up: all that is compared takes turns."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import chain
from typing import Any, Final

from benchmarks.latency import timed
from benchmarks.statistics import median, summary

__all__ = ["ratios", "summaries", "take_turns"]

_ROUNDS: Final = 10
_WARM_UP: Final = 2
"""Calls of a turn that do not count: whoever came before emptied the caches."""

Rounds = Mapping[str, list[list[float]]]
"""Name -> one list of durations a round."""


def take_turns(actions: Mapping[str, Callable[[], object]], runs: int) -> Rounds:
    """Time the actions round by round.

    Parameters
    ----------
    actions : mapping of str to callable
        What is timed, by name.
    runs : int
        Calls of each action, over all rounds; at least two a round.

    Returns
    -------
    mapping of str to list of list of float
        Durations in microseconds, round by round.
    """
    rounds: dict[str, list[list[float]]] = {name: [] for name in actions}
    for _ in range(_ROUNDS):
        for name, action in actions.items():
            rounds[name].append(timed(action, max(2, runs // _ROUNDS), _WARM_UP))
    return rounds


def summaries(rounds: Rounds) -> dict[str, Any]:
    """Return p50, p95, p99 and n of each action, in microseconds."""
    return {name: summary(list(chain(*series))) for name, series in rounds.items()}


def ratios(rounds: Rounds, base: str) -> dict[str, float]:
    """Return how many times as long as `base` each action takes.

    The median over the rounds of the ratio within a round, which a change of clock between two
    rounds leaves alone.
    """
    return {
        name: median([median(a) / median(b) for a, b in zip(series, rounds[base], strict=True)])
        for name, series in rounds.items()
    }
