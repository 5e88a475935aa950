"""Compares a run with an earlier one as ratios, and says what became slower or larger."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

__all__ = ["Change", "compare"]

_WATCHED: Final = ("end_to_end_over_decode", "peak_rss_mb", "size_bytes")
"""Ratios and sizes, not milliseconds: they travel between a quiet and a busy moment."""


@dataclass(frozen=True, slots=True)
class Change:
    """One figure of one row, before and after."""

    row: str
    figure: str
    before: float
    after: float

    @property
    def ratio(self) -> float:
        """Return after over before; above 1 is worse."""
        return self.after / self.before if self.before else float("inf")


def compare(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Change]:
    """Return the watched figures of the rows that both results have.

    Inference is compared as its ratio to the scaled decode of the same run, so that a slower
    moment of the machine does not read as a regression.
    """
    old = {_key(row): row for row in before.get("rows", ())}
    changes = []
    for row in after.get("rows", ()):
        earlier = old.get(_key(row))
        if earlier is None:
            continue
        for figure in _WATCHED:
            a, b = _get(earlier, (figure,)), _get(row, (figure,))
            if a is not None and b is not None:
                changes.append(Change(_key(row), figure, a, b))
        a, b = _infer_over_decode(earlier), _infer_over_decode(row)
        if a is not None and b is not None:
            changes.append(Change(_key(row), "infer_over_decode", a, b))
    return changes


def _key(row: Mapping[str, Any]) -> str:
    return f"{row['bundle']} {row['engine']} x{row['threads']}"


def _infer_over_decode(row: Mapping[str, Any]) -> float | None:
    infer = _get(row, ("infer_us", "p50"))
    decode = _get(row, ("pillow_scaled_grey_decode_ms", "p50"))
    return None if infer is None or not decode else infer / 1e3 / decode


def _get(row: Mapping[str, Any], path: tuple[str, ...]) -> float | None:
    value: Any = row
    for key in path:
        value = value.get(key) if isinstance(value, Mapping) else None
    return float(value) if isinstance(value, (int, float)) else None
