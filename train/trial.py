"""``python -m train try``: fits one recipe on some folds of a finished RUN, or averages several.

For comparing recipes only: nothing here ships. A trial reads the RUN's tensors and splits, so every
line of docs/experiments.md judges the same pages by the same folds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from runtime.errors import UsageError
from runtime.labels import LABELS
from runtime.preprocess import Preprocess
from train.calibrate import cross_fitted, log_probabilities, softmax
from train.config import NETWORKS, TrainConfig
from train.fit import FitJob, FitResult, run
from train.networks import TrainingData, fold_jobs, in_processes
from train.recordings import write_recordings
from train.run_folder import Predictions, RunFolder, read_oof, read_run, write_oof
from train.split import read_splits

HEAD = "| try | folds | accuracy | macro recall | recall | log loss |\n|---|---|---|---|---|---|"


def run_data(root: Path) -> TrainingData:
    """Return the pages of a finished RUN; ``values`` stays empty, the fits read tensors.npz."""
    rows = read_splits(RunFolder(root).splits)
    sessions = {name: i for i, name in enumerate(sorted({row.session_group for row in rows}))}
    return TrainingData(
        tuple(row.path for row in rows),
        np.array([LABELS.index(row.label) for row in rows]),
        np.array([sessions[row.session_group] for row in rows]),
        np.array([row.fold for row in rows]),
        np.empty(0),
    )


def trial_jobs(
    root: Path,
    name: str,
    folds: Sequence[int],
    config: TrainConfig,
    out: Path,
    architecture: str = "",
) -> list[FitJob]:
    """Return one fit a fold; state and results go below ``out``.

    Raises
    ------
    UsageError
        If the RUN has no such fold, or ``name`` is no network.
    """
    if name not in NETWORKS:
        raise UsageError(f"{name!r} is no network", f"choose from {', '.join(NETWORKS)}")
    config = replace(config, folds=int(read_run(root)["folds"]))
    if not folds or not set(folds) <= set(range(config.folds)):
        raise UsageError(f"folds {list(folds)}", f"the RUN has folds 0 to {config.folds - 1}")
    jobs = fold_jobs(name, run_data(root), RunFolder(root), config)
    if config.signals:
        out.mkdir(parents=True, exist_ok=True)
        write_recordings(Path(config.signals), Preprocess(), out / "recordings.npz")
    return [
        replace(
            jobs[k],
            architecture=architecture or jobs[k].architecture,
            work=out / f"fold-{k}",
            line=0,
            recordings=out / "recordings.npz" if config.signals else None,
        )
        for k in folds
    ]


def fit_trial(
    root: Path,
    name: str,
    folds: Sequence[int],
    config: TrainConfig,
    out: Path,
    architecture: str = "",
) -> str:
    """Fit a recipe on some folds, write oof.csv (uncalibrated) into ``out``; return its table row.

    Parameters
    ----------
    root
        A finished RUN.
    name
        ``cnn`` or ``cnn-accurate``.
    folds
        Which to hold out, one after the other.
    config
        Settings; ``folds`` is taken from the RUN.
    out
        Folder of the trial; an interrupted one goes on.
    architecture
        Another one of `train.architecture.ARCHITECTURES` than the network's own.
    """
    jobs = trial_jobs(root, name, folds, config, out, architecture)
    fits: list[FitResult] = in_processes(run, jobs, config.processes)
    data = run_data(root)
    logits = np.full((len(data.labels), len(LABELS)), np.nan)
    for k, fit in zip(folds, fits, strict=True):
        logits[data.folds == k] = fit.logits[data.folds == k]
    kept = np.isin(data.folds, folds)
    found = Predictions(
        tuple(path for path, keep in zip(data.paths, kept, strict=True) if keep),
        data.labels[kept],
        data.folds[kept],
        softmax(logits[kept]),
    )
    write_oof(out / "oof.csv", found)
    return table_row(out.name, found)


def average(folders: Sequence[Path]) -> Predictions:
    """Return the mean of the log probabilities of several models on the pages all of them have."""
    parts = [read_oof(folder / "oof.csv") for folder in folders]
    rows = [
        dict(zip(part.paths, log_probabilities(part.probabilities), strict=True)) for part in parts
    ]
    first = parts[0]
    kept = np.array([all(path in row for row in rows) for path in first.paths])
    paths = tuple(path for path, keep in zip(first.paths, kept, strict=True) if keep)
    logits = np.mean([[row[path] for path in paths] for row in rows], axis=0)
    return Predictions(paths, first.labels[kept], first.folds[kept], softmax(logits))


def table_row(name: str, found: Predictions) -> str:
    """Return one line of docs/experiments.md; the log loss has a temperature of the other folds."""
    guess = found.probabilities.argmax(axis=1)
    right = guess == found.labels
    recalls = [float(right[found.labels == c].mean()) for c in np.unique(found.labels)]
    logits = log_probabilities(found.probabilities)
    p = cross_fitted(logits, found.labels, found.folds)
    loss = -np.log(np.clip(p[np.arange(len(p)), found.labels], 1e-9, 1)).mean()
    folds = ",".join(str(k) for k in np.unique(found.folds))
    recall = " ".join(f"{r:.2f}".removeprefix("0") for r in recalls)
    return (
        f"| {name} | {folds} | {right.mean():.3f} | {np.mean(recalls):.3f} "
        f"| {recall} | {loss:.3f} |"
    )
