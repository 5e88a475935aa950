"""Percentiles of a series of durations."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil
from typing import Any

__all__ = ["median", "percentile", "summary"]


def percentile(values: Sequence[float], q: float) -> float:
    """Return the smallest value that at least `q` percent of the values do not exceed.

    The nearest-rank definition: every percentile is a duration that was really measured.
    """
    if not values:
        raise ValueError("no values")
    ordered = sorted(values)
    return ordered[max(0, ceil(q / 100 * len(ordered)) - 1)]


def median(values: Sequence[float]) -> float:
    """Return the 50th percentile."""
    return percentile(values, 50)


def summary(values: Sequence[float]) -> dict[str, Any]:
    """Return p50, p95, p99 and n of a series, in the unit of the values."""
    return {
        "p50": percentile(values, 50),
        "p95": percentile(values, 95),
        "p99": percentile(values, 99),
        "n": len(values),
    }
