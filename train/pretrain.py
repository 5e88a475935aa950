"""Teaches a network's trunk on synthetic hearts, whose rhythm, lesion and intervals are known.

The hearts of `train.draw.synthesis` go straight into canonical signals (no page is drawn), and
the trunk learns to tell what they were made with. Only then is it fitted on pages of patients.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import numpy as np

from runtime.labels import LABELS, LEADS
from runtime.preprocess import Preprocess
from runtime.trace import LeadTrace
from train.architecture import ARCHITECTURES
from train.augment import SignalAugmentation, draw, vary
from train.draw import Heart, Recording, heart_of_class, synthesise
from train.draw.synthesis import Rhythm, Territory
from train.progress import bar

BATCH = 32


@dataclass(frozen=True)
class PretrainJob:
    """One pre-training.

    Attributes
    ----------
    architecture
        Name in `train.architecture.ARCHITECTURES`.
    file
        Weights file to write, ``*.weights.h5``.
    pages, epochs
        Synthetic hearts, and passes over them.
    learning_rate
        Of AdamW; falls along half a cosine.
    seed
        Of hearts, weights, order and augmentation.
    """

    architecture: str
    file: Path
    pages: int = 4000
    epochs: int = 8
    learning_rate: float = 2e-3
    seed: int = 1


def recording_signals(recording: Recording, preprocess: Preprocess) -> np.ndarray:
    """Return a recording's canonical signals, float32 [12, m] mV, without drawing a page."""
    nothing = np.empty(0, np.float32)
    leads = [
        LeadTrace(name, nothing, recording.lead(name), nothing, nothing, 0.0, recording.seconds)
        for name in LEADS
    ]
    return preprocess.signals(leads)


def heart_targets(heart: Heart) -> np.ndarray:
    """Return what a heart was made with as numbers of about unit size, float32 [k]."""
    walls = [float(heart.territory == wall) for wall in get_args(Territory)]
    sizes = (heart.st_mv / 0.2, heart.q_mv / 0.4, heart.t_inversion)
    return np.array(
        [
            *(float(heart.label == label) for label in LABELS),
            *(float(heart.rhythm == rhythm) for rhythm in get_args(Rhythm)),
            *walls,
            *(size * wall for size in sizes for wall in walls),
            (heart.rate_bpm - 80.0) / 25.0,
            heart.t_scale,
            heart.st_depression_mv / 0.05,
        ],
        np.float32,
    )


def hearts(count: int, seed: int, preprocess: Preprocess) -> tuple[np.ndarray, np.ndarray]:
    """Return canonical signals [n, 12, m] and targets [n, k] of synthetic hearts."""
    signals, targets = [], []
    for i in bar(range(count), "synthetic hearts", count):
        number = seed * 1_000_003 + i
        heart = heart_of_class(LABELS[i % len(LABELS)], number)
        signals.append(recording_signals(synthesise(heart, number), preprocess))
        targets.append(heart_targets(heart))
    return np.stack(signals), np.stack(targets)


def run(job: PretrainJob) -> Path:
    """Pre-train a trunk in this process and write all weights of its network; return the file."""
    from train.fit import prepare_process

    prepare_process(job.seed)
    import keras

    from train import cnn

    preprocess = Preprocess()
    signals, targets = hearts(job.pages, job.seed, preprocess)
    model = cnn.build(ARCHITECTURES[job.architecture], preprocess.shape)
    learner = _with_targets(model, targets.shape[1])
    learner.compile(keras.optimizers.AdamW(job.learning_rate, weight_decay=1e-3), "mse")
    for epoch in bar(range(job.epochs), f"pre-training {job.architecture}"):
        rng = np.random.default_rng([job.seed, epoch])
        rate = job.learning_rate * 0.5 * (1 + np.cos(np.pi * epoch / job.epochs))
        learner.optimizer.learning_rate.assign(rate)
        order = rng.permutation(len(signals))
        losses = []
        for start in range(0, len(order), BATCH):
            chosen = order[start : start + BATCH]
            varied = vary(signals[chosen], preprocess, SignalAugmentation(), rng)
            loss = learner.train_on_batch(draw(varied, preprocess), targets[chosen])
            losses.append(float(np.asarray(loss)))
    job.file.parent.mkdir(parents=True, exist_ok=True)
    temporary = job.file.with_name("part-" + job.file.name)
    model.save_weights(temporary)
    os.replace(temporary, job.file)
    return job.file


def _with_targets(model: Any, count: int) -> Any:
    """Return a model that shares the trunk and predicts the targets from each lead's features."""
    import keras

    x = model.get_layer("features").input
    _, leads, places, channels = x.shape
    x = keras.layers.AveragePooling2D((1, places))(x)
    x = keras.layers.Dropout(0.3)(keras.layers.Reshape((leads * channels,))(x))
    return keras.Model(model.input, keras.layers.Dense(count)(x))
