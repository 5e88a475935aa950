"""Runs the training stage from a data folder to a finished RUN folder."""

from __future__ import annotations

import csv
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np

from runtime.errors import NoInputError
from runtime.labels import LABELS
from train import tensors
from train.baselines import BASELINES, TUTORIAL, Baseline, probabilities, save
from train.calibrate import Calibration, calibrate, log_probabilities
from train.config import NETWORKS, Selection, TrainConfig
from train.dataset import Dataset, load
from train.networks import NetworkResult, TrainingData, train_network
from train.progress import bar, say
from train.recordings import read_key, write_recordings
from train.reduced import SIZES, load_reduced
from train.run_folder import (
    SCHEMA,
    Predictions,
    RunFolder,
    calibration_pages,
    git_commit,
    machine,
    package_versions,
    write_json,
    write_oof,
)
from train.scores import score
from train.split import grouped_folds, split_rows, write_splits
from train.whole_page import read_whole_pages


def train(data: Path, out: Path, config: TrainConfig) -> RunFolder:
    """Train everything the settings ask for.

    Parameters
    ----------
    data
        Data folder.
    out
        RUN folder; an interrupted run in it goes on.
    config
        Settings.

    Raises
    ------
    NoInputError, UsageError, OutputError
        See `train.dataset` and `train.run_folder`.
    """
    from runtime.preprocess import Preprocess

    folder = RunFolder(out)
    folder.create()
    dataset = selected(load(data, lambda items: bar(items, "checking files")), config.select)
    say(f"{len(dataset.samples)} pages in {len(set(dataset.groups))} groups")
    folds = grouped_folds(dataset.labels, dataset.groups, config.folds, config.seed)
    write_splits(folder.splits, split_rows(dataset, folds))
    write_calibration(folder, dataset, config)
    preprocess = Preprocess()
    pages = tensors.load(dataset, preprocess, folder.tensors, config.processes)
    training = TrainingData(
        tuple(sample.path for sample in dataset.samples),
        dataset.labels,
        np.array(dataset.groups),
        folds,
        pages.values,
    )
    if any(name in NETWORKS for name in config.models):
        load_reduced(dataset, pages.layouts, preprocess, folder.reduced, config.processes)
    if config.signals:
        beside = write_recordings(
            Path(config.signals), preprocess, folder.recordings, config.processes
        )
        say(f"{beside['n']} recordings of other hospitals beside the pages")
    models, metrics = _all_models(training, dataset, folder, config)
    write_json(folder.metrics, {"schema": "ecg-edge/metrics/1", **metrics})
    run_json = _run_json(dataset, preprocess, config, models)
    if folder.reduced.is_file():
        run_json["reduced"] = {"sizes": list(SIZES), "sha256": read_key(folder.reduced)}
    if config.signals:
        run_json["recordings"] = beside
    write_json(folder.run_json, run_json)
    from train.report import write_report

    write_report(folder, dataset, pages, training)
    return folder


def selected(dataset: Dataset, select: Selection) -> Dataset:
    """Return the part of a data set that is asked for.

    Raises
    ------
    NoInputError
        If nothing is left.
    """
    kept = [
        i
        for i, sample in enumerate(dataset.samples)
        if sample.label not in select.leave_out
        and (not select.layouts or sample.layout in select.layouts)
    ]
    if not kept:
        raise NoInputError("no page fits [select] of the settings", "check layouts and leave_out")
    return dataset.subset(kept)


def write_calibration(folder: RunFolder, dataset: Dataset, config: TrainConfig) -> None:
    """Write calibration.csv, the fixed list of pages for the int8 ranges."""
    chosen = calibration_pages(dataset.labels.tolist(), config.calibration_per_class, config.seed)
    with folder.calibration.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(["path", "class"])
        for index in chosen:
            writer.writerow([dataset.samples[index].path, dataset.samples[index].label])


