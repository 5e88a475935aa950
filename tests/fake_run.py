"""Makes a small finished RUN folder whose network tells made-up pages apart by hand-set weights.

Run as a program, so that TensorFlow stays out of the test process:
``python tests/fake_run.py FOLDER``.
"""

from __future__ import annotations

import csv
import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np

PER_CLASS = 12
FOLDS = 2
NOISE_PAGES = 4
"""Pages that show next to nothing: calibrating on them must ruin any integer format."""


def pages() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return tensors uint8 [n, 192, 512], labels [n] and folds [n].

    Class c lights up the band of columns 100 c .. 100 c + 80 more than the other four.
    """
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(5), PER_CLASS)
    labels = np.concatenate([labels, np.zeros(NOISE_PAGES, int)])
    tensors = np.zeros((len(labels), 192, 512), np.float32)
    for i, label in enumerate(labels):
        strength = rng.uniform(0.1, 0.55, 5)
        strength[label] = rng.uniform(0.35, 0.9)
        for c in range(5):
            tensors[i, :, 100 * c : 100 * c + 80] = strength[c]
        tensors[i] += rng.normal(0, 0.05, (192, 512))
    tensors[-NOISE_PAGES:] *= 0.02
    order = rng.permutation(len(labels))
    folds = np.arange(len(labels)) % FOLDS
    return (np.clip(tensors, 0, 1) * 255).astype(np.uint8)[order], labels[order], folds


def network(seed: int, temperature: float) -> Any:
    """Return the network: block means, hand-set features, evidence, bias, temperature, softmax."""
    import keras
    from keras import layers

    rng = np.random.default_rng(seed)
    page = keras.Input((192, 512, 1), name="page")
    x = layers.AveragePooling2D((192, 4), name="means")(page)
    x = layers.Permute((1, 3, 2), name="turn")(x)
    x = layers.Conv2D(8, 1, activation="relu", name="bands")(x)
    features = layers.GlobalAveragePooling2D(name="features")(x)
    evidence = layers.Conv2D(5, 1, use_bias=False, name="evidence")(x)
    logits = layers.GlobalAveragePooling2D(name="sum")(evidence)
    logits = layers.Dense(5, name="logits")(logits)
    logits = layers.Rescaling(1 / temperature, name="temperature")(logits)
    outputs = {
        "probabilities": layers.Softmax(name="probabilities")(logits),
        "evidence": evidence,
        "features": features,
    }
    model = keras.Model(page, outputs)
    bands = np.zeros((1, 1, 128, 8), np.float32)
    for c in range(5):
        bands[0, 0, 25 * c : 25 * c + 20, c] = 1 / 20
    bands += rng.normal(0, 0.001, bands.shape)
    head = np.zeros((1, 1, 8, 5), np.float32)
    head[0, 0, :5] = 16 * np.eye(5) - 4
    model.get_layer("bands").set_weights([bands, np.zeros(8)])
    model.get_layer("evidence").set_weights([head])
    model.get_layer("logits").set_weights([np.eye(5), np.array([0, 0, 0, 0.2, 0])])
    return model


def write(root: Path) -> None:
    """Write the RUN folder."""
    from runtime.labels import LABELS
    from runtime.preprocess import Preprocess
    from runtime.quality import QualityLimits
    from train import baselines

    tensors, labels, folds = pages()
    paths = [f"{LABELS[label]}/page-{i}.png" for i, label in enumerate(labels)]
    root.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(root / "tensors.npz", values=tensors, paths=np.array(paths))
    _csv(
        root / "splits.csv",
        ["path", "class", "session_group", "near_duplicate_group", "fold"],
        [
            [p, LABELS[c], i // 2, i, folds[i]]
            for i, (p, c) in enumerate(zip(paths, labels, strict=True))
        ],
    )
    bright = [i for i in range(len(labels)) if tensors[i].max() > 60]
    chosen = [i for c in range(5) for i in [j for j in bright if labels[j] == c][:4]]
    _csv(
        root / "calibration.csv", ["path", "class"], [[paths[i], LABELS[labels[i]]] for i in chosen]
    )
    x = tensors[..., None].astype(np.float32) / 255
    (root / "cnn").mkdir(exist_ok=True)
    held_out = np.zeros((len(labels), 5))
    for k in range(FOLDS):
        model = network(k, 1.5)
        model.save(root / "cnn" / f"fold-{k}.keras")
        held_out[folds == k] = model(x[folds == k])["probabilities"]
    network(9, 1.5).save(root / "cnn" / "model.keras")
    _oof(root / "cnn" / "oof.csv", paths, labels, folds, held_out)
    baseline = baselines.BASELINES["decision-tree"]
    features = baseline.features.features(tensors)
    raw = np.zeros((len(labels), 5))
    for k in range(FOLDS):
        tree = baseline.make(0).fit(features[folds != k], labels[folds != k])
        baselines.save(tree, root / "decision-tree" / f"fold-{k}.skops")
        raw[folds == k] = baselines.probabilities(tree, features[folds == k])
    baselines.save(baseline.make(0).fit(features, labels), root / "decision-tree" / "model.skops")
    _oof(root / "decision-tree" / "oof.csv", paths, labels, folds, raw)
    points = {
        label: {
            "threshold": float(np.floor(np.sort(held_out[labels == c, c])[1] * 1e6) / 1e6),
            "target_sensitivity": 0.9,
        }
        for c, label in enumerate(LABELS)
        if label in ("myocardial_infarction", "history_of_mi")
    }
    decision = {"min_confidence": 0.4, "operating_points": points, "conformal": {"0.90": 0.6}}
    record = {
        "schema": "ecg-edge/run/1",
        "seed": 1,
        "folds": FOLDS,
        "labels": list(LABELS),
        "preprocess": Preprocess().to_manifest(),
        "data": {"path": "made up", "sha256": "0" * 64, "n": len(labels)},
        "packages": {},
        "git": "",
        "models": {
            "cnn": _entry("cnn", "keras", decision, 1.5, True, architecture="fake"),
            "decision-tree": _entry(
                "decision-tree", "skops", decision, 2.0, False, features=baseline.features.to_json()
            ),
        },
        "quality": {"page": QualityLimits().to_manifest()},
    }
    (root / "run.json").write_text(json.dumps(record), encoding="utf-8")


def _entry(
    name: str, suffix: str, decision: dict[str, Any], temperature: float, folded: bool, **more: Any
) -> dict[str, Any]:
    return {
        "kind": name,
        "file": f"{name}/model.{suffix}",
        "folds": [f"{name}/fold-{k}.{suffix}" for k in range(FOLDS)],
        "oof": f"{name}/oof.csv",
        "calibration": {"temperature": temperature, "folded_in": folded},
        "decision": decision,
        "quality": {},
        **more,
    }


def _oof(file: Path, paths: list[str], labels: Any, folds: Any, p: np.ndarray) -> None:
    from runtime.labels import LABELS

    rows = [
        [path, LABELS[c], k, *(f"{v:.7f}" for v in row)]
        for path, c, k, row in zip(paths, labels, folds, p, strict=True)
    ]
    _csv(file, ["path", "label", "fold", *(f"p_{label}" for label in LABELS)], rows)


def _csv(file: Path, header: list[str], rows: list[list[Any]]) -> None:
    with file.open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows([header, *rows])


if __name__ == "__main__":
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    write(Path(sys.argv[1]))
