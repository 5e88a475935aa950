"""The parity report of a bundle: Markdown, JSON and a picture, float32 beside the device."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from export.gates import Limits
from export.judge import EngineResult, Judged, operating_points
from export.source import Run, Source
from runtime.labels import LABEL_NAMES, LABELS
from runtime.metrics import wilson

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["SCHEMA", "as_json", "as_markdown", "draw", "share", "write_report"]

SCHEMA: Final = "ecg-edge/parity/1"


def write_report(folder: Path, run: Run, source: Source, judged: Judged, limits: Limits) -> None:
    """Write ``parity.json``, ``parity.md`` and, where an engine answered, ``parity.png``.

    Parameters
    ----------
    folder : Path
        The bundle's folder.
    run : Run
    source : Source
    judged : Judged
    limits : Limits
    """
    report = as_json(run, source, judged, limits)
    text = json.dumps(report, indent=1) + "\n"
    (folder / "parity.json").write_text(text, encoding="utf-8")
    (folder / "parity.md").write_text(as_markdown(report), encoding="utf-8")
    if judged.engines:
        draw(folder / "parity.png", run, source, judged.engines[0])


def share(hits: NDArray[np.bool_]) -> dict[str, Any]:
    """Return a proportion with its Wilson 95 % interval and its counts, as JSON values."""
    k, n = int(np.sum(hits)), len(hits)
    return {"value": k / n if n else None, "interval": list(wilson(k, n)), "k": k, "n": n}


def _figures(labels: NDArray[np.int64], p: NDArray[np.float64]) -> dict[str, Any]:
    right = p.argmax(axis=1) == labels
    return {
        "accuracy": share(right),
        "recall": {
            label: share(right[labels == c])
            for c, label in enumerate(LABELS)
            if np.any(labels == c)
        },
    }


def as_json(run: Run, source: Source, judged: Judged, limits: Limits) -> dict[str, Any]:
    """Return everything that was measured of a format, as JSON values."""
    labels = run.pages.labels
    return {
        "schema": SCHEMA,
        "model": source.bundle_name,
        "format": judged.format.id,
        "precision": judged.format.precision,
        "bytes": judged.size,
        "protocol": f"held-out pages of {len(source.folds)} folds, n = {len(labels)}",
        "passed": judged.passed,
        "reference": {
            "what": "the RUN's own held-out predictions",
            **_figures(labels, source.held_out),
        },
        "operating_points": {
            "run": operating_points(source.decision),
            "shipped": dict(judged.points),
        },
        "general": [rung.to_json() for rung in judged.general],
        "engines": [_engine(labels, source.held_out, result) for result in judged.engines],
        "refused_by": dict(judged.refused_by),
        "limits": asdict(limits),
    }


def _engine(
    labels: NDArray[np.int64], reference: NDArray[np.float64], result: EngineResult
) -> dict[str, Any]:
    drift = np.abs(result.held_out - reference)
    turned = result.held_out.argmax(axis=1) != reference.argmax(axis=1)
    return {
        "engine": result.engine,
        "version": result.version,
        "passed": result.passed,
        **_figures(labels, result.held_out),
        "labels_turned": int(turned.sum()),
        "mean_drift": float(drift.mean()),
        "max_drift": float(drift.max()),
        "median_us": round(result.median_us, 1),
        "gates": [rung.to_json() for rung in result.rungs],
    }


def as_markdown(report: Mapping[str, Any]) -> str:
    """Return the report as a page to read."""
    lines = [
        f"# Parity of {report['model']}, {report['format']}",
        "",
        f"{report['precision']}, {report['bytes'] / 1000:.0f} kB. Judged on the "
        f"{report['protocol']}: each fold's network was converted on its own and answered the "
        "pages that it had not seen. Intervals are Wilson 95 %.",
        "",
        _row(["", "accuracy", *(LABEL_NAMES[c] for c in report["reference"]["recall"])]),
        _row(["---"] * (2 + len(report["reference"]["recall"]))),
        _figure_row("RUN (float32)", report["reference"]),
        *(_figure_row(f"{e['engine']} {e['version']}", e) for e in report["engines"]),
        "",
        _row(["engine", "labels turned", "mean drift", "largest drift", "median, us, here"]),
        _row(["---"] * 5),
        *(
            _row(
                [
                    e["engine"],
                    str(e["labels_turned"]),
                    f"{e['mean_drift']:.5f}",
                    f"{e['max_drift']:.4f}",
                    f"{e['median_us']:.0f}",
                ]
            )
            for e in report["engines"]
        ),
        "",
    ]
    for label, point in report["operating_points"]["run"].items():
        shipped = report["operating_points"]["shipped"][label]
        lines.append(f"- operating point {label}: {point:.4f} in the RUN, {shipped:.4f} shipped")
    for engine, reason in report["refused_by"].items():
        lines.append(f"- {engine} does not load this format: {reason}")
    if report["engines"]:
        lines += ["", "![float32 against the device](parity.png)", ""]
    lines += ["## Gates", "", _row(["engine", "gate", "measured", "limit", "", "counts"])]
    lines.append(_row(["---"] * 6))
    lines += [_gate_row("any", gate) for gate in report["general"]]
    lines += [_gate_row(e["engine"], gate) for e in report["engines"] for gate in e["gates"]]
    return "\n".join([*lines, ""])


def _row(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _figure_row(name: str, figures: Mapping[str, Any]) -> str:
    return _row(
        [name, _share(figures["accuracy"]), *(_share(s) for s in figures["recall"].values())]
    )


def _share(value: Mapping[str, Any]) -> str:
    low, high = value["interval"]
    return f"{value['value']:.3f} ({low:.3f}-{high:.3f}), {value['k']}/{value['n']}"


def _gate_row(engine: str, gate: Mapping[str, Any]) -> str:
    measured = "n/a" if gate["measured"] is None else f"{gate['measured']:.5g}"
    verdict = "ok" if gate["passed"] else "**failed**"
    limit = f"{gate['sense']} {gate['limit']:g}"
    return _row([engine, gate["name"], measured, limit, verdict, gate["detail"]])


def draw(file: Path, run: Run, source: Source, result: EngineResult) -> None:
    """Draw every probability of float32 against the device's, and the recalls side by side."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 4), dpi=90, layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    labels = run.pages.labels
    for c, label in enumerate(LABELS):
        left.plot(source.held_out[:, c], result.held_out[:, c], ".", ms=2, label=LABEL_NAMES[label])
    left.plot([0, 1], [0, 1], color="0.6", lw=0.8, zorder=0)
    left.set(xlabel="probability, RUN float32", ylabel=f"probability, {result.engine}")
    left.legend(fontsize=7, frameon=False)
    for offset, name, p in (
        (-0.18, "RUN float32", source.held_out),
        (0.18, result.engine, result.held_out),
    ):
        shares = [share(p.argmax(axis=1)[labels == c] == c) for c in range(len(LABELS))]
        shown = [(c, s) for c, s in enumerate(shares) if s["n"]]
        values = np.array([s["value"] for _, s in shown])
        ends = np.array([s["interval"] for _, s in shown])
        right.errorbar(
            [c + offset for c, _ in shown],
            values,
            yerr=np.abs(ends.T - values),
            fmt="o",
            ms=4,
            capsize=3,
            label=name,
        )
    right.set_xticks(range(len(LABELS)), [label.replace("_", "\n") for label in LABELS], fontsize=7)
    right.set(ylabel="recall, 95 % interval", ylim=(0, 1.02))
    right.legend(fontsize=7, frameon=False)
    figure.savefig(file)
