"""The export from RUN to bundles: convert, judge, print every gate, write what passed."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from export.convert import convert
from export.formats import Format
from export.gates import read_limits
from export.judge import Judged, Terms, engines_at_hand, judge
from export.lock import differences
from export.source import Run, Source, read_run
from export.write_bundle import write_bundle
from runtime.errors import GateError, MissingExtraError, NoInputError, UsageError

__all__ = ["Order", "export"]


@dataclass(frozen=True)
class Order:
    """What to export.

    Attributes
    ----------
    run, out : Path
    formats : tuple of Format
    models : tuple of str or None
        None: all models of the RUN.
    limits : Path or None
        TOML file.
    engines : tuple of str or None
        None: all that are at hand.
    audit : Path or None
        Folder of ``python -m train audit``.
    fine_tune : bool
        See `export.fine_tune`.
    """

    run: Path
    out: Path
    formats: tuple[Format, ...]
    models: tuple[str, ...] | None = None
    limits: Path | None = None
    engines: tuple[str, ...] | None = None
    audit: Path | None = None
    fine_tune: bool = False


@dataclass(frozen=True)
class _Row:
    """A line of the closing table."""

    source: Source
    judged: Judged
    refusal: str

    @property
    def name(self) -> str:
        """Return the bundle's name."""
        return self.judged.format.bundle_name(self.source.bundle_name)


def export(order: Order) -> None:
    """Convert, judge and write; all formats are judged before a missed limit is raised.

    Raises
    ------
    GateError
        If any format missed a limit; those that kept theirs were written.
    EcgEdgeError
        For a RUN that cannot be read, missing packages or an output that cannot be written.
    """
    terms = Terms(
        limits=read_limits(order.limits),
        engines=_engines(order.engines),
        audit=_audit(order.audit),
        fine_tune=order.fine_tune,
    )
    run = read_run(order.run, order.models)
    if other := differences():
        print(
            "ecg-edge: converting with other packages than export/requirements.lock: "
            + ", ".join(other),
            file=sys.stderr,
        )
    rows: list[_Row] = []
    for source in run.sources:
        formats = [format for format in order.formats if format.source == source.kind]
        if formats:
            rows += _export_source(order.out, run, source, formats, terms)
    if not rows:
        raise UsageError(
            "none of these formats fits a model of this RUN", "see python -m export --list-formats"
        )
    print(_table(run, rows))
    refused = [row.name for row in rows if row.refusal]
    for row in rows:
        if row.refusal:
            print(f"REFUSED {row.name}: {row.refusal}")
    if refused:
        raise GateError(
            f"{len(refused)} of {len(rows)} refused and not written: {', '.join(refused)}",
            "the lines marked FAILED say why; see docs/export.md",
        )


def _export_source(
    out: Path,
    run: Run,
    source: Source,
    formats: Sequence[Format],
    terms: Terms,
) -> list[_Row]:
    rows = []
    with tempfile.TemporaryDirectory(prefix="ecg-export-") as name:
        _say(f"{source.name}: converting {len(source.folds)} folds and the final weights")
        converted = convert(run, source, formats, Path(name), _say, terms.fine_tune)
        for format in formats:
            _say(f"{source.name}: judging {format.id}")
            judged = judge(run, source, format, converted, terms)
            print(_gates(source, judged))
            refusal = "; ".join(judged.failed())
            if not refusal:
                try:
                    rungs = write_bundle(out, run, source, judged, terms)
                    for rung in rungs:
                        print(f"  {'any':<15} {rung.line()}")
                except GateError as fault:
                    refusal = fault.message
                    print(f"  FAILED {refusal}")
            rows.append(_Row(source, judged, refusal))
    return rows


def _gates(source: Source, judged: Judged) -> str:
    """Return every gate of a format, measured beside its limit."""
    lines = [f"{judged.format.bundle_name(source.bundle_name)} ({judged.format.id})"]
    if judged.failure:
        lines.append(f"  FAILED {judged.failure}")
    lines += [f"  {engine or 'any':<15} {rung.line()}" for engine, rung in judged.rungs()]
    lines += [
        f"  {engine:<15} does not load it: {why}" for engine, why in judged.refused_by.items()
    ]
    return "\n".join(lines)


def _table(run: Run, rows: Sequence[_Row]) -> str:
    lines = [
        "",
        f"{'BUNDLE':<32} {'ENGINE':<15} {'kB':>6} {'ACC.':>6} {'DROP':>7} {'TURNED':>6} "
        f"{'MEAN dp':>8} {'MAX dp':>7} {'US':>6}  VERDICT",
    ]
    for row in rows:
        judged = row.judged
        name = row.name
        size = judged.size / 1e3
        verdict = "REFUSED" if row.refusal else "written"
        if not judged.engines:
            lines.append(f"{name:<32} {judged.format.engine:<15} {size:>6.0f} {'':>45}  {verdict}")
        for result in judged.engines:
            p, reference = result.held_out, row.source.held_out
            right = p.argmax(axis=1) == run.pages.labels
            before = reference.argmax(axis=1) == run.pages.labels
            turned = int(np.sum(p.argmax(axis=1) != reference.argmax(axis=1)))
            drift = np.abs(p - reference)
            lines.append(
                f"{name:<32} {result.engine:<15} {size:>6.0f} {right.mean():>6.3f} "
                f"{before.mean() - right.mean():>+7.4f} {turned:>6} {drift.mean():>8.5f} "
                f"{drift.max():>7.4f} {result.median_us:>6.0f}  {verdict}"
            )
    return "\n".join(lines)


def _engines(wanted: Sequence[str] | None) -> dict[str, Path | None]:
    found = engines_at_hand()
    if wanted is None:
        return found
    known = ("litert", "onnxruntime", "tflite-runtime")
    for name in wanted:
        if name not in known:
            raise UsageError(f"unknown engine '{name}'", f"choose from {', '.join(known)}")
        if name not in found:
            raise MissingExtraError(name, f"judging on {name}")
    return {name: found[name] for name in wanted}


def _audit(folder: Path | None) -> dict[str, Any] | None:
    if folder is None:
        return None
    file = folder / "audit.json"
    try:
        return dict(json.loads(file.read_text(encoding="utf-8")))
    except (OSError, ValueError) as fault:
        raise NoInputError(f"{file} cannot be read ({fault})", "run python -m train audit") from (
            fault
        )


def _say(text: str) -> None:
    """Show progress where someone watches."""
    if sys.stderr.isatty():
        print(f"\r\x1b[K{text}", end="" if text else "\n", file=sys.stderr, flush=True)
