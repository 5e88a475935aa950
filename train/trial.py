"""``python -m train try``: fits one recipe on some folds of a finished RUN, or averages several.

For comparing recipes only: nothing here ships. A trial reads the RUN's tensors and splits, so every
line of docs/experiments.md judges the same pages by the same folds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from runtime.errors import UsageError
from runtime.labels import LABELS
from runtime.preprocess import Preprocess
from train.architecture import ARCHITECTURES
from train.calibrate import cross_fitted, log_probabilities, softmax
from train.config import NETWORKS, TrainConfig
from train.fit import FitJob, FitResult, run
from train.measured import measured
from train.networks import TrainingData, fold_jobs, in_processes
from train.predict import PredictJob, moved, run_network
from train.recordings import write_recordings
from train.run_folder import Predictions, RunFolder, read_oof, read_run, write_oof
from train.split import read_splits

MEASURED = "measured"
"""Name of the trees of `train.measured` in a trial."""

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


@dataclass(frozen=True)
class Trial:
    """One recipe on some folds.

    Attributes
    ----------
    run
        A finished RUN.
    name
        ``cnn``, ``cnn-accurate`` or `MEASURED`.
    folds
        Which to hold out, one after the other.
    config
        Settings; ``folds`` is taken from the RUN.
    out
        Folder of state and results; an interrupted trial goes on.
    architecture
        Another one of `train.architecture.ARCHITECTURES` than the network's own.
    """

    run: Path
    name: str
    folds: Sequence[int]
    config: TrainConfig
    out: Path
    architecture: str = ""


def trial_jobs(trial: Trial) -> list[FitJob]:
    """Return one fit a fold.

    Raises
    ------
    UsageError
        If the RUN has no such fold, or there is no such network, architecture or teacher.
    """
    if trial.name not in NETWORKS:
        raise UsageError(f"{trial.name!r} is no network", f"choose from {', '.join(NETWORKS)}")
    if trial.architecture and trial.architecture not in ARCHITECTURES:
        raise UsageError(
            f"{trial.architecture!r} is no architecture", f"choose from {', '.join(ARCHITECTURES)}"
        )
    config = replace(trial.config, folds=_folds_of_run(trial))
    jobs = fold_jobs(trial.name, run_data(trial.run), RunFolder(trial.run), config)
    recordings = trial.out / "recordings.npz" if config.signals else None
    if recordings is not None:
        trial.out.mkdir(parents=True, exist_ok=True)
        write_recordings(Path(config.signals), Preprocess(), recordings, config.processes)
    return [
        replace(
            jobs[k],
            architecture=trial.architecture or jobs[k].architecture,
            work=trial.out / f"fold-{k}",
            line=0,
            recordings=recordings,
        )
        for k in trial.folds
    ]


def _folds_of_run(trial: Trial) -> int:
    """Return how many folds the RUN has, if it has those of the trial."""
    folds = int(read_run(trial.run)["folds"])
    if not trial.folds or not set(trial.folds) <= set(range(folds)):
        raise UsageError(f"folds {list(trial.folds)}", f"the RUN has 0 to {folds - 1}")
    return folds


def fit_trial(trial: Trial) -> str:
    """Fit a recipe, write oof.csv (uncalibrated) into its folder and return its table row.

    Raises
    ------
    UsageError
        As `trial_jobs`.
    """
    if trial.name == MEASURED:
        return judged(trial, _measured(trial))
    jobs = trial_jobs(trial)
    fits: list[FitResult] = in_processes(run, jobs, trial.config.processes)
    data = run_data(trial.run)
    logits = np.full((len(data.labels), len(LABELS)), np.nan)
    for k, fit in zip(trial.folds, fits, strict=True):
        logits[data.folds == k] = fit.logits[data.folds == k]
    return judged(trial, softmax(logits))


def _measured(trial: Trial) -> np.ndarray:
    _folds_of_run(trial)
    data, config = run_data(trial.run), trial.config
    return measured(
        RunFolder(trial.run).tensors,
        data.labels,
        data.folds,
        trial.folds,
        config.fit.balance,
        config.seed,
    )


def judged(trial: Trial, probabilities: np.ndarray) -> str:
    """Write oof.csv of the trial's folds, from probabilities of all pages; return the row."""
    data = run_data(trial.run)
    kept = np.isin(data.folds, trial.folds)
    found = Predictions(
        tuple(path for path, keep in zip(data.paths, kept, strict=True) if keep),
        data.labels[kept],
        data.folds[kept],
        probabilities[kept],
    )
    write_oof(trial.out / "oof.csv", found)
    return table_row(trial.out.name, found)


def moved_pages(trial: Trial, columns: Sequence[int]) -> str:
    """Judge the RUN's own fold models by the mean over pages moved by some columns.

    Raises
    ------
    UsageError
        As `trial_jobs`, or if the RUN has no such models.
    """
    trial_jobs(trial)  # the checks
    data, folder = run_data(trial.run), RunFolder(trial.run)
    with np.load(folder.tensors, allow_pickle=False) as stored:
        values = stored["values"]
    logits = np.full((len(data.labels), len(LABELS)), np.nan)
    for k in trial.folds:
        here = data.folds == k
        file = folder.model(trial.name) / f"fold-{k}.keras"
        if not file.is_file():
            raise UsageError(f"{file} is missing", "name a network that the RUN has")
        pages = np.concatenate([moved(values[here], c) for c in columns])
        job = PredictJob(file, pages)
        found = log_probabilities(in_processes(run_network, [job], 1)[0])
        logits[here] = found.reshape(len(columns), here.sum(), -1).mean(axis=0)
    return judged(trial, softmax(logits))


def average(folders: Sequence[Path]) -> Predictions:
    """Return the mean of the log probabilities of several models on the pages all of them have.

    Raises
    ------
    UsageError
        If a folder holds no oof.csv.
    """
    for folder in folders:
        if not (folder / "oof.csv").is_file():
            raise UsageError(
                f"{folder} holds no oof.csv", "name folders of trials or of RUN models"
            )
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
