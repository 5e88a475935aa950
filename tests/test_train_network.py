"""The network: what it says of itself, and a fit that survives an interruption."""

from __future__ import annotations

import json
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


def straight_interrupted_resumed(folder: Path) -> list[Any]:
    """Fit once straight through, once with an interruption after two epochs (in a child)."""
    from runtime.preprocess import SUBSAMPLES, Preprocess
    from train import fit
    from train.augment import draw

    small = Preprocess(cell_height=16, cell_width=16)
    rng = np.random.default_rng(0)
    signals = rng.normal(0, 0.5, (30, 12, 16 * SUBSAMPLES + 1)).astype(np.float32)
    np.savez(
        folder / "tensors.npz",
        values=np.rint(draw(signals, small)[..., 0] * 255).astype(np.uint8),
        signals=signals,
        preprocess=np.array(json.dumps(small.to_manifest())),
        key=np.array("k"),
    )
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
    assert found["tiny"]["macs"] < 15e6


def test_resumed_fit_equals_one_that_was_never_interrupted(tmp_path: Path) -> None:
    straight, resumed, epochs_before = in_processes(straight_interrupted_resumed, [tmp_path], 1)[0]
    assert epochs_before == 2
    assert [row["epoch"] for row in resumed.history] == [1, 2, 3]
    assert resumed.history == straight.history
    assert np.array_equal(resumed.logits, straight.logits)
    assert resumed.best_epoch == straight.best_epoch
