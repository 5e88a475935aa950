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


def views_and_pages(folder: Path) -> dict[str, Any]:
    """Ask the tiny network and, page by moved page, the one that is fitted (in a child)."""
    from train.fit import prepare_process

    prepare_process(0)
    import keras

    from train import cnn
    from train.architecture import ARCHITECTURES
    from train.predict import PredictJob, moved, run_network

    def shifted(model: Any) -> None:
        """Give BatchNorm other scales and statistics than those that it begins with."""
        for layer in model.layers:
            if isinstance(layer, keras.layers.BatchNormalization):
                sizes = [w.shape for w in layer.get_weights()]
                ranges = ((0.7, 1.3), (-0.3, 0.6), (-0.3, 0.3), (0.3, 1.2))
                layer.set_weights([rng.uniform(*r, s) for r, s in zip(ranges, sizes, strict=True)])

    def answers(model: Any, values: np.ndarray) -> dict[str, np.ndarray]:
        outputs = {"logits": model.get_layer("logits").output, **model.output}
        x = values[..., None].astype(np.float32) / 255
        found = keras.Model(model.input, outputs)(x, training=False)
        return {name: np.asarray(value) for name, value in found.items()}

    rng = np.random.default_rng(0)
    pages = np.where(rng.random((4, 192, 512)) < 0.06, rng.integers(0, 256, (4, 192, 512)), 0)
    pages = pages.astype(np.uint8)
    found: dict[str, Any] = {}
    apart = replace(ARCHITECTURES["tiny"], separate_leads=True, moved=(-2, 0, 5))
    for name, architecture in (("tiny", ARCHITECTURES["tiny"]), ("apart", apart)):
        fitted = cnn.build(architecture.fitted, temperature=2.0)
        shifted(fitted)
        fitted.save_weights(folder / f"{name}.weights.h5")
        model = cnn.build(architecture, temperature=2.0)
        model.load_weights(folder / f"{name}.weights.h5")
        views = [answers(fitted, moved(pages, columns)) for columns in architecture.moved]
        found[name] = {
            "columns": architecture.moved,
            "graph": answers(model, pages),
            "mean": {key: np.mean([view[key] for view in views], axis=0) for key in views[0]},
            "apart": {key: np.ptp([view[key] for view in views], axis=0).max() for key in views[0]},
            "macs": (cnn.multiply_accumulates(model), cnn.multiply_accumulates(fitted)),
        }
        model.save(folder / f"{name}.keras")
        job = PredictJob(folder / f"{name}.keras", pages, architecture.fitted)
        found[name]["as fitted"] = run_network(job)
        found[name]["page"] = answers(fitted, pages)["probabilities"]
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


def fitted_beside(folder: Path) -> dict[str, Any]:
    """Set up a fit with recordings, a teacher and mixing, and run it (in a child process)."""
    from runtime.errors import UsageError
    from train import fit

    write_tensors(folder / "tensors.npz")
    with np.load(folder / "tensors.npz") as stored:
        signals = stored["signals"][:4] + 1
    labels = np.array([0, 1, 1, 4])
    np.savez(folder / "recordings.npz", signals=signals, labels=labels, key=np.array("r"))
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
    state.model.set_weights(state.answering.get_weights())
    return {
        "missing": missing,
        "answering": np.asarray(state.answering(x, training=False)["features"]),
        "fitted": np.asarray(state.model(x, training=False)["features"]),
        "features": result.features,
        "labels": state.labels[state.train],
        "examples": state.examples[-4:] - signals,
        "targets": state.targets,
        "weights": state.example_weights,
        "logits": result.logits,
    }


