"""Counts the rows of a destination once, in bounded memory, for the report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final

import numpy as np

from runtime.archive.destination import Destination
from runtime.archive.known import KnownPages

__all__ = ["COLUMNS", "Period", "Tally", "periods", "tally"]

COLUMNS: Final = tuple(
    "source status label confidence flags reasons layout px_per_mm site modified page "
    "model_name model_version engine precision".split()
)
_BINS: Final = 100
"""Steps of a histogram: quantiles come out to 0.01 of confidence and 0.3 px/mm."""
_PX_PER_MM: Final = 30.0
"""Upper end of the histogram of resolutions; 25.4 px/mm is a 645 dpi scan."""


@dataclass(slots=True)
class Period:
    """What the pages of a stretch of time looked like."""

    pages: int = 0
    statuses: Counter[str] = field(default_factory=Counter)
    labels: Counter[str] = field(default_factory=Counter)
    layouts: Counter[str] = field(default_factory=Counter)
    confidence: Any = field(default_factory=lambda: np.zeros(_BINS, np.int64))
    px_per_mm: Any = field(default_factory=lambda: np.zeros(_BINS, np.int64))

    def add(self, row: Mapping[str, Any]) -> None:
        """Count a row."""
        self.pages += 1
        self.statuses[row["status"]] += 1
        if row["label"]:
            self.labels[row["label"]] += 1
        self.layouts[row["layout"] or "not read"] += 1
        if row["confidence"] is not None:
            self.confidence[_bin(row["confidence"], 1.0)] += 1
        if row["px_per_mm"] is not None:
            self.px_per_mm[_bin(row["px_per_mm"], _PX_PER_MM)] += 1

    def merge(self, other: Period) -> None:
        """Add the counts of another stretch."""
        self.pages += other.pages
        self.statuses += other.statuses
        self.labels += other.labels
        self.layouts += other.layouts
        self.confidence += other.confidence
        self.px_per_mm += other.px_per_mm

    def confidence_at(self, fraction: float) -> float | None:
        """Return a quantile of the confidence."""
        return _quantile(self.confidence, 1.0, fraction)

    def px_per_mm_at(self, fraction: float) -> float | None:
        """Return a quantile of the resolution, original px per mm."""
        return _quantile(self.px_per_mm, _PX_PER_MM, fraction)


@dataclass(slots=True)
class Tally:
    """All counts of one model's rows."""

    model: str
    identities: Counter[str] = field(default_factory=Counter)
    total: Period = field(default_factory=Period)
    files: int = 0
    flags: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    sites: dict[str, Counter[str]] = field(default_factory=dict)
    """Site folder -> pages by status and by label."""
    days: dict[date, Period] = field(default_factory=dict)
    undated: int = 0
    pairs: Counter[tuple[str, str]] = field(default_factory=Counter)
    """(label of the table, label of the model or status where there is none) -> pages."""
    certain_pairs: Counter[tuple[str, str]] = field(default_factory=Counter)
    """The same for pages of status ``ok``."""
    flag_pairs: Counter[tuple[str, str]] = field(default_factory=Counter)
    """(label of the table, flag) -> pages with that flag."""
    unlabelled: int = 0


def tally(destination: Destination, model: str, known: KnownPages) -> Tally:
    """Count the rows of a model."""
    counts = Tally(model)
    for _, table in destination.read_all(destination.parts(model), COLUMNS):
        for row in table.to_pylist():
            _count(counts, row, known)
    return counts


def _count(counts: Tally, row: Mapping[str, Any], known: KnownPages) -> None:
    counts.total.add(row)
    counts.files += row["page"] == 1
    name = f"{row['model_name']} {row['model_version']}, {row['engine']}, {row['precision']}"
    counts.identities[name] += 1
    counts.flags.update(row["flags"])
    counts.reasons.update(row["reasons"])
    site = counts.sites.setdefault(row["site"], Counter())
    site[row["status"]] += 1
    if row["label"]:
        site[row["label"]] += 1
    moment: datetime | None = known.time_of(row["source"]) if known.has_times else row["modified"]
    if moment is None:
        counts.undated += 1
    else:
        counts.days.setdefault(moment.astimezone(UTC).date(), Period()).add(row)
    if known.has_labels:
        _compare(counts, row, known.label_of(row["source"]))


def _compare(counts: Tally, row: Mapping[str, Any], label: str | None) -> None:
    if label is None:
        counts.unlabelled += 1
        return
    counts.pairs[label, row["label"] or row["status"]] += 1
    if row["status"] == "ok":
        counts.certain_pairs[label, row["label"]] += 1
    counts.flag_pairs.update((label, flag) for flag in row["flags"])


_STEPS: Final[tuple[tuple[int, Callable[[date], str]], ...]] = (
    (31, lambda d: d.isoformat()),
    (26 * 7, lambda d: f"week of {(d - timedelta(d.weekday())).isoformat()}"),
    (3 * 366, lambda d: f"{d:%Y-%m}"),
    (8 * 366, lambda d: f"{d.year} Q{(d.month + 2) // 3}"),
    (10**6, lambda d: f"{d.year}"),
)
"""Longest span in days -> name of the period a day belongs to; some thirty periods at most."""


def periods(days: Mapping[date, Period]) -> dict[str, Period]:
    """Return the days gathered into days, weeks, months, quarters or years, in order of time."""
    if not days:
        return {}
    span = (max(days) - min(days)).days
    name = next(name for longest, name in _STEPS if span <= longest)
    found: dict[str, Period] = {}
    for day in sorted(days):
        found.setdefault(name(day), Period()).merge(days[day])
    return found


def _bin(value: float, top: float) -> int:
    return max(0, min(_BINS - 1, int(value / top * _BINS)))


def _quantile(histogram: Any, top: float, fraction: float) -> float | None:
    """Return the middle of the step in which a quantile lies."""
    n = int(histogram.sum())
    if not n:
        return None
    step = int(np.searchsorted(np.cumsum(histogram), fraction * n))
    return (min(step, _BINS - 1) + 0.5) * top / _BINS
