"""Golden pages: drawn by our own code, with the answers that a bundle gave where it was made."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from export.bundle_folder import replaced_folder, write_manifest
from export.gates import Rung
from runtime.errors import GateError, MissingExtraError, UsageError

if TYPE_CHECKING:
    from runtime.prediction import Prediction

__all__ = ["GOLDEN_ATOL", "add_golden_pages", "renew_golden_pages"]

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

_RUNG: Final = "golden pages on {engine}, drift"


def add_golden_pages(
    folder: Path, manifest: dict[str, Any], engines: Mapping[str, Path | None]
) -> tuple[Rung, ...]:
    """Draw the golden pages, keep a bundle's answers to them, and try these on each engine.

    Parameters
    ----------
    folder : Path
        Of the bundle, with its weights and without golden pages.
    manifest : dict
        Its manifest; gets the answers and how far each engine is from them, and is written.
    engines : mapping
        Engine -> interpreter of its environment, None = this one. The first gives the answers.

    Returns
    -------
    tuple of Rung

    Raises
    ------
    GateError
        If no page is answered, or the engines disagree.
    """
    manifest["golden"] = []
    manifest["golden"] = _golden(folder, manifest, next(iter(engines)))
    write_manifest(folder, manifest)
    rungs = tuple(_try_golden(folder, manifest, *engine) for engine in engines.items())
    manifest["gates"]["measured"] += [
        {"engine": engine, **rung.to_json()} for engine, rung in zip(engines, rungs, strict=True)
    ]
    failed = [
        f"{rung.name} {rung.measured:.4g}, limit {rung.limit:g} ({rung.detail})"
        for rung in rungs
        if not rung.passed
    ]
    if failed:
        raise GateError("; ".join(failed))
    write_manifest(folder, manifest)
    return rungs


def renew_golden_pages(bundle: Path, at_hand: Mapping[str, Path | None]) -> tuple[Rung, ...]:
    """Ask a bundle for its golden pages anew: this release reads pages otherwise than that before.

    It gets this release's limits of readable pages, too, which belong to the reading. The weights
    and all else stay; the folder is replaced as a whole or not at all.

    Parameters
    ----------
    bundle : Path
        Folder of the bundle.
    at_hand : mapping
        Engine -> interpreter of its environment, as from `export.judge.engines_at_hand`.

    Returns
    -------
    tuple of Rung

    Raises
    ------
    BundleError
        If it is missing or damaged.
    GateError
        If no page is answered, or the engines disagree.
    MissingExtraError
        If an engine that the bundle was judged on is not here.
    UsageError
        If it has no golden pages, as one for Keras has none.
    """
    from runtime.bundle import load_bundle
    from runtime.quality import QualityLimits

    load_bundle(bundle)
    manifest = json.loads((bundle / "manifest.json").read_text(encoding="utf-8"))
    measured = manifest["gates"]["measured"]
    before = [row for row in measured if row["name"] == _RUNG.format(engine=row["engine"])]
    manifest["gates"]["measured"] = [row for row in measured if row not in before]
    if not before:
        raise UsageError(f"{bundle.name} has no golden pages", "name one that was made for devices")
    for row in before:
        if row["engine"] not in at_hand:
            raise MissingExtraError(row["engine"], f"the golden pages of {bundle.name}")
    manifest["quality"]["page"] = QualityLimits().to_manifest()
    with replaced_folder(bundle) as folder:
        shutil.copytree(bundle, folder, ignore=shutil.ignore_patterns("golden"), dirs_exist_ok=True)
        return add_golden_pages(
            folder, manifest, {row["engine"]: at_hand[row["engine"]] for row in before}
        )


@cache
def _golden_pages() -> tuple[tuple[str, bytes], ...]:
    """Return name and content of the golden pages, drawn once for all bundles of an export."""
    from train.draw.samples import golden_pages

    return tuple(golden_pages(GOLDEN_SEED))


def _golden(folder: Path, manifest: dict[str, Any], engine: str) -> list[dict[str, Any]]:
    """Draw the golden pages and keep those that the runtime answers, with its own answers."""
    from runtime.classifier import Classifier

    (folder / "golden").mkdir()
    write_manifest(folder, manifest)
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
    python: Path | None,
) -> Rung:
    """Verify the finished bundle on one engine, in its own environment where it has one."""
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
    return Rung(_RUNG.format(engine=engine), worst, atol, detail=", ".join(off))