def shown_smaller(folder: Path) -> dict[str, Any]:
    """Draw what a fit shows of two pages and of a recording (in a child process)."""
    from train import fit

    write_tensors(folder / "tensors.npz")
    with np.load(folder / "tensors.npz") as stored:
        signals = stored["signals"]
    smaller = np.stack([signals + 10, signals + 20])
    smaller[1, 2] = np.nan  # misread at that size
    np.savez(folder / "reduced.npz", signals=smaller, key=np.array("s"))
    np.savez(folder / "recordings.npz", signals=signals[:4], labels=np.arange(4), key=np.array("r"))
    job = small_job(folder / "a" / "fold-0", folder / "tensors.npz", 30)
    options = replace(job.options, validation_share=0.0, reduced_share=0.5)
    job = replace(job, options=options, recordings=folder / "recordings.npz")
    job = replace(job, reduced=folder / "reduced.npz")
    state, rng = fit._Fit(job), np.random.default_rng(0)
    chosen = np.repeat([1, 2, len(state.examples) - 1], 400)
    by = np.rint((state._shown(chosen, rng) - state.examples[chosen]).mean(axis=(1, 2)))
    other = replace(job, reduced=None)
    return {
        "offsets": by.reshape(3, 400),
        "without": fit._Fit(other).smaller,
        "fingerprints": (fit._fingerprint(job), fit._fingerprint(other)),
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
    assert found["tiny"]["macs"] < 25e6


def test_one_graph_answers_as_the_mean_over_moved_pages_would(tmp_path: Path) -> None:
    found = in_processes(views_and_pages, [tmp_path], 1)[0]
    assert found["tiny"]["columns"] == (-3, 3)
    for out in found.values():
        for name in ("logits", "evidence", "features"):
            error = np.abs(out["graph"][name] - out["mean"][name]).max()
            assert error < min(1e-4, 1e-3 * out["apart"][name]), name
        # All but the weights of the leads, [12, T] places of features to classes, runs per view.
        once = out["graph"]["evidence"][0].size * out["graph"]["features"].shape[1]
        moved, fitted = out["macs"]
        assert moved - once - 5 == len(out["columns"]) * (fitted - once - 5)
        assert np.allclose(out["as fitted"], out["page"], atol=1e-5)


def test_recordings_and_a_teacher_stand_beside_pages_and_views_answer(tmp_path: Path) -> None:
    found = in_processes(fitted_beside, [tmp_path], 1)[0]
    assert found["missing"].startswith(f"{tmp_path / 'teacher' / 'fold-0' / 'result.npz'} is")
    assert not found["examples"].any()
    taught = np.eye(5)[found["labels"]] / 4 + 0.75 * np.eye(5)[2]
    assert np.allclose(found["targets"][:-4], taught)
    assert np.array_equal(found["targets"][-4:], np.eye(5)[[0, 1, 1, 4]])
    assert np.allclose(found["weights"][:-4], 1.0)
    assert np.allclose(found["weights"][-4:], 0.25)
    assert np.isfinite(found["logits"]).all()
    assert np.allclose(found["features"], found["answering"], atol=1e-5)
    assert not np.allclose(found["features"], found["fitted"], atol=1e-3)


def test_resumed_fit_equals_one_that_was_never_interrupted(tmp_path: Path) -> None:
    straight, resumed, epochs_before = in_processes(straight_interrupted_resumed, [tmp_path], 1)[0]
    assert epochs_before == 2
    assert [row["epoch"] for row in resumed.history] == [1, 2, 3]
    assert resumed.history == straight.history
    assert np.array_equal(resumed.logits, straight.logits)
    assert resumed.best_epoch == straight.best_epoch


def test_half_of_the_pages_are_shown_as_a_smaller_copy_was_read(tmp_path: Path) -> None:
    found = in_processes(shown_smaller, [tmp_path], 1)[0]
    page, misread, recording = (
        {
            value: int(count)
            for value, count in zip(*np.unique(row, return_counts=True), strict=True)
        }
        for row in found["offsets"]
    )
    assert set(page) == {0.0, 10.0, 20.0}
    assert 160 < page[0.0] < 240
    assert 70 < page[10.0] < 130
    assert set(misread) == {0.0, 10.0}
    assert set(recording) == {0.0}
    assert found["without"] is None
    assert found["fingerprints"][0] != found["fingerprints"][1]
