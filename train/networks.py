"""Cross-validates a network, calibrates it, and writes its files into the RUN folder.

TensorFlow runs in child processes only: it reads threads and memory allocation from the
environment at its start, and two folds side by side, one thread each, use two cores best.
"""

from __future__ import annotations

import csv
import logging
import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from runtime.labels import LABELS
from train.architecture import ARCHITECTURES
from train.calibrate import Calibration, calibrate
from train.config import NETWORKS, TrainConfig
from train.fit import ENVIRONMENT, FitJob, FitResult, prepare_process, run
from train.run_folder import Predictions, RunFolder, write_oof

HISTORY_COLUMNS = ("fit", "epoch", "learning_rate", "loss", "accuracy", "val_loss", "val_accuracy")

UNFAMILIAR_SHARE = 0.005
"""Share of the data set's own pages that the out-of-distribution limit may call unfamiliar."""


@dataclass(frozen=True)
class TrainingData:
    """What every model is fitted on.

    Attributes
    ----------
    paths, labels, groups, folds
        Of all pages.
    values
        Canonical tensors, uint8 [n, 192, 512].
    """

    paths: tuple[str, ...]
    labels: np.ndarray
    groups: np.ndarray
    folds: np.ndarray
    values: np.ndarray


@dataclass(frozen=True)
class NetworkResult:
    """A cross-validated network.

    Attributes
    ----------
    name
        Folder below the RUN folder.
    calibration
        See `train.calibrate`.
    features_quality
        Means, scale and limit for runtime.quality.out_of_distribution.
    epochs
        After how many epochs the model on all data was taken.
    facts
        Parameters, multiplications and sizes of files.
    """

    name: str
    calibration: Calibration
    features_quality: dict[str, Any]
    epochs: int
    facts: dict[str, Any]


@contextmanager
def fitting_environment() -> Iterator[None]:
    """Set what a fitting process reads at its start; put back what was there before."""
    before = {name: os.environ.get(name) for name in ENVIRONMENT}
    os.environ.update(ENVIRONMENT)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def in_processes(function: Callable[..., Any], jobs: Sequence[Any], processes: int) -> list[Any]:
    """Return ``function(job)`` of each job, in order, from fresh processes."""
    results: dict[int, Any] = {}
    context = multiprocessing.get_context("spawn")
    with (
        fitting_environment(),
        ProcessPoolExecutor(min(processes, len(jobs)), context, max_tasks_per_child=1) as pool,
    ):
        numbers = {pool.submit(function, job): i for i, job in enumerate(jobs)}
        for future in as_completed(numbers):
            results[numbers[future]] = future.result()
    return [results[i] for i in range(len(jobs))]


def train_network(
    name: str, data: TrainingData, folder: RunFolder, config: TrainConfig
) -> NetworkResult:
    """Fit every fold and all the data, calibrate on the out-of-fold predictions, write all files.

    Parameters
    ----------
    name
        ``cnn`` or ``cnn-accurate``.
    data
        Pages; tensors.npz of ``folder`` must hold the same.
    folder
        Where ``<name>/`` goes.
    config
        Settings.
    """
    jobs = fold_jobs(name, data, folder, config)
    options = config.fit_options(name)
    last = _final_job(name, data, folder, config, options.epochs)
    if options.validation_share:  # only the folds tell how many epochs all the data get
        fits: list[FitResult] = in_processes(run, jobs, config.processes)
        last = replace(last, stop_after=max(1, round(median(fit.best_epoch for fit in fits))))
        final: FitResult = in_processes(run, [last], 1)[0]
    else:
        *fits, final = in_processes(run, [*jobs, last], config.processes)
    logits = np.zeros((len(data.labels), len(LABELS)))
    for k, fit in enumerate(fits):
        logits[data.folds == k] = fit.logits[data.folds == k]
    calibration = calibrate(logits, data.labels, data.folds, data.groups, config.seed)
    predictions = Predictions(data.paths, data.labels, data.folds, calibration.probabilities)
    write_oof(folder.model(name) / "oof.csv", predictions)
    write_history(folder.model(name) / "history.csv", [*fits, final])
    saving = SaveJob(
        NETWORKS[name],
        (data.values.shape[1], data.values.shape[2]),
        calibration.temperature,
        tuple(job.work / "best.weights.h5" for job in [*jobs, last]),
        tuple(model_files(folder, name, config.folds)),
    )
    facts = in_processes(save_models, [saving], 1)[0]
    return NetworkResult(
        name, calibration, features_quality(fits, final, data), final.best_epoch, facts
    )


