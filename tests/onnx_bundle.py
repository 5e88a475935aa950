"""Writes a small bundle whose weights are an ONNX graph of a few nodes, without any training."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from runtime.labels import CRITICAL_LABELS, LABEL_NAMES, LABELS
from runtime.preprocess import Preprocess
from runtime.quality import QualityLimits


def write_bundle(folder: Path) -> Path:
    """Write a bundle that reads the mean ink of the page's twelve cells; it gives no evidence."""
    folder.mkdir(parents=True, exist_ok=True)
    content = _graph()
    (folder / "model.onnx").write_bytes(content)
    checksum = hashlib.sha256(content).hexdigest()
    manifest = {
        "schema": "ecg-edge/bundle/1",
        "name": "ecg-small",
        "version": "1.0.0",
        "model": {
            "file": "model.onnx",
            "sha256": checksum,
            "bytes": len(content),
            "engine": "onnxruntime",
            "precision": "float32",
            "input": {"shape": [1, 192, 512, 1]},
            "output": [{"name": "probabilities"}],
        },
        "labels": [
            {"id": x, "name": LABEL_NAMES[x], "critical": x in CRITICAL_LABELS} for x in LABELS
        ],
        "preprocess": Preprocess().to_manifest(),
        "decision": {
            "temperature": 1.0,
            "min_confidence": 0.5,
            "operating_points": {"myocardial_infarction": 0.9},
        },
        "quality": {"page": QualityLimits().to_manifest()},
        "golden": [],
        "intended_use": "Tests only.",
        "license": "Apache-2.0",
    }
    (folder / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    return folder


def _graph() -> bytes:
    generator = np.random.default_rng(7)
    constants = {
        "nchw": np.array([1, 1, 192, 512], np.int64),
        "flat": np.array([1, 12], np.int64),
        "weights": generator.normal(0, 20, (12, len(LABELS))).astype(np.float32),
        "bias": np.array([4, 0, 0, 0, 0], np.float32),
    }
    nodes = [
        helper.make_node("Reshape", ["page", "nchw"], ["picture"]),
        helper.make_node(
            "AveragePool", ["picture"], ["cells"], kernel_shape=[64, 128], strides=[64, 128]
        ),
        helper.make_node("Reshape", ["cells", "flat"], ["row"]),
        helper.make_node("MatMul", ["row", "weights"], ["weighed"]),
        helper.make_node("Add", ["weighed", "bias"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
    ]
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("page", TensorProto.FLOAT, [1, 192, 512, 1])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, [1, len(LABELS)])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())
