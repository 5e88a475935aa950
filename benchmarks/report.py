"""A run as text table, CSV and JSON."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any, Final

from benchmarks.compare import Change

__all__ = ["changes_table", "rows_csv", "text_report"]

_COLUMNS: Final[tuple[tuple[str, str, str], ...]] = (
    # heading, dotted path in the row, format
    ("bundle", "bundle", "s"),
    ("engine", "engine", "s"),
    ("prec.", "precision", "s"),
    ("thr", "threads", "d"),
    ("kB", "size_kb", ".0f"),
    ("load ms", "load_ms", ".1f"),
    ("first ms", "first_answer_ms", ".1f"),
    ("infer p50 us", "infer_us.p50", ".0f"),
    ("p95", "infer_us.p95", ".0f"),
    ("p99", "infer_us.p99", ".0f"),
    ("end-to-end p50 ms", "end_to_end_ms.p50", ".2f"),
    ("p95", "end_to_end_ms.p95", ".2f"),
    ("p99", "end_to_end_ms.p99", ".2f"),
    ("x decode", "end_to_end_over_decode", ".2f"),
    ("pages/s", "pages_per_second", ".0f"),
    ("RSS MB", "peak_rss_mb", ".0f"),
    ("accuracy", "accuracy", ".3f"),
    ("MI recall", "mi_recall", ".3f"),
)


def text_report(result: Mapping[str, Any]) -> str:
    """Return everything a run measured as plain text."""
    machine = result["machine"]
    parts = [
        f"{machine['cpu']}, {machine['cores']} cores, {machine['system']}, governor "
        f"{machine['governor'] or 'unknown'}, {result['date']}",
        f"pages: {result['pages']['n']} of {result['pages']['folder']}, "
        f"{result['pages']['size']} px; runs: {result['runs']}",
        _table([[heading for heading, _, _ in _COLUMNS], *map(_cells, result["rows"])]),
    ]
    if result["rows"]:
        parts.append("stages, median ms")
        parts.append(_stages(result["rows"]))
    for name in ("roofline", "cold_start", "memory", "peers"):
        if result.get(name):
            parts.append(name.replace("_", " "))
            parts.append(_indented(result[name]))
    return "\n".join(parts)


def rows_csv(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the rows as CSV, one column a figure."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow([path.replace(".", "_") for _, path, _ in _COLUMNS])
    for row in rows:
        writer.writerow([_get(row, path) for _, path, _ in _COLUMNS])
    return stream.getvalue()


def changes_table(changes: Sequence[Change], tolerance: float) -> str:
    """Return the comparison with a baseline; what exceeds the tolerance is marked."""
    lines = [["row", "figure", "before", "after", "ratio", ""]]
    for change in changes:
        mark = "SLOWER OR LARGER" if change.ratio > 1 + tolerance else ""
        lines.append(
            [
                *(change.row, change.figure, f"{change.before:.3f}", f"{change.after:.3f}"),
                *(f"{change.ratio:.2f}", mark),
            ]
        )
    return _table(lines)


def _stages(rows: Sequence[Mapping[str, Any]]) -> str:
    stages = list(rows[0]["stages_ms"])
    lines = [["bundle", "engine", *stages]]
    for row in rows:
        values = [f"{row['stages_ms'][stage]:.3f}" for stage in stages]
        lines.append([row["bundle"], row["engine"], *values])
    return _table(lines)


def _cells(row: Mapping[str, Any]) -> list[str]:
    if "failed" in row:
        return [row["bundle"], row["engine"], *[""] * (len(_COLUMNS) - 3), row["failed"]]
    return [_cell(_get(row, path), form) for _, path, form in _COLUMNS]


def _cell(value: Any, form: str) -> str:
    return "-" if value is None else format(value, form)


def _get(row: Mapping[str, Any], path: str) -> Any:
    value: Any = row
    for key in path.split("."):
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


def _table(lines: Sequence[Sequence[str]]) -> str:
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def _indented(value: Any, depth: int = 1) -> str:
    """Return a nested result as indented lines; a summary of durations takes one line."""
    pad = "  " * depth
    if isinstance(value, Mapping) and set(value) == {"p50", "p95", "p99", "n"}:
        return f"{pad}p50 {value['p50']:.1f}  p95 {value['p95']:.1f}  p99 {value['p99']:.1f}"
    if not isinstance(value, Mapping):
        return pad + (f"{value:.4g}" if isinstance(value, float) else str(value))
    lines = []
    for key, item in value.items():
        if _nested(item):
            lines += [f"{pad}{key}:", _indented(item, depth + 1)]
        else:
            lines.append(f"{pad}{key}: {_indented(item, 0)}")
    return "\n".join(lines)


def _nested(item: Any) -> bool:
    return isinstance(item, Mapping) and set(item) != {"p50", "p95", "p99", "n"}