def model_files(folder: RunFolder, name: str, folds: int) -> list[Path]:
    """Return the file of each fold's model, then that of the model on all data."""
    root = folder.model(name)
    return [*(root / f"fold-{k}.keras" for k in range(folds)), root / "model.keras"]


def fold_jobs(
    name: str, data: TrainingData, folder: RunFolder, config: TrainConfig
) -> list[FitJob]:
    """Return one fit a fold."""
    return [
        FitJob(
            name=f"{name} fold {k}",
            architecture=NETWORKS[name],
            tensors=folder.tensors,
            labels=tuple(data.labels.tolist()),
            groups=tuple(data.groups.tolist()),
            train=tuple(np.flatnonzero(data.folds != k).tolist()),
            test=tuple(np.flatnonzero(data.folds == k).tolist()),
            options=config.fit_options(name),
            seed=config.seed,
            work=folder.model(name) / "work" / f"fold-{k}",
            line=k % config.processes,
            recordings=folder.recordings if config.signals else None,
            reduced=folder.reduced if folder.reduced.is_file() else None,
        )
        for k in range(config.folds)
    ]


def _final_job(
    name: str, data: TrainingData, folder: RunFolder, config: TrainConfig, epochs: int
) -> FitJob:
    """Fit on all pages for as many epochs as the folds took, along the same learning rates."""
    options = replace(config.fit_options(name), validation_share=0.0)
    first = fold_jobs(name, data, folder, config)[0]
    return replace(
        first,
        name=f"{name} all data",
        train=tuple(range(len(data.labels))),
        test=(),
        options=options,
        stop_after=epochs,
        work=folder.model(name) / "work" / "all",
        line=0,
    )


def write_history(file: Path, fits: Sequence[FitResult]) -> None:
    """Write history.csv: one line an epoch of every fit."""
    with file.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, HISTORY_COLUMNS, restval="", lineterminator="\n")
        writer.writeheader()
        for fit in fits:
            writer.writerows(fit.history)


def features_quality(
    fits: Sequence[FitResult], final: FitResult, data: TrainingData
) -> dict[str, Any]:
    """Return what runtime.quality.out_of_distribution needs of the model on all data.

    The limit comes from the folds, where each page is judged by a model that has not seen it.
    """
    scores = np.zeros(len(data.labels))
    for k, fit in enumerate(fits):
        here = data.folds == k
        means, scale = class_means(fit.features[~here], data.labels[~here])
        scores[here] = _distances(fit.features[here], means, scale)
    means, scale = class_means(final.features, data.labels)
    return {
        "means": np.round(means, 6).tolist(),
        "scale": np.round(scale, 6).tolist(),
        "limit": float(np.quantile(scores, 1 - UNFAMILIAR_SHARE)),
    }


def class_means(features: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean of each class that occurs [k, C] and the spread within classes [C]."""
    present = np.unique(labels)
    means = np.stack([features[labels == c].mean(axis=0) for c in present])
    residual = features - means[np.searchsorted(present, labels)]
    spread = residual.std(axis=0)
    return means, np.maximum(spread, 1e-3 + 0.05 * spread.max())


def _distances(features: np.ndarray, means: np.ndarray, scale: np.ndarray) -> np.ndarray:
    steps = (features[:, None] - means[None]) / scale
    nearest: np.ndarray = (steps**2).mean(axis=2).min(axis=1)
    return nearest


@dataclass(frozen=True)
class SaveJob:
    """Weights to be written as whole models.

    Attributes
    ----------
    architecture
        Name in `train.cnn.ARCHITECTURES`.
    shape
        Height and width of the canonical tensor.
    temperature
        Put into the graph, so that the outputs are calibrated.
    weights, files
        Weights file and the .keras file it becomes; the last is the model on all data, which
        is written as ecg_cnn_model.h5 too.
    """

    architecture: str
    shape: tuple[int, int]
    temperature: float
    weights: tuple[Path, ...]
    files: tuple[Path, ...]


def save_models(job: SaveJob) -> dict[str, Any]:
    """Write .keras and .h5 files; return parameters and multiplications of the network."""
    prepare_process(0)
    from train import cnn

    model = cnn.build(
        ARCHITECTURES[job.architecture], (job.shape[0], job.shape[1], 1), job.temperature
    )
    for weights, file in zip(job.weights, job.files, strict=True):
        model.load_weights(weights)
        model.save(file)
    logging.getLogger("absl").setLevel(logging.ERROR)  # it calls .h5 legacy each time
    model.save(job.files[-1].with_name("ecg_cnn_model.h5"))
    return {
        "parameters": int(model.count_params()),
        "multiply_accumulates": cnn.multiply_accumulates(model),
        "evidence_shape": list(model.get_layer("evidence").output.shape[1:]),
    }
