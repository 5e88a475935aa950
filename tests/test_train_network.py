"""The network: what it says of itself, and a fit that survives an interruption."""

from __future__ import annotations

import json
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from runtime.labels import LABELS
from train.networks import in_processes

pytestmark = pytest.mark.skipif(find_spec("tensorflow") is None, reason="needs the extra 'train'")


def describe(folder: Path) -> dict[str, Any]:
    """Build both networks and compare their outputs with each other (in a child process)."""
    from train.fit import prepare_process

    prepare_process(0)
    import keras

    from train import cnn
    from train.architecture import ARCHITECTURES

    found: dict[str, Any] = {}
    for name, architecture in ARCHITECTURES.items():
        model = cnn.build(architecture, temperature=2.0)
        bias = model.get_layer("bias")
        bias.set_weights([bias.get_weights()[0], np.arange(5, dtype=np.float32)])
        x = np.random.default_rng(0).random((2, 192, 512, 1), dtype=np.float32)
        out = {key: np.asarray(value) for key, value in model(x).items()}
        logits = np.asarray(cnn.logits_model(model)(x))
        for file in (folder / f"{name}.keras", folder / f"{name}.h5"):
            model.save(file)
            again = keras.models.load_model(file, compile=False)(x)["probabilities"]
            found[f"{file.name} differs by"] = float(np.abs(again - out["probabilities"]).max())
        found[name] = {
            **out,
            "logits": logits,
            "bias": bias.get_weights()[1],
            "parameters": model.count_params(),
            "macs": cnn.multiply_accumulates(model),
        }
    return found


def small_job(work: Path, tensors: Path, n: int) -> Any:
    from train.fit import FitJob, FitOptions

    return FitJob(
        name="fold 0",
        architecture="tiny",
        tensors=tensors,
        labels=tuple(i % 5 for i in range(n)),
        groups=tuple(range(n)),
        train=tuple(range(n - 5)),
        test=tuple(range(n - 5, n)),
        options=FitOptions(epochs=3, batch=8, validation_share=0.25),
        seed=3,
        work=work,
    )


def write_tensors(file: Path) -> None:
    """Write 30 small pages of noise."""
    from runtime.preprocess import SUBSAMPLES, Preprocess
    from train.augment import draw

    small = Preprocess(cell_height=16, cell_width=16)
    rng = np.random.default_rng(0)
    signals = rng.normal(0, 0.5, (30, 12, 16 * SUBSAMPLES + 1)).astype(np.float32)
    np.savez(
        file,
        values=np.rint(draw(signals, small)[..., 0] * 255).astype(np.uint8),
        signals=signals,
        preprocess=np.array(json.dumps(small.to_manifest())),
        key=np.array("k"),
    )


def write_recordings_file(folder: Path, signals: np.ndarray, labels: np.ndarray) -> None:
    """Write recordings.npz: of each one drawn page, read 5 mV too high, and one misread."""
    drawn = np.stack([signals + 5, np.full_like(signals, np.nan)])
    np.savez(
        folder / "recordings.npz", signals=signals, labels=labels, drawn=drawn, key=np.array("r")
    )


def fitted_beside(folder: Path) -> dict[str, Any]:
    """Set up a fit with recordings, a teacher and mixing, and run it (in a child process)."""
    from runtime.errors import UsageError
    from train import fit

    write_tensors(folder / "tensors.npz")
    with np.load(folder / "tensors.npz") as stored:
        signals = stored["signals"][:4] + 1
    write_recordings_file(folder, signals, np.array([0, 1, 1, -1]))
    job = small_job(folder / "a" / "fold-0", folder / "tensors.npz", 30)
    options = replace(job.options, epochs=1, balance=0.0, recordings_weight=0.25, mixup=0.3)
    options = replace(options, teacher=str(folder / "teacher"), teacher_share=0.75)
    job = replace(job, recordings=folder / "recordings.npz", options=options)
    try:
        fit.run(job)
    except UsageError as fault:
        missing = str(fault)
    logits = np.zeros((30, 5))
    logits[:, 2] = 100.0
    (folder / "teacher" / "fold-0").mkdir(parents=True)
    np.savez(folder / "teacher" / "fold-0" / "result.npz", logits=logits)
    state = fit._Fit(job)
    result = fit.run(job)
    x = state.values[..., None].astype(np.float32) / 255
    state.answering.load_weights(job.work / "best.weights.h5")
    return {
        "missing": missing,
        "answering": np.asarray(state.answering(x, training=False)["features"]),
        "features": result.features,
        "labels": state.labels[state.train],
        "examples": state.examples.signals[-4:] - signals,
        "targets": state.examples.targets,
        "weights": state.examples.weights,
        "logits": result.logits,
    }


