"""Pictures of a run: latency against recall, and where the time of an answer goes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.latency import STAGES

__all__ = ["draw"]


def draw(rows: Sequence[Mapping[str, Any]], folder: Path, stem: str) -> list[Path]:
    """Write ``<stem>-latency.png`` and ``<stem>-stages.png``; return their paths."""
    import matplotlib as mpl

    mpl.use("Agg")
    measured = [row for row in rows if "failed" not in row]
    return [
        _latency_against_recall(measured, folder / f"{stem}-latency.png"),
        _stage_breakdown(measured, folder / f"{stem}-stages.png"),
    ]


def _latency_against_recall(rows: Sequence[Mapping[str, Any]], path: Path) -> Path:
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 4.5), layout="constrained")
    for row in rows:
        if row["mi_recall"] is None:
            continue
        axes.plot(row["infer_us"]["p50"], row["mi_recall"], "o", label=_name(row))
    axes.set(
        xscale="log",
        ylim=(0, 1.02),
        xlabel="inference only, median, microseconds (log)",
        ylabel="recall of active MI (as in the manifest)",
        title="Latency against recall",
    )
    axes.grid(alpha=0.3)
    axes.legend(loc="lower left", fontsize=8)
    figure.savefig(path, dpi=120)
    plt.close(figure)
    return path


def _stage_breakdown(rows: Sequence[Mapping[str, Any]], path: Path) -> Path:
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 1.5 + 0.35 * len(rows)), layout="constrained")
    names = [_name(row) for row in rows]
    left = [0.0] * len(rows)
    for stage in STAGES:
        widths = [row["stages_ms"][stage] for row in rows]
        axes.barh(names, widths, left=left, label=stage)
        left = [a + b for a, b in zip(left, widths, strict=True)]
    axes.invert_yaxis()
    axes.set(xlabel="milliseconds, median", title="Where the time of one answer goes")
    figure.legend(ncols=len(STAGES), fontsize=8, loc="outside lower center")
    figure.savefig(path, dpi=120)
    plt.close(figure)
    return path


def _name(row: Mapping[str, Any]) -> str:
    return f"{row['bundle']} {row['precision']} {row['engine']} x{row['threads']}"