def _all_models(
    data: TrainingData, dataset: Dataset, folder: RunFolder, config: TrainConfig
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Train every model; return its entries for run.json and metrics.json."""
    models: dict[str, Any] = {}
    metrics: dict[str, Any] = {"protocol": "P2", "models": {}}
    for name in (n for n in config.models if n in NETWORKS):
        say(f"fitting {name}")
        result = train_network(name, data, folder, config)
        models[name] = _network_entry(result, config)
        metrics["models"][name] = _scores(result.calibration, data, config.seed)
    for name in (n for n in config.models if n in BASELINES):
        say(f"fitting {name}")
        calibration = _train_baseline(
            BASELINES[name], _features(BASELINES[name], data), data, folder, config
        )
        models[name] = _baseline_entry(BASELINES[name], calibration, config)
        metrics["models"][name] = _scores(calibration, data, config.seed)
    if config.tutorial_baselines and any(n in TUTORIAL for n in config.models):
        metrics["models"].update(_tutorial_models(data, dataset, folder, config))
    return models, metrics


def _tutorial_models(
    data: TrainingData, dataset: Dataset, folder: RunFolder, config: TrainConfig
) -> dict[str, Any]:
    """Measure the classical models on whole-page pixels, as the tutorials train them."""
    paths = [dataset.root / sample.path for sample in dataset.samples]
    pixels = read_whole_pages(bar(paths, "reading whole pages", len(paths)))
    found = {}
    for baseline in (TUTORIAL[name] for name in config.models if name in TUTORIAL):
        calibration = _train_baseline(
            baseline, pixels.reshape(len(pixels), -1), data, folder, config
        )
        found[baseline.name] = _scores(calibration, data, config.seed)
    return found


def _features(baseline: Baseline, data: TrainingData) -> np.ndarray:
    assert baseline.features is not None
    return baseline.features.features(data.values)


def _train_baseline(
    baseline: Baseline,
    features: np.ndarray,
    data: TrainingData,
    folder: RunFolder,
    config: TrainConfig,
) -> Calibration:
    """Cross-validate one model; its scaling is fitted on each training part alone."""
    root = folder.model(baseline.name)
    p = np.zeros((len(features), len(LABELS)))
    for k in range(config.folds):
        part = data.folds != k
        model = baseline.make(config.seed).fit(features[part], data.labels[part])
        p[~part] = probabilities(model, features[~part])
        save(model, root / f"fold-{k}.skops")
    save(baseline.make(config.seed).fit(features, data.labels), root / "model.skops")
    write_oof(root / "oof.csv", Predictions(data.paths, data.labels, data.folds, p))
    return calibrate(log_probabilities(p), data.labels, data.folds, data.groups, config.seed)


def _network_entry(result: NetworkResult, config: TrainConfig) -> dict[str, Any]:
    root = result.name
    return {
        "kind": "cnn",
        "architecture": NETWORKS[result.name],
        "file": f"{root}/model.keras",
        "h5": f"{root}/ecg_cnn_model.h5",
        "folds": [f"{root}/fold-{k}.keras" for k in range(config.folds)],
        "oof": f"{root}/oof.csv",
        "history": f"{root}/history.csv",
        "epochs": result.epochs,
        **result.facts,
        "calibration": {"temperature": result.calibration.temperature, "folded_in": True},
        "decision": _plain(result.calibration.decision),
        "quality": {"features": result.features_quality},
    }


def _baseline_entry(
    baseline: Baseline, calibration: Calibration, config: TrainConfig
) -> dict[str, Any]:
    assert baseline.features is not None
    return {
        "kind": baseline.kind,
        "file": f"{baseline.name}/model.skops",
        "folds": [f"{baseline.name}/fold-{k}.skops" for k in range(config.folds)],
        "oof": f"{baseline.name}/oof.csv",
        "features": baseline.features.to_json(),
        "calibration": {"temperature": calibration.temperature, "folded_in": False},
        "decision": _plain(calibration.decision),
        "quality": {},
    }


def _scores(calibration: Calibration, data: TrainingData, seed: int) -> dict[str, Any]:
    scores = score(data.labels, calibration.probabilities, data.groups, seed)
    return {
        **scores.to_json(),
        "calibration": _plain(calibration.judged),
        "operating_points": _plain(calibration.decision["operating_points"]),
    }


def _run_json(
    dataset: Dataset, preprocess: Any, config: TrainConfig, models: dict[str, Any]
) -> dict[str, Any]:
    """Return run.json; the top-level calibration and decision are those of the first network."""
    from runtime.quality import QualityLimits

    main = models.get("cnn") or next(iter(models.values()))
    return {
        "schema": SCHEMA,
        "seed": config.seed,
        "folds": config.folds,
        "labels": list(LABELS),
        "preprocess": preprocess.to_manifest(),
        "data": {
            "path": str(dataset.root),
            "sha256": dataset.sha256,
            "n": len(dataset.samples),
            "groups": len(set(dataset.groups)),
        },
        "packages": package_versions(),
        "machine": machine(),
        "git": git_commit(),
        "models": models,
        "calibration": main["calibration"],
        "decision": main["decision"],
        "quality": {"page": QualityLimits().to_manifest(), **main["quality"]},
        "config": _plain(config),
    }


def _plain(value: Any) -> Any:
    """Return dataclasses, tuples and numpy numbers as JSON values."""
    if is_dataclass(value) and not isinstance(value, type):
        return _plain(asdict(value))
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value.item() if isinstance(value, np.generic) else value
