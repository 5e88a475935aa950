"""Fits one network on one part of the data: resumable, and reproducible to the last digit.

Runs in a process of its own (see `train.pipeline`), because TensorFlow reads its threads and
its memory allocation from the environment when the process starts.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from runtime.errors import UsageError
from runtime.labels import LABELS
from runtime.preprocess import Preprocess
from train.agreement import agreeing_loss, told_accuracy
from train.architecture import ARCHITECTURES
from train.augment import SignalAugmentation, draw, vary
from train.examples import Examples
from train.progress import bar
from train.recordings import read_key
from train.split import inner_validation

ENVIRONMENT = {
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "TF_ENABLE_ONEDNN_OPTS": "1",
    "CUDA_VISIBLE_DEVICES": "",
    "OMP_NUM_THREADS": "1",
    # Keep freed memory instead of giving it back to the system after each batch: fresh pages are
    # what a training step mostly waits for on virtual machines (design/evidence.md).
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": "100000000000",
    "MALLOC_TOP_PAD_": "1000000000",
}
"""Set before a fitting process starts."""


@dataclass(frozen=True)
class FitOptions:
    """How a network is fitted.

    Attributes
    ----------
    epochs
        Passes over the training part at most; the learning rate falls along half a cosine.
    batch
        Pages a step.
    learning_rate, weight_decay
        Of AdamW.
    label_smoothing
        Share of the target spread over all classes; labels here are noisy.
    balance
        Exponent of the class weights n / (k n_c): 0 ignores class sizes, 1 evens them out.
    validation_share
        Share of the training part, by group, that chooses the epoch to keep (early stopping). 0:
        the whole schedule is run on all of the training part; with classes of 47 pages, a choice
        by an eighth of them is noise (docs/experiments.md).
    patience
        Epochs without a better validation loss after which the fit stops.
    averaging
        Factor of the running mean of the weights from epoch to epoch; the mean is what is
        judged and kept.
    mixup
        Parameter of the beta distribution by which pairs of pages and their targets are mixed
        (Zhang et al. 2018); 0: never.
    recordings_weight
        Of one recording of `train.recordings` beside a page of its class.
    agreement
        Weight of the divergence between a network's answers to two readings of one heart
        (`train.agreement`), where there are two: a page and a smaller copy of it
        (`train.reduced`), a recording and a page drawn of it (`train.recordings`).
    teacher, teacher_share
        Folder of a trial whose fold models' probabilities are mixed into the targets with this
        share; empty: the labels alone.
    augmentation
        Changes of the training pages.
    """

    epochs: int = 20
    batch: int = 32
    learning_rate: float = 2e-3
    weight_decay: float = 1e-3
    label_smoothing: float = 0.05
    balance: float = 0.5
    validation_share: float = 0.0
    patience: int = 20
    averaging: float = 0.7
    mixup: float = 0.0
    recordings_weight: float = 0.5
    agreement: float = 3.0
    teacher: str = ""
    teacher_share: float = 0.5
    augmentation: SignalAugmentation = field(default_factory=SignalAugmentation)


@dataclass(frozen=True)
class FitJob:
    """One fit.

    Attributes
    ----------
    name
        Shown in front of the bar and in the history, e.g. ``fold 0``.
    architecture
        Name in `train.cnn.ARCHITECTURES`.
    tensors
        tensors.npz of the RUN.
    labels, groups
        Of all pages.
    train, test
        Indices of the pages to fit on and to predict; ``test`` is not looked at before the end.
    options
        See `FitOptions`.
    seed
        Of weights, order and augmentation.
    work
        Folder of this fit's state and results.
    line
        Terminal line of the bar.
    stop_after
        Epochs after which to stop whatever comes; 0: let the options decide.
    recordings
        recordings.npz fitted beside the training part (`train.recordings`); None: pages alone.
    reduced
        reduced.npz of the same pages (`train.reduced`); None: pages have no second reading.
    """

    name: str
    architecture: str
    tensors: Path
    labels: tuple[int, ...]
    groups: tuple[int, ...]
    train: tuple[int, ...]
    test: tuple[int, ...]
    options: FitOptions
    seed: int
    work: Path
    line: int = 0
    stop_after: int = 0
    recordings: Path | None = None
    reduced: Path | None = None


@dataclass(frozen=True)
class FitResult:
    """What a fit leaves.

    Attributes
    ----------
    name
        Of the job.
    logits
        Of all pages, those of the test part among them, float32 [n, 5].
    features
        Of all pages, float32 [n, C].
    best_epoch
        Epochs after which the kept weights were reached, from 1.
    history
        One dict an epoch.
    """

    name: str
    logits: np.ndarray
    features: np.ndarray
    best_epoch: int
    history: tuple[dict[str, Any], ...]


@contextmanager
def _silent_stderr() -> Iterator[None]:
    """Keep TensorFlow's C++ greetings off standard error; they ignore its own log level."""
    kept = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def prepare_process(seed: int) -> None:
    """Make TensorFlow use one thread and give the same numbers each time."""
    with _silent_stderr():
        import keras
        import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    keras.utils.set_random_seed(seed)
    tf.config.experimental.enable_op_determinism()


