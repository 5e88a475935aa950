"""Reads a RUN folder: its pages, held-out predictions and models, ready to be converted."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from export.baseline_graph import calibrated
from runtime.errors import NoInputError, UsageError
from runtime.labels import LABELS
from runtime.preprocess import Preprocess

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Pages", "Run", "Source", "read_run"]

SCHEMA: Final = "ecg-edge/run/1"
KERAS: Final = "keras"
SKLEARN: Final = "sklearn"


@dataclass(frozen=True)
class Pages:
    """The pages of a RUN, in the order of ``splits.csv``.

    Attributes
    ----------
    paths : tuple of str
    labels : ndarray of int64, shape [n]
        Class index.
    folds : ndarray of int64, shape [n]
        Fold in which each page is held out.
    groups : ndarray of int64, shape [n]
        Session group, for bootstrap intervals.
    tensors : ndarray of uint8, shape [n, H, W]
        Canonical tensors; x = value / 255.
    """

    paths: tuple[str, ...]
    labels: NDArray[np.int64]
    folds: NDArray[np.int64]
    groups: NDArray[np.int64]
    tensors: NDArray[np.uint8]


@dataclass(frozen=True)
class Source:
    """One model of a RUN as the workshop left it.

    Attributes
    ----------
    name : str
        Its name in ``run.json``, for example ``cnn``.
    kind : str
        ``"keras"`` or ``"sklearn"``.
    bundle_name : str
        What its bundle is called, for example ``ecg-tiny``.
    final : Path
        Weights fitted on all pages.
    folds : tuple of Path
        Weights fitted without fold 0, 1, ...
    temperature : float
        Divisor of the logits that the conversion has still to fold in; 1 where the weights
        hold it already.
    features : mapping or None
        How a baseline sees the tensor, for example ``{"kind": "block-mean", ...}``.
    decision, quality : mapping
        Parts of the manifest.
    held_out : ndarray of float64, shape [n, 5]
        Calibrated probabilities of each page by the model that had not seen it.
    """

    name: str
    kind: str
    bundle_name: str
    final: Path
    folds: tuple[Path, ...]
    temperature: float
    features: Mapping[str, Any] | None
    decision: Mapping[str, Any]
    quality: Mapping[str, Any]
    held_out: NDArray[np.float64]


@dataclass(frozen=True)
class Run:
    """A finished RUN folder."""

    root: Path
    record: Mapping[str, Any]
    """``run.json``."""
    metrics: Mapping[str, Any]
    """``metrics.json``."""
    preprocess: Preprocess
    pages: Pages
    calibration: NDArray[np.int64]
    """Indices of the pages that set integer ranges."""
    sources: tuple[Source, ...]


def read_run(root: Path, models: Sequence[str] | None = None) -> Run:
    """Read a RUN folder.

    Parameters
    ----------
    root : Path
        What ``python -m train`` wrote.
    models : sequence of str or None
        Names of the models wanted; None takes all.

    Raises
    ------
    NoInputError
        If there is no RUN, or it is unfinished.
    UsageError
        If it is of another schema, its files disagree, or it has no such model.
    """
    record = _read_json(root / "run.json")
    if record.get("schema") != SCHEMA:
        raise UsageError(
            f"{root / 'run.json'}: schema {record.get('schema')!r} is not {SCHEMA!r}",
            "train again with this release",
        )
    try:
        return _run(root, record, models)
    except FileNotFoundError as fault:
        raise NoInputError(f"{fault.filename} is missing", "finish the RUN: python -m train") from (
            fault
        )
    except (KeyError, TypeError, ValueError, IndexError) as fault:
        raise UsageError(
            f"{root}: the files of this RUN do not fit together ({fault!r})",
            "train again with this release",
        ) from fault


def _run(root: Path, record: Mapping[str, Any], models: Sequence[str] | None) -> Run:
    if list(record["labels"]) != list(LABELS):
        raise ValueError("labels differ from this release's")
    known = list(record["models"])
    unknown = sorted(set(models or ()) - set(known))
    if unknown:
        raise UsageError(
            f"this RUN has no model '{', '.join(unknown)}'", f"choose from {', '.join(known)}"
        )
    preprocess = Preprocess.from_manifest(record["preprocess"])
    pages = _pages(root, preprocess)
    metrics = root / "metrics.json"
    return Run(
        root=root,
        record=record,
        metrics=_read_json(metrics) if metrics.is_file() else {},
        preprocess=preprocess,
        pages=pages,
        calibration=_calibration(root, pages),
        sources=tuple(
            _source(root, record, name, pages) for name in known if not models or name in models
        ),
    )


def _pages(root: Path, preprocess: Preprocess) -> Pages:
    rows = _read_csv(root / "splits.csv")
    with np.load(root / "tensors.npz", allow_pickle=False) as stored:
        tensors = stored["values"]
    expected = (len(rows), *preprocess.shape[:2])
    if tensors.shape != expected:
        raise ValueError(f"tensors.npz holds {tensors.shape}, splits.csv asks for {expected}")
    sessions = [row["session_group"] for row in rows]
    return Pages(
        paths=tuple(row["path"] for row in rows),
        labels=np.array([LABELS.index(row["class"]) for row in rows], dtype=np.int64),
        folds=np.array([int(row["fold"]) for row in rows], dtype=np.int64),
        groups=np.unique(sessions, return_inverse=True)[1].astype(np.int64),
        tensors=tensors,
    )


def _calibration(root: Path, pages: Pages) -> NDArray[np.int64]:
    index = {path: i for i, path in enumerate(pages.paths)}
    rows = _read_csv(root / "calibration.csv")
    return np.array([index[row["path"]] for row in rows], dtype=np.int64)


def _source(root: Path, record: Mapping[str, Any], name: str, pages: Pages) -> Source:
    entry = record["models"][name]
    final = root / entry["file"]
    folds = tuple(root / file for file in entry["folds"])
    for file in (final, *folds):
        if not file.is_file():
            raise FileNotFoundError(2, "missing", str(file))
    calibration = entry["calibration"]
    temperature = 1.0 if calibration["folded_in"] else float(calibration["temperature"])
    kind = KERAS if final.suffix == ".keras" else SKLEARN
    held_out = _held_out(root / entry["oof"], pages)
    return Source(
        name=name,
        kind=kind,
        bundle_name=f"ecg-{entry.get('architecture', name)}",
        final=final,
        folds=folds,
        temperature=temperature,
        features=entry.get("features"),
        decision={"temperature": float(calibration["temperature"]), **entry["decision"]},
        quality={**record.get("quality", {}), "features": None, **entry.get("quality", {})},
        held_out=held_out if kind == KERAS else calibrated(held_out, temperature),
    )


def _held_out(file: Path, pages: Pages) -> NDArray[np.float64]:
    rows = {row["path"]: row for row in _read_csv(file)}
    values = [[float(rows[path][f"p_{label}"]) for label in LABELS] for path in pages.paths]
    return np.array(values, dtype=np.float64)


def _read_csv(file: Path) -> list[dict[str, str]]:
    with file.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def _read_json(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError as fault:
        raise NoInputError(f"{file} is missing", "make a RUN first: python -m train DATA") from (
            fault
        )
    except (OSError, ValueError) as fault:
        raise UsageError(f"{file}: not readable as JSON ({fault})", "train again") from fault
    return dict(content)