def shown_twice(folder: Path) -> dict[str, Any]:
    """Return what a fit shows of two pages and a recording, and batches (in a child process)."""
    from train import fit
    from train.augment import draw, vary

    write_tensors(folder / "tensors.npz")
    with np.load(folder / "tensors.npz") as stored:
        signals = stored["signals"]
    smaller = np.stack([signals + 10, signals + 20])
    smaller[1, 2] = np.nan  # misread at that size
    np.savez(folder / "reduced.npz", signals=smaller, key=np.array("s"))
    write_recordings_file(folder, signals[:4], np.arange(4))
    job = small_job(folder / "a" / "fold-0", folder / "tensors.npz", 30)
    job = replace(job, options=replace(job.options, validation_share=0.0))
    alone = fit._Fit(job)
    job = replace(job, recordings=folder / "recordings.npz", reduced=folder / "reduced.npz")
    state, rng = fit._Fit(job), np.random.default_rng(0)
    chosen = np.repeat([1, 2, len(state.examples) - 1], 400)
    own, other = state.examples.readings(chosen, rng)
    by = np.rint((other - own).mean(axis=(1, 2)))
    misread = np.full(8, len(state.examples) - 1)
    state.examples.elsewhere[:, misread] = np.nan
    x, y, weight = state._batch(misread, np.random.default_rng(5))
    once = alone._batch(np.array([1, 2]), np.random.default_rng(5))[0]
    rng = np.random.default_rng(5)
    varied = vary(alone.examples.signals[1:3], alone.preprocess, job.options.augmentation, rng)
    return {
        "offsets": by.reshape(3, 400),
        "own": own - state.examples.signals[chosen],
        "halves": (x[:8] - x[8:], y[:8] - y[8:], weight[:8] - weight[8:]),
        "differ": np.ptp(x[:8], axis=0).max(),
        "once": once - draw(varied, alone.preprocess),
        "fingerprints": (fit._fingerprint(job), fit._fingerprint(replace(job, reduced=None))),
    }


def losses(_: None) -> dict[str, Any]:
    """Ask the loss and the metric for some batches (in a child process)."""
    import keras

    from train.agreement import agreeing_loss, told_accuracy

    rng = np.random.default_rng(0)
    logits = rng.normal(size=(6, 5)).astype(np.float32)
    targets = np.eye(5, dtype=np.float32)[[0, 1, 2, 0, 1, 2]]
    targets[[2, 5]] = 0  # of no class of ours
    usual = keras.losses.CategoricalCrossentropy(
        from_logits=True, label_smoothing=0.1, reduction=None
    )
    twice = np.concatenate([logits[:3], logits[:3]])
    return {
        "logits": logits,
        "usual": np.asarray(usual(targets, logits)),
        "one": np.asarray(agreeing_loss(2.0, 0.1, readings=1)(targets, logits)),
        "two": np.asarray(agreeing_loss(2.0, 0.1, readings=2)(targets, logits)),
        "agreed": np.asarray(agreeing_loss(2.0, 0.1, readings=2)(targets, twice)),
        "apart": np.asarray(agreeing_loss(0.0, 0.1, readings=2)(targets, twice)),
        "accuracy": float(np.mean(told_accuracy(targets, logits))),
        "right": np.argmax(logits, 1)[[0, 1, 3, 4]] == [0, 1, 0, 1],
    }


def straight_interrupted_resumed(folder: Path) -> list[Any]:
    """Fit once straight through, once with an interruption after two epochs (in a child)."""
    from train import fit

    write_tensors(folder / "tensors.npz")
    straight = fit.run(small_job(folder / "a", folder / "tensors.npz", 30))
    keep = fit._Fit._save_state

    def interrupted(self: Any) -> None:
        keep(self)
        if self.epoch == 2:
            raise KeyboardInterrupt

    fit._Fit._save_state = interrupted  # type: ignore[method-assign]
    job = small_job(folder / "b", folder / "tensors.npz", 30)
    try:
        fit.run(job)
    except KeyboardInterrupt:
        fit._Fit._save_state = keep  # type: ignore[method-assign]
    epochs_before = int(np.load(folder / "b" / "state.npz")["epoch"])
    return [straight, fit.run(job), epochs_before]


