"""What a table of the site's own tells about the pages: their labels and recording times."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from runtime.errors import NoInputError, UsageError
from runtime.labels import LABEL_NAMES

__all__ = ["KnownPages", "read_known"]

_PATH: Final = "path"
_LABEL: Final = "label"
_IDS: Final = {
    **{label: label for label in LABEL_NAMES},
    **{name.casefold(): label for label, name in LABEL_NAMES.items()},
}


@dataclass(slots=True)
class KnownPages:
    """Labels and times by path; a path matches a source that ends with it."""

    labels: dict[str, str] = field(default_factory=dict)
    times: dict[str, datetime] = field(default_factory=dict)
    unknown_labels: Counter[str] = field(default_factory=Counter)
    """Labels that are none of the model's classes."""
    unreadable_times: int = 0
    has_labels: bool = False
    has_times: bool = False

    def label_of(self, source: str) -> str | None:
        """Return the label id of a source, None where the table tells none."""
        return next((self.labels[tail] for tail in _tails(source) if tail in self.labels), None)

    def time_of(self, source: str) -> datetime | None:
        """Return the recording time of a source, None where the table tells none."""
        return next((self.times[tail] for tail in _tails(source) if tail in self.times), None)


def read_known(name: str, label_column: str | None, time_column: str | None) -> KnownPages:
    """Read a CSV file with a column ``path`` and columns of labels, times or both.

    Parameters
    ----------
    name : str
        The file.
    label_column : str or None
        Column of the labels, ids or names of the classes; None takes ``label`` if there is one.
    time_column : str or None
        Column of the recording times in ISO 8601 (``2026-11-24T08:30``); None reads no times.

    Raises
    ------
    NoInputError
        If the file cannot be read.
    UsageError
        If a column is missing.
    """
    try:
        with open(name, encoding="utf-8-sig", newline="") as stream:
            rows = csv.DictReader(stream)
            columns = list(rows.fieldnames or ())
            wanted = [c for c in (_PATH, label_column, time_column) if c]
            missing = [column for column in wanted if column not in columns]
            if missing or not {label_column or _LABEL, time_column} & set(columns):
                raise UsageError(
                    f"{name}: no column '{(missing or [_LABEL])[0]}'",
                    f"its columns are: {', '.join(columns) or 'none'}",
                )
            return _collect(rows, label_column or _LABEL, time_column)
    except (OSError, UnicodeDecodeError, csv.Error) as fault:
        raise NoInputError(f"{name}: cannot be read ({fault})", "name a CSV file") from fault


def _collect(rows: csv.DictReader[str], label_column: str, time_column: str | None) -> KnownPages:
    known = KnownPages(
        has_labels=label_column in (rows.fieldnames or ()), has_times=time_column is not None
    )
    for row in rows:
        path = (row[_PATH] or "").strip().removeprefix("./")
        label = (row.get(label_column) or "").strip()
        if label and label.casefold() in _IDS:
            known.labels[path] = _IDS[label.casefold()]
        elif label:
            known.unknown_labels[label] += 1
        if time_column and (text := (row[time_column] or "").strip()):
            try:
                moment = datetime.fromisoformat(text)
            except ValueError:
                known.unreadable_times += 1
            else:
                known.times[path] = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return known


def _tails(source: str) -> Iterator[str]:
    """Yield the source, then what is left of it without its first folder, and so on."""
    yield source
    start = source.find("/") + 1
    while start:
        yield source[start:]
        start = source.find("/", start) + 1
