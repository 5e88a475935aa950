"""Writes a bundle: complete in a folder beside its place, then renamed into it, or not at all."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from export.gates import Rung
from export.judge import Judged, Terms, operating_points
from export.model_card import INTENDED_USE, model_card
from export.parity import write_report
from export.source import Run, Source
from runtime import __version__
from runtime.bundle import SCHEMA
from runtime.errors import GateError, OutputError
from runtime.labels import CRITICAL_LABELS, LABEL_NAMES, LABELS

if TYPE_CHECKING:
    from runtime.prediction import Prediction

__all__ = ["GOLDEN_ATOL", "replaced_folder", "write_bundle"]

GOLDEN_ATOL: Final = {
    "float32": 0.002,
    "float16": 0.005,
    "dynamic": 0.02,
    "int8": 0.02,
    "int16x8": 0.02,
}
"""Precision -> how far a golden page's probability may move on another device or engine.

float32 differs by 1e-6 between engines; the rest is room for another release of numpy or Pillow.
Integer engines may round a step differently in every layer; 5 steps of 1/256. int16x8: LiteRT and
tflite-runtime look their softmax up in different tables."""

GOLDEN_SEED: Final = 0


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
            manifest["golden"] = _golden(folder, manifest, judged.engines[0].engine)
        _write_manifest(folder, manifest)
        if judged.format.runs_on_device:
            rungs = tuple(
                _try_golden(folder, manifest, result.engine, terms.engines)
                for result in judged.engines
            )
            manifest["gates"]["measured"] += [
                {"engine": result.engine, **rung.to_json()}
                for result, rung in zip(judged.engines, rungs, strict=True)
            ]
            failed = [
                f"{rung.name} {rung.measured:.4g}, limit {rung.limit:g} ({rung.detail})"
                for rung in rungs
                if not rung.passed
            ]
            if failed:
                raise GateError("; ".join(failed))
        write_report(folder, run, source, judged, terms.limits)
        _write_manifest(folder, manifest)
        card = model_card(run, source, judged, manifest, terms.audit)
        (folder / "MODEL_CARD.md").write_text(card, encoding="utf-8")
    return rungs


@contextmanager
def replaced_folder(target: Path) -> Iterator[Path]:
    """Yield an empty folder that takes the target's place only when the block ends well.

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    part = target.with_name(f".{target.name}.part-{os.getpid()}")
    old = target.with_name(f".{target.name}.old-{os.getpid()}")
    try:
        part.mkdir(parents=True)
        yield part
        for file in part.rglob("*"):
            if file.is_file():
                _sync(file)
        if target.exists():
            os.replace(target, old)
        try:
            os.replace(part, target)
        except BaseException:
            if old.exists():
                os.replace(old, target)
            raise
        shutil.rmtree(old, ignore_errors=True)
    except BaseException as fault:
        with contextlib.suppress(OSError):
            shutil.rmtree(part)
        if isinstance(fault, OSError):
            raise OutputError(
                f"{target}: cannot be written ({fault.strerror or fault})",
                "name a folder that is writable and has space; nothing was left behind",
            ) from fault
        raise


def _sync(file: Path) -> None:
    """Make sure that a file is on the disk before its folder is renamed."""
    descriptor = os.open(file, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


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


def _write_manifest(folder: Path, manifest: Mapping[str, Any]) -> None:
    text = json.dumps(manifest, indent=1, allow_nan=False) + "\n"
    (folder / "manifest.json").write_text(text, encoding="utf-8")


@cache
def _golden_pages() -> tuple[tuple[str, bytes], ...]:
    """Return name and content of the golden pages, drawn once for all bundles of an export."""
    from train.draw.samples import golden_pages

    return tuple(golden_pages(GOLDEN_SEED))


def _golden(folder: Path, manifest: dict[str, Any], engine: str) -> list[dict[str, Any]]:
    """Draw the golden pages and keep those that the runtime answers, with its own answers."""
    from runtime.classifier import Classifier

    (folder / "golden").mkdir()
    _write_manifest(folder, manifest)
    classifier = Classifier.from_bundle(folder, engine)
    entries = []
    for name, content in _golden_pages():
        answer: Prediction = classifier.classify(content)
        if answer.probabilities is None:
            continue
        (folder / "golden" / name).write_bytes(content)
        entries.append(
            {
                "file": f"golden/{name}",
                "sha256": hashlib.sha256(content).hexdigest(),
                "probabilities": {c: round(p, 6) for c, p in answer.probabilities.items()},
                "atol": GOLDEN_ATOL[manifest["model"]["precision"]],
            }
        )
    if not entries:
        raise GateError("no golden page is answered", "train on readable pages")
    return entries


def _try_golden(
    folder: Path,
    manifest: Mapping[str, Any],
    engine: str,
    engines: Mapping[str, Path | None],
) -> Rung:
    """Verify the finished bundle on one engine, in its own environment where it has one."""
    python = engines[engine]
    atol = GOLDEN_ATOL[manifest["model"]["precision"]]
    if python is None:
        from runtime.bundle import load_bundle
        from runtime.verify import verify_bundle

        results = verify_bundle(load_bundle(folder), engine)
        drifts = {r.file: r.drift for r in results}
    else:
        home = str(Path(__file__).resolve().parent.parent)
        command = [str(python), "-m", "runtime", "verify", "--json"]
        done = subprocess.run(
            [*command, "--model", str(folder.resolve()), "--engine", engine],
            env={**os.environ, "PYTHONPATH": home},
            capture_output=True,
            text=True,
            check=False,
        )
        try:
            rows = json.loads(done.stdout)["golden"]
        except ValueError:
            raise GateError(f"{engine} cannot verify the bundle: {done.stderr.strip()}") from None
        drifts = {row["file"]: row["drift"] for row in rows}
    worst = max((1.0 if drift is None else drift) for drift in drifts.values())
    off = [file for file, drift in drifts.items() if drift is None or drift > atol]
    return Rung(f"golden pages on {engine}, drift", worst, atol, detail=", ".join(off))