def test_evidence_adds_up_and_models_are_small_and_load_again(tmp_path: Path) -> None:
    found = in_processes(describe, [tmp_path], 1)[0]
    for name, limit in (("tiny", 150_000), ("accurate", 1_500_000)):
        out = found[name]
        assert out["parameters"] < limit
        summed = out["evidence"].sum(axis=(1, 2)) + out["bias"]
        assert np.allclose(summed, out["logits"], atol=1e-4)
        softened = np.exp(out["logits"] / 2.0)
        assert np.allclose(
            out["probabilities"], softened / softened.sum(axis=1, keepdims=True), atol=1e-5
        )
        assert out["probabilities"].shape == (2, len(LABELS))
        assert out["evidence"].shape[1] == 3
        assert out["evidence"].shape[2] % 4 == 0
        assert found[f"{name}.keras differs by"] == found[f"{name}.h5 differs by"] == 0.0
    assert found["tiny"]["macs"] < 35e6


def test_recordings_and_a_teacher_stand_beside_pages_and_the_mean_weights_answer(
    tmp_path: Path,
) -> None:
    found = in_processes(fitted_beside, [tmp_path], 1)[0]
    assert found["missing"].startswith(f"{tmp_path / 'teacher' / 'fold-0' / 'result.npz'} is")
    assert not found["examples"].any()
    taught = np.eye(5)[found["labels"]] / 4 + 0.75 * np.eye(5)[2]
    assert np.allclose(found["targets"][:-4], taught)
    assert np.array_equal(found["targets"][-4:-1], np.eye(5)[[0, 1, 1]])
    assert not found["targets"][-1].any()  # of no class of ours
    assert np.allclose(found["weights"][:-4], 1.0)
    assert np.allclose(found["weights"][-4:], 0.25)
    assert np.isfinite(found["logits"]).all()
    assert np.allclose(found["features"], found["answering"], atol=1e-5)


def test_resumed_fit_equals_one_that_was_never_interrupted(tmp_path: Path) -> None:
    straight, resumed, epochs_before = in_processes(straight_interrupted_resumed, [tmp_path], 1)[0]
    assert epochs_before == 2
    assert [row["epoch"] for row in resumed.history] == [1, 2, 3]
    assert resumed.history == straight.history
    assert np.array_equal(resumed.logits, straight.logits)
    assert resumed.best_epoch == straight.best_epoch


def test_a_heart_is_shown_in_its_own_reading_and_in_one_from_elsewhere(tmp_path: Path) -> None:
    found = in_processes(shown_twice, [tmp_path], 1)[0]
    page, misread, recording = (
        {
            value: int(count)
            for value, count in zip(*np.unique(row, return_counts=True), strict=True)
        }
        for row in found["offsets"]
    )
    assert not found["own"].any()
    assert set(page) == {10.0, 20.0}
    assert 160 < page[10.0] < 240
    assert set(misread) == {0.0, 10.0}
    assert set(recording) == {0.0, 5.0}
    # Both are varied alike: what was misread elsewhere is the same picture twice.
    assert found["differ"] > 0
    assert not any(part.any() for part in found["halves"])
    assert not found["once"].any()
    assert found["fingerprints"][0] != found["fingerprints"][1]


def test_loss_asks_for_the_label_and_for_one_answer_to_two_readings() -> None:
    found = in_processes(losses, [None], 1)[0]
    told = [0, 1, 3, 4]
    assert np.allclose(found["one"][told], found["usual"][told], atol=1e-5)
    assert np.allclose(found["one"][[2, 5]], 0)
    log_p = found["logits"] - np.logaddexp.reduce(found["logits"], axis=1, keepdims=True)
    one, other = log_p[:3], log_p[3:]
    apart = ((np.exp(one) - np.exp(other)) * (one - other)).sum(axis=1)  # 2 x half of it
    assert np.allclose(found["two"] - found["one"], np.tile(apart, 2), atol=1e-5)
    assert np.allclose(found["agreed"], found["apart"])
    assert found["accuracy"] == pytest.approx(found["right"].mean())
