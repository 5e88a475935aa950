"""Writes a bundle: complete in a folder beside its place, then renamed into it, or not at all."""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

from export.bundle_folder import replaced_folder, write_manifest
from export.gates import Rung
from export.golden import add_golden_pages
from export.judge import Judged, Terms, operating_points
from export.model_card import INTENDED_USE, model_card
from export.parity import write_report
from export.source import Run, Source
from runtime import __version__
from runtime.bundle import SCHEMA
from runtime.errors import GateError
from runtime.labels import CRITICAL_LABELS, LABEL_NAMES, LABELS

__all__ = ["write_bundle"]


def write_bundle(
    out: Path,
    run: Run,
    source: Source,
    judged: Judged,
    terms: Terms,
) -> tuple[Rung, ...]:
    """Write the bundle of a format that passed its gates.

    Parameters
    ----------
    out : Path
        Folder that holds bundles; made where needed.
    run : Run
    source : Source
    judged : Judged
        ``judged.passed`` must be true.
    terms : Terms
        The golden pages are tried on each of its engines that passed.

    Returns
    -------
    tuple of Rung
        The golden pages on each engine.

    Raises
    ------
    GateError
        If the format did not pass, or the engines disagree on a golden page.
    OutputError
        If the folder cannot be written.
    """
    if not judged.passed or judged.weights is None:
        raise GateError("; ".join(judged.failed()))
    name = judged.format.bundle_name(source.bundle_name)
    rungs: tuple[Rung, ...] = ()
    with replaced_folder(out / name) as folder:
        weights = folder / f"model{judged.format.suffix}"
        shutil.copyfile(judged.weights.path, weights)
        manifest = _manifest(name, run, source, judged, terms, weights)
        if judged.format.runs_on_device:
            engines = {result.engine: terms.engines[result.engine] for result in judged.engines}
            rungs = add_golden_pages(folder, manifest, engines)
        write_report(folder, run, source, judged, terms.limits)
        write_manifest(folder, manifest)
        card = model_card(run, source, judged, manifest, terms.audit)
        (folder / "MODEL_CARD.md").write_text(card, encoding="utf-8")
    return rungs


def _manifest(
    name: str, run: Run, source: Source, judged: Judged, terms: Terms, weights: Path
) -> dict[str, Any]:
    assert judged.weights is not None
    content = weights.read_bytes()
    reference = judged.engines[0] if judged.engines else None
    return {
        "schema": SCHEMA,
        "name": name,
        "version": __version__,
        "model": {
            "file": weights.name,
            "sha256": hashlib.sha256(content).hexdigest(),
            "bytes": len(content),
            "engine": judged.format.engine,
            "precision": judged.format.precision,
            "format": judged.format.id,
            "input": judged.weights.inputs[0],
            "output": list(judged.weights.outputs),
        },
        "labels": [
            {"id": c, "name": LABEL_NAMES[c], "critical": c in CRITICAL_LABELS} for c in LABELS
        ],
        "preprocess": run.preprocess.to_manifest(),
        "decision": _decision(source, judged),
        "quality": {key: value for key, value in source.quality.items() if value},
        "metrics": _metrics(run, source, judged),
        "gates": {
            "reference": "the RUN's float32 held-out predictions; the final weights against "
            "themselves before conversion",
            "limits": asdict(terms.limits),
            "measured": [
                {"engine": engine or "any", **rung.to_json()} for engine, rung in judged.rungs()
            ],
            "passed": True,
        },
        "golden": [],
        "provenance": _provenance(
            run, source, reference.version if reference else "", terms.fine_tune
        ),
        "requires": _requires(judged),
        "intended_use": INTENDED_USE,
        "license": "Apache-2.0",
    }


def _decision(source: Source, judged: Judged) -> dict[str, Any]:
    """Return the RUN's thresholds with the operating points that this format keeps."""
    decision = json.loads(json.dumps(source.decision))
    for label, threshold in operating_points(source.decision).items():
        point = decision["operating_points"][label]
        point = point if isinstance(point, dict) else {}
        point["threshold"] = judged.points[label]
        point["run_threshold"] = threshold
        decision["operating_points"][label] = point
    return dict(decision)


def _metrics(run: Run, source: Source, judged: Judged) -> dict[str, Any]:
    """Return the figures of this very format on its held-out pages, with intervals."""
    from train.scores import Estimate, score

    held_out = judged.engines[0].held_out if judged.engines else source.held_out
    scores = score(run.pages.labels, held_out, run.pages.groups, int(run.record["seed"]))

    def figure(value: Estimate) -> dict[str, Any]:
        return {"value": value.value, "interval": [value.low, value.high]}

    return {
        "protocol": f"{run.metrics.get('protocol', 'held-out')}: {len(source.folds)} folds by "
        "session, pooled held-out pages",
        "n": scores.n,
        "accuracy": figure(scores.accuracy),
        "macro_recall": figure(scores.macro_recall),
        "macro_f1": figure(scores.macro_f1),
        "ece": figure(scores.ece),
        "recall": {c: {**figure(v), "n": v.n} for c, v in scores.recall.items()},
        "confusion": [list(row) for row in scores.confusion],
    }


def _provenance(run: Run, source: Source, engine_version: str, fine_tuned: bool) -> dict[str, Any]:
    from importlib.metadata import PackageNotFoundError, version

    packages = dict(run.record.get("packages", {}))
    for package in ("tf2onnx", "skl2onnx", "onnx", "onnxruntime", "ai-edge-litert"):
        with contextlib.suppress(PackageNotFoundError):
            packages[package] = version(package)
    return {
        "git": run.record.get("git", ""),
        "seed": run.record.get("seed"),
        "data_sha256": run.record.get("data", {}).get("sha256", ""),
        "model": source.name,
        "calibration_pages": len(run.calibration),
        "fine_tuned_for_integers": fine_tuned,
        "engine_version": engine_version,
        "packages": packages,
    }


def _requires(judged: Judged) -> dict[str, Any]:
    return {
        "ecg-edge": f">={__version__}",
        "engines": [result.engine for result in judged.engines],
    }
