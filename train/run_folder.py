"""The RUN folder: where each file lies and what run.json says (schema ``ecg-edge/run/1``)."""

from __future__ import annotations

import csv
import json
import os
import platform
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np

from runtime.errors import OutputError, UsageError
from runtime.labels import LABELS

SCHEMA = "ecg-edge/run/1"

PACKAGES = (
    "numpy",
    "pillow",
    "scikit-learn",
    "scipy",
    "tensorflow-cpu",
    "tensorflow",
    "keras",
    "skops",
    "matplotlib",
)
"""Whose versions run.json records, where installed."""


@dataclass(frozen=True)
class RunFolder:
    """Paths inside a RUN folder."""

    root: Path

    @property
    def run_json(self) -> Path:
        """Everything that export needs to know, written last."""
        return self.root / "run.json"

    @property
    def splits(self) -> Path:
        """Path, class, groups and held-out fold of every page."""
        return self.root / "splits.csv"

    @property
    def calibration(self) -> Path:
        """Fixed list of training pages that set the int8 ranges."""
        return self.root / "calibration.csv"

    @property
    def tensors(self) -> Path:
        """Canonical tensors in the order of splits.csv."""
        return self.root / "tensors.npz"

    @property
    def recordings(self) -> Path:
        """Canonical signals of other hospitals' recordings, where some were fitted beside."""
        return self.root / "recordings.npz"

    @property
    def reduced(self) -> Path:
        """Canonical signals of smaller copies of the pages."""
        return self.root / "reduced.npz"

    @property
    def metrics(self) -> Path:
        """All scores with their intervals."""
        return self.root / "metrics.json"

    @property
    def report(self) -> Path:
        """What a colleague reads."""
        return self.root / "report.md"

    @property
    def figures(self) -> Path:
        """Folder of the report's pictures."""
        return self.root / "figures"

    def model(self, name: str) -> Path:
        """Folder of one model."""
        return self.root / name

    def create(self) -> None:
        """Make the folder.

        Raises
        ------
        OutputError
            If it cannot be made.
        """
        try:
            self.figures.mkdir(parents=True, exist_ok=True)
        except OSError as fault:
            raise OutputError(
                f"cannot write to {self.root}: {fault.strerror}", "choose another --out"
            ) from fault


@dataclass(frozen=True)
class Predictions:
    """Out-of-fold predictions of one model.

    Attributes
    ----------
    paths
        Pages.
    labels
        Class index, int64 [n].
    folds
        Fold in which the page was held out, int64 [n].
    probabilities
        float64 [n, 5].
    """

    paths: tuple[str, ...]
    labels: np.ndarray
    folds: np.ndarray
    probabilities: np.ndarray


def write_oof(file: Path, predictions: Predictions) -> None:
    """Write oof.csv: path, label, fold, p_<label> ..."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(["path", "label", "fold", *(f"p_{label}" for label in LABELS)])
        for path, label, fold, row in zip(
            predictions.paths,
            predictions.labels,
            predictions.folds,
            predictions.probabilities,
            strict=True,
        ):
            writer.writerow([path, LABELS[label], int(fold), *(f"{p:.7f}" for p in row)])


def read_oof(file: Path) -> Predictions:
    """Read oof.csv."""
    with file.open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    return Predictions(
        tuple(row["path"] for row in rows),
        np.array([LABELS.index(row["label"]) for row in rows]),
        np.array([int(row["fold"]) for row in rows]),
        np.array([[float(row[f"p_{label}"]) for label in LABELS] for row in rows]),
    )


def write_json(file: Path, content: Any) -> None:
    """Write JSON so that a reader never sees half a file."""
    temporary = file.with_name(file.name + ".tmp")
    text = json.dumps(_without_nan(content), indent=1, allow_nan=False)
    temporary.write_text(text + "\n", encoding="utf-8")
    os.replace(temporary, file)


def _without_nan(value: Any) -> Any:
    """Return the value with null for what could not be computed: JSON knows no NaN."""
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_nan(item) for item in value]
    return None if isinstance(value, float) and not isfinite(value) else value


def read_run(root: Path) -> dict[str, Any]:
    """Read run.json.

    Raises
    ------
    UsageError
        If the folder is no finished RUN or of another schema.
    """
    file = RunFolder(root).run_json
    if not file.is_file():
        raise UsageError(f"{root} holds no run.json", "finish it: python -m train DATA --out RUN")
    run: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    if run.get("schema") != SCHEMA:
        raise UsageError(f"{file}: schema {run.get('schema')!r}", f"this version reads {SCHEMA}")
    return run


def package_versions() -> dict[str, str]:
    """Return Python's and the main packages' versions."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def machine() -> dict[str, Any]:
    """Return what the numbers were computed on."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        for line in cpuinfo.read_text(errors="replace").splitlines():
            if line.startswith("model name"):
                model = line.split(":", 1)[1].strip()
                break
    return {
        "machine": platform.machine(),
        "cpu": model,
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.release()}",
    }


def git_commit() -> str:
    """Return the commit this code runs from, with ``+`` where the tree was changed since."""
    here = Path(__file__).resolve().parent
    try:
        commit = subprocess.run(
            ["git", "rev-parse", "HEAD"], cwd=here, capture_output=True, text=True, check=True
        ).stdout.strip()
        changed = subprocess.run(
            ["git", "status", "--porcelain", "--untracked-files=no"],
            cwd=here,
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""
    return commit + ("+" if changed else "")


def calibration_pages(labels: Sequence[int], per_class: int, seed: int) -> list[int]:
    """Return indices of a fixed, class-balanced list of pages, in random order."""
    rng = np.random.default_rng(seed)
    values = np.asarray(labels)
    chosen = [rng.permutation(np.flatnonzero(values == c))[:per_class] for c in range(len(LABELS))]
    return rng.permutation(np.concatenate(chosen)).tolist()