def run(job: FitJob) -> FitResult:
    """Fit one network, or go on where an interrupted fit stopped, or return what is there."""
    finished = job.work / "result.npz"
    if not finished.is_file() or _fingerprint(job) != _stored_fingerprint(job):
        _Fit(job).run()
    with np.load(finished, allow_pickle=False) as stored:
        history = tuple(json.loads(str(stored["history"])))
        return FitResult(
            job.name, stored["logits"], stored["features"], int(stored["best_epoch"]), history
        )


def _fingerprint(job: FitJob) -> str:
    """Everything that decides the result, as text; a change starts the fit afresh."""
    with np.load(job.tensors, allow_pickle=False) as stored:
        key = str(stored["key"])
    parts = [
        key,
        asdict(ARCHITECTURES[job.architecture]),
        asdict(job.options),
        job.seed,
        list(job.train),
        list(job.test),
        job.stop_after,
        read_key(job.recordings) if job.recordings is not None else "",
        read_key(job.reduced) if job.reduced is not None else "",
    ]
    return json.dumps(parts, sort_keys=True)


def _stored_fingerprint(job: FitJob) -> str:
    file = job.work / "fingerprint.json"
    return file.read_text(encoding="utf-8") if file.is_file() else ""


def class_weights(labels: np.ndarray, balance: float) -> np.ndarray:
    """Return (n / (k n_c)) ** balance a class, scaled so that the mean page weighs 1."""
    counts = np.bincount(labels, minlength=len(LABELS)).astype(float)
    weights = np.zeros(len(LABELS))
    weights[counts > 0] = (len(labels) / (np.sum(counts > 0) * counts[counts > 0])) ** balance
    return weights / np.mean(weights[labels])


