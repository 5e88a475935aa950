"""Which ONNX exporter, and what the fine-tuning for integers may and may not change."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

pytestmark = pytest.mark.slow

PRELUDE = f"""
import json, sys
sys.path[:0] = [{str(ROOT)!r}, {str(ROOT / "tests")!r}]
import numpy as np
import tensorflow as tf
import fake_run
tensors, labels, folds = fake_run.pages()
x = (tensors[:16].astype(np.float32) / 255)[..., None]
"""

EXPORTERS = """
# tf2onnx, which Keras' export calls too, folds views in no fixed order: about one conversion in
# fifty has a Reshape or a Squeeze fewer or more. They move no number, so they are not compared.
VIEWS = {"Identity", "Reshape", "Squeeze", "Unsqueeze"}
import onnx, onnxruntime, tf2onnx
from pathlib import Path
model = fake_run.network(0, 1.5)
reference = {name: np.asarray(v) for name, v in model(x).items()}
signature = [tf.TensorSpec((1, 192, 512, 1), tf.float32, name="page")]
folder = Path(sys.argv[1])
model.export(str(folder / "keras.onnx"), format="onnx", verbose=False, opset_version=17,
             input_signature=signature)
tf2onnx.convert.from_keras(model, signature, opset=17, output_path=str(folder / "tf2onnx.onnx"))
found = {}
for path in sorted(folder.glob("*.onnx")):
    file = onnx.load(str(path))
    onnx.checker.check_model(file, full_check=True)
    session = onnxruntime.InferenceSession(str(path))
    names = [o.name for o in session.get_outputs()]
    rows = [session.run(None, {"page": page[None]}) for page in x]
    drift = max(
        float(np.abs(np.concatenate([row[i] for row in rows]) - reference[name]).max())
        for i, name in enumerate(names)
    )
    found[path.stem] = {"names": sorted(names), "opset": file.opset_import[0].version,
                        "drift": drift, "nodes": sorted(n.op_type for n in file.graph.node
                                        if n.op_type not in VIEWS)}
print(json.dumps(found))
"""

TUNING = """
from export.fine_tune import fine_tuned
from export.rounding import rounded_kernel
kernel = tf.constant(np.random.default_rng(0).normal(size=(1, 3, 4, 6)).astype(np.float32))
with tf.GradientTape() as tape:
    tape.watch(kernel)
    rounded = rounded_kernel(kernel, (0, 1, 2))
    total = tf.reduce_sum(rounded * 2)
steps = rounded / (np.abs(kernel).max(axis=(0, 1, 2)) / 127)
model = fake_run.network(0, 1.5)
before = np.asarray(model(x)["probabilities"])
tuned = fine_tuned(model, tensors, list(range(len(tensors))))
after = np.asarray(tuned(x)["probabilities"])
print(json.dumps({
    "off_step": float(np.abs(steps - np.round(steps)).max()),
    "largest_step": float(np.abs(steps).max()),
    "gradient": sorted(set(np.asarray(tape.gradient(total, kernel)).ravel().tolist())),
    "moved": float(np.abs(before - after).mean()),
    "same": bool(np.array_equal(before, after)),
    "untouched": bool(np.array_equal(before, np.asarray(model(x)["probabilities"]))),
    "outputs": sorted(tuned.output),
}))
"""


def _workshop(code: str, *words: str) -> dict:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", PRELUDE + code, *words],
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])


def test_keras_own_export_and_tf2onnx_compute_the_same(tmp_path: Path) -> None:
    """The evidence for docs/export.md: nothing tells them apart, so the shorter way is taken."""
    found = _workshop(EXPORTERS, str(tmp_path))
    own, other = found["keras"], found["tf2onnx"]
    for exporter in (own, other):
        assert exporter["names"] == ["evidence", "features", "probabilities"]
        assert exporter["opset"] == 17
        assert exporter["drift"] < 1e-5  # as float32 sums differ from one processor to the next
    assert "Conv" in own["nodes"]
    assert own["nodes"] == other["nodes"]


def test_fine_tuning_rounds_weights_and_stays_close_to_the_network() -> None:
    found = _workshop(TUNING)
    assert found["off_step"] < 1e-3
    assert found["largest_step"] <= 127.001
    assert found["gradient"] == [2.0]
    assert not found["same"]
    assert found["moved"] < 0.01
    assert found["untouched"]
    assert found["outputs"] == ["evidence", "features", "probabilities"]


REWRITING = """
import keras
from keras import layers
from export.bias_correction import bias_corrected
from export.rewrite import residual_sums_merged
from export.rounding import rounding_twin
from train import architecture, cnn
keras.utils.set_random_seed(1)
model = cnn.build(architecture.ARCHITECTURES["tiny"])
rng = np.random.default_rng(1)
for layer in model.layers:
    if isinstance(layer, layers.BatchNormalization):
        n = layer.gamma.shape[0]
        layer.set_weights([rng.uniform(.5, 2, n), rng.normal(0, .3, n), rng.normal(0, .3, n),
                           rng.uniform(.5, 2, n)])
merged = residual_sums_merged(model)
before, after = model(x), merged(x)
last = next(l.name for l in reversed(merged.layers) if isinstance(l, layers.ReLU))
def mean(net):
    part = keras.Model(net.input, net.get_layer(last).output)
    return np.asarray(part(x)).mean(axis=(0, 1, 2))
plain = np.abs(mean(rounding_twin(merged)) - mean(merged)).mean()
corrected = np.abs(mean(rounding_twin(bias_corrected(merged, x))) - mean(merged)).mean()
print(json.dumps({
    "drift": max(float(np.abs(before[k] - after[k]).max()) for k in before),
    "sums": sum(isinstance(l, layers.Add) for l in merged.layers),
    "sums_before": sum(isinstance(l, layers.Add) for l in model.layers),
    "shift": float(plain), "shift_corrected": float(corrected),
}))
"""


def test_merged_sums_compute_the_same_and_biases_make_up_for_rounding() -> None:
    found = _workshop(REWRITING)
    assert found["sums_before"] > 0
    assert found["sums"] == 0
    assert found["drift"] < 1e-4
    assert found["shift_corrected"] < 0.5 * found["shift"]
