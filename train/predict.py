"""Predictions of a RUN's models on canonical tensors."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from runtime.preprocess import CANONICAL
from train.baselines import BlockMean, load, probabilities
from train.calibrate import log_probabilities, softmax

BATCH = 64


@dataclass(frozen=True)
class PredictJob:
    """Pages for a network in a process of its own.

    Attributes
    ----------
    file
        A .keras file.
    values
        uint8 [n, 192, 512].
    """

    file: Path
    values: np.ndarray


def run_network(job: PredictJob) -> np.ndarray:
    """Return the probabilities [n, 5] of a network."""
    from train.fit import prepare_process

    prepare_process(0)
    import keras

    model = keras.models.load_model(job.file, compile=False)
    parts = []
    for start in range(0, len(job.values), BATCH):
        x = job.values[start : start + BATCH, ..., None].astype(np.float32) / 255
        parts.append(np.asarray(model.predict_on_batch(x)["probabilities"], dtype=float))
    return np.concatenate(parts)


def moved(values: np.ndarray, columns: int) -> np.ndarray:
    """Return tensors [n, H, W] whose twelve cells each are moved right by some columns."""
    n, height, width = values.shape
    cells = values.reshape(n, height, len(CANONICAL[0]), -1)
    place = np.arange(cells.shape[3]) - columns
    inside = (place >= 0) & (place < cells.shape[3])
    out = np.zeros_like(cells)
    out[..., inside] = cells[..., place[inside]]
    return out.reshape(n, height, width)


def predict(root: Path, entry: dict[str, Any], values: np.ndarray) -> np.ndarray:
    """Return the calibrated probabilities of a RUN's final model.

    Parameters
    ----------
    root
        RUN folder.
    entry
        The model's entry in run.json.
    values
        Canonical tensors, uint8 [n, 192, 512].
    """
    file = root / entry["file"]
    if entry["kind"] == "cnn":
        from train.networks import in_processes

        found: np.ndarray = in_processes(run_network, [PredictJob(file, values)], 1)[0]
        return found
    features = BlockMean(entry["features"]["rows"], entry["features"]["columns"])
    p = probabilities(load(file), features.features(values))
    return calibrated_oof(entry, p)


def calibrated_oof(entry: dict[str, Any], p: np.ndarray) -> np.ndarray:
    """Apply a model's temperature where it is not in the model already."""
    if entry["calibration"]["folded_in"]:
        return p
    return softmax(log_probabilities(p), entry["calibration"]["temperature"])