def mixed(
    x: np.ndarray, y: np.ndarray, weight: np.ndarray, alpha: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mix pages [n, H, W, 1], targets [n, k] and weights [n] with those of a shuffled batch."""
    share = rng.beta(alpha, alpha, len(x)).astype(np.float32)
    share = np.maximum(share, 1 - share)
    other = rng.permutation(len(x))
    s = share[:, None, None, None]
    return (
        s * x + (1 - s) * x[other],
        share[:, None] * y + (1 - share[:, None]) * y[other],
        share * weight + (1 - share) * weight[other],
    )


class _Fit:
    """State of one fit while it runs."""

    def __init__(self, job: FitJob) -> None:
        prepare_process(job.seed)
        import keras

        from train import cnn

        self.job, self.options = job, job.options
        job.work.mkdir(parents=True, exist_ok=True)
        with np.load(job.tensors, allow_pickle=False) as stored:
            self.values, self.signals = stored["values"], stored["signals"]
            self.preprocess = Preprocess.from_manifest(json.loads(str(stored["preprocess"])))
        self.labels = np.array(job.labels)
        self._part()
        self.weights = class_weights(self.labels[self.train], self.options.balance)
        self.examples = self._all_examples()
        shape = (*self.values.shape[1:], 1)
        # One is fitted; the other answers, with the running mean of its weights.
        self.model, self.answering = (
            cnn.build(ARCHITECTURES[job.architecture], shape) for _ in range(2)
        )
        self.learner = cnn.logits_model(self.model)
        self.learner.compile(
            keras.optimizers.AdamW(
                self.options.learning_rate, weight_decay=self.options.weight_decay
            ),
            agreeing_loss(
                self.options.agreement,
                self.options.label_smoothing,
                readings=1 if self.examples.elsewhere is None else 2,
            ),
            weighted_metrics=[],
            metrics=[told_accuracy],
        )
        self.learner.optimizer.build(self.learner.trainable_variables)
        self.mean = [w.copy() for w in self.model.get_weights()]
        self.best = self.mean
        self.best_loss, self.best_epoch, self.epoch = np.inf, 0, 0
        self.history: list[dict[str, Any]] = []

    def _part(self) -> None:
        """Set some groups of the training part aside; they choose the epoch."""
        part = np.array(self.job.train)
        groups = np.array(self.job.groups)[part]
        aside = inner_validation(
            self.labels[part], groups, self.options.validation_share, self.job.seed
        )
        self.train, self.chooses_epoch = part[~aside], bool(aside.any())
        # Without pages set aside the curve shows the held-out fold; nothing is chosen by it.
        self.watched = part[aside] if self.chooses_epoch else np.array(self.job.test, dtype=int)

    def run(self) -> None:
        """Fit, and write result.npz."""
        self._resume()
        epochs = self.job.stop_after or self.options.epochs
        for _ in bar(range(self.epoch, epochs), self.job.name, line=self.job.line):
            if self._stalled():
                break
            self._one_epoch()
            self._save_state()
        if not self.chooses_epoch:
            self.best, self.best_epoch = self.mean, self.epoch
        self.answering.set_weights(self.best)
        self._write_result()

    def _stalled(self) -> bool:
        waited = self.epoch - self.best_epoch
        return self.chooses_epoch and waited >= self.options.patience

    def _one_epoch(self) -> None:
        rng = np.random.default_rng([self.job.seed, self.epoch])
        progress = self.epoch / self.options.epochs
        rate = self.options.learning_rate * 0.5 * (1 + np.cos(np.pi * progress))
        self.learner.optimizer.learning_rate.assign(rate)
        loss, accuracy = self._steps(rng)
        keep = self.options.averaging if self.epoch else 0.0
        self.mean = [
            keep * old + (1 - keep) * new
            for old, new in zip(self.mean, self.model.get_weights(), strict=True)
        ]
        self.epoch += 1
        row = {
            "fit": self.job.name,
            "epoch": self.epoch,
            "learning_rate": float(rate),
            "loss": loss,
            "accuracy": accuracy,
        }
        if len(self.watched):
            row.update(self._validate())
        self.history.append(row)

    def _all_examples(self) -> Examples:
        """Return what a pass goes over: the pages, and recordings beside them."""
        pages = self._pages()
        if self.job.recordings is None:
            return pages
        return pages + self._recordings(self.job.recordings)

    def _pages(self) -> Examples:
        labels = self.labels[self.train]
        targets = np.eye(len(LABELS), dtype=np.float32)[labels]
        if self.options.teacher:
            share = self.options.teacher_share
            targets = (1 - share) * targets + share * self._taught()
        smaller = None
        if self.job.reduced is not None:
            with np.load(self.job.reduced, allow_pickle=False) as stored:
                smaller = stored["signals"][:, self.train]
        return Examples(self.signals[self.train], targets, self.weights[labels], smaller)

    def _recordings(self, file: Path) -> Examples:
        with np.load(file, allow_pickle=False) as stored:
            signals, labels, drawn = stored["signals"], stored["labels"], stored["drawn"]
        told = labels >= 0
        targets = np.eye(len(LABELS), dtype=np.float32)[labels] * told[:, None]
        weights = self.options.recordings_weight * np.where(told, self.weights[labels], 1.0)
        return Examples(signals, targets.astype(np.float32), weights, drawn)

    def _taught(self) -> np.ndarray:
        """Return the teacher's probabilities of the training part, float32 [n, 5]."""
        fold = Path(self.options.teacher) / self.job.work.name / "result.npz"
        if not fold.is_file():
            raise UsageError(f"{fold} is missing", "name a trial's folder as fit.teacher")
        with np.load(fold, allow_pickle=False) as stored:
            logits = stored["logits"][self.train].astype(np.float64)
        taught = np.exp(logits - np.logaddexp.reduce(logits, axis=1, keepdims=True))
        return np.asarray(taught, dtype=np.float32)

    def _steps(self, rng: np.random.Generator) -> tuple[float, float]:
        """Go once over the training part; return its mean loss and accuracy."""
        order = rng.permutation(len(self.examples))
        total = np.zeros(2)
        for start in range(0, len(order), self.options.batch):
            chosen = order[start : start + self.options.batch]
            x, y, weight = self._batch(chosen, rng)
            self.learner.reset_metrics()
            logs = self.learner.train_on_batch(x, y, sample_weight=weight)
            total += len(chosen) * np.array(logs[:2], dtype=float)
        loss, accuracy = total / len(order)
        return float(loss), float(accuracy)

    def _batch(
        self, chosen: np.ndarray, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return pages, targets and weights: all in one reading, then all in the other."""
        readings = self.examples.readings(chosen, rng)
        state = rng.bit_generator.state
        parts = []
        for signals in readings:
            rng.bit_generator.state = state  # varied alike: nothing but the reading differs
            varied = vary(signals, self.preprocess, self.options.augmentation, rng)
            x, y = draw(varied, self.preprocess), self.examples.targets[chosen]
            weight = self.examples.weights[chosen]
            if self.options.mixup:
                x, y, weight = mixed(x, y, weight, self.options.mixup, rng)
            parts.append((x, y, weight))
        x, y, weight = (np.concatenate(part) for part in zip(*parts, strict=True))
        return x, y, weight

    def _validate(self) -> dict[str, float]:
        """Judge the mean weights on the watched pages; keep the best where these choose."""
        self.answering.set_weights(self.mean)
        logits = self._predict(self.watched)[0]
        truth = self.labels[self.watched]
        log_p = logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)
        weight = self.weights[truth]
        loss = -float(np.average(log_p[np.arange(len(truth)), truth], weights=weight))
        if self.chooses_epoch and loss < self.best_loss:
            self.best_loss, self.best_epoch, self.best = loss, self.epoch, self.mean
        right = logits.argmax(axis=1) == truth
        return {"val_loss": loss, "val_accuracy": float(right.mean())}

    def _predict(self, pages: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return logits and features of pages by index, by the network that answers."""
        import keras

        if not hasattr(self, "_reader"):
            self._reader = keras.Model(
                self.answering.input,
                [
                    self.answering.get_layer("logits").output,
                    self.answering.get_layer("features").output,
                ],
            )
        logits, features = [], []
        for start in range(0, len(pages), 64):
            x = self.values[pages[start : start + 64], ..., None].astype(np.float32) / 255
            out = self._reader.predict_on_batch(x)
            logits.append(np.asarray(out[0]))
            features.append(np.asarray(out[1]))
        return np.concatenate(logits), np.concatenate(features)

    def _variables(self) -> list[Any]:
        """All that a step changes: weights, statistics, dropout's seeds, the optimiser's."""
        return [*self.model.variables, *self.learner.optimizer.variables]

    def _save_state(self) -> None:
        state: dict[str, Any] = {
            "epoch": np.array(self.epoch),
            "best_epoch": np.array(self.best_epoch),
            "best_loss": np.array(self.best_loss),
            "history": np.array(json.dumps(self.history)),
        }
        state.update({f"v{i}": np.asarray(v) for i, v in enumerate(self._variables())})
        state.update({f"m{i}": w for i, w in enumerate(self.mean)})
        state.update({f"b{i}": w for i, w in enumerate(self.best)})
        temporary = self.job.work / "state.tmp.npz"
        np.savez(temporary, **state)
        (self.job.work / "fingerprint.json").write_text(_fingerprint(self.job), encoding="utf-8")
        os.replace(temporary, self.job.work / "state.npz")

    def _resume(self) -> None:
        file = self.job.work / "state.npz"
        if not file.is_file() or _stored_fingerprint(self.job) != _fingerprint(self.job):
            return
        with np.load(file, allow_pickle=False) as state:
            self.epoch, self.best_epoch = int(state["epoch"]), int(state["best_epoch"])
            self.best_loss = float(state["best_loss"])
            self.history = json.loads(str(state["history"]))
            for i, variable in enumerate(self._variables()):
                variable.assign(state[f"v{i}"])
            self.mean = [state[f"m{i}"] for i in range(len(self.mean))]
            self.best = [state[f"b{i}"] for i in range(len(self.mean))]

    def _write_result(self) -> None:
        logits, features = self._predict(np.arange(len(self.labels)))
        self.answering.save_weights(self.job.work / "best.weights.h5")
        temporary = self.job.work / "result.tmp.npz"
        np.savez(
            temporary,
            logits=logits,
            features=features,
            best_epoch=np.array(self.best_epoch),
            history=np.array(json.dumps(self.history)),
        )
        (self.job.work / "fingerprint.json").write_text(_fingerprint(self.job), encoding="utf-8")
        os.replace(temporary, self.job.work / "result.npz")
        (self.job.work / "state.npz").unlink(missing_ok=True)
