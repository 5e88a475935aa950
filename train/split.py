"""Parts a data set into folds so that nothing of one session lies on both sides."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path

import numpy as np
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

from runtime.errors import UsageError
from train.dataset import Dataset

COLUMNS = ("path", "class", "session_group", "near_duplicate_group", "fold", "sha256")


@dataclass(frozen=True)
class SplitRow:
    """One line of splits.csv; ``fold`` is the one that holds the page out."""

    path: str
    label: str
    session_group: str
    near_duplicate_group: str
    fold: int
    sha256: str


def grouped_folds(labels: np.ndarray, groups: Sequence[int], folds: int, seed: int) -> np.ndarray:
    """Return the held-out fold of each sample, int [n]: stratified, groups kept together.

    Raises
    ------
    UsageError
        If there are fewer groups than folds.
    """
    if len(set(groups)) < folds or np.bincount(labels).max() < folds:
        raise UsageError(
            f"{len(labels)} pages in {len(set(groups))} groups cannot fill {folds} folds",
            "ask for fewer --folds or give more data",
        )
    splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    return _assign(splitter.split(np.zeros(len(labels)), labels, list(groups)), len(labels))


def image_folds(labels: np.ndarray, folds: int, seed: int) -> np.ndarray:
    """Return folds that ignore the groups: only to show what that would have claimed."""
    splitter = StratifiedKFold(folds, shuffle=True, random_state=seed)
    return _assign(splitter.split(np.zeros(len(labels)), labels), len(labels))


def _assign(parts: Iterable[tuple[np.ndarray, np.ndarray]], n: int) -> np.ndarray:
    fold = np.full(n, -1)
    for number, (_, held_out) in enumerate(parts):
        fold[held_out] = number
    return fold


def inner_validation(labels: np.ndarray, groups: np.ndarray, share: float, seed: int) -> np.ndarray:
    """Return a mask of the samples set aside to choose when to stop, bool [n].

    Parameters
    ----------
    labels, groups
        Of the training part only; the held-out fold is never seen here.
    share
        Share set aside, about; 0 sets nothing aside, and so does a training part too small.
    """
    if share <= 0:
        return np.zeros(len(labels), dtype=bool)
    parts = min(max(2, round(1 / share)), len(np.unique(groups)), np.bincount(labels).max())
    if parts < 2:
        return np.zeros(len(labels), dtype=bool)
    return grouped_folds(labels, groups.tolist(), parts, seed) == 0


def split_rows(dataset: Dataset, folds: np.ndarray) -> list[SplitRow]:
    """Return the lines of splits.csv; groups the data set does not name are numbered ``g<n>``."""
    return [
        SplitRow(
            sample.path,
            sample.label,
            sample.session_group or f"g{group}",
            sample.near_duplicate_group or f"g{group}",
            int(fold),
            sample.sha256,
        )
        for sample, group, fold in zip(dataset.samples, dataset.groups, folds, strict=True)
    ]


def write_splits(path: Path, rows: Sequence[SplitRow]) -> None:
    """Write splits.csv."""
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(COLUMNS)
        for row in rows:
            writer.writerow(astuple(row))


def read_splits(path: Path) -> list[SplitRow]:
    """Read splits.csv."""
    with path.open(newline="", encoding="utf-8") as stream:
        return [
            SplitRow(
                row["path"],
                row["class"],
                row["session_group"],
                row["near_duplicate_group"],
                int(row["fold"]),
                row["sha256"],
            )
            for row in csv.DictReader(stream)
        ]
