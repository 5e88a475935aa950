"""The conversion process: converts one model's folds and its final weights, then ends.

Conversions leak memory and print whatever they like, so they run here and nowhere else:
``python -m export.worker JOB.json`` (see `export.convert`). Standard output carries one line a
finished step; everything else lands in the log.
"""

from __future__ import annotations

import json
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from export import calibration
from export.formats import FORMATS, Format

if TYPE_CHECKING:
    from numpy.typing import NDArray

BATCH = 64
"""Pages a step when the unconverted model answers."""

_TABLE = {format.id: format for format in FORMATS}


def main(job_file: Path) -> None:
    """Convert all that a job lists; write ``facts.json`` beside it."""
    job = json.loads(job_file.read_text(encoding="utf-8"))
    with np.load(job["tensors"], allow_pickle=False) as stored:
        tensors = stored["values"]
    convert = _keras if job["kind"] == "keras" else _sklearn
    facts = {}
    for part in job["parts"]:
        folder = job_file.parent / part["stem"]
        folder.mkdir()
        facts[part["stem"]] = convert(job, part, tensors, folder)
    (job_file.parent / "facts.json").write_text(json.dumps(facts), encoding="utf-8")


def _keras(
    job: dict[str, Any], part: dict[str, Any], tensors: NDArray[np.uint8], folder: Path
) -> dict[str, Any]:
    import keras
    import tensorflow as tf

    from export import to_onnx, to_tflite

    model = keras.models.load_model(part["file"], compile=False)
    shape = (1, *(int(size) for size in model.input.shape[1:]))
    samples = calibration.samples(tensors, part["calibration"])
    _save_reference(folder, _keras_answers(model, tensors, part["answer"]))
    formats = [_TABLE[id] for id in part["formats"]]
    saved = folder / "saved_model"
    if any(format.engine == "litert" for format in formats):
        signature = [tf.TensorSpec(shape, tf.float32, name="page")]
        model.export(str(saved), format="tf_saved_model", verbose=False, input_signature=signature)
    float32: list[Path] = []

    def write(format: Format, target: Path) -> dict[str, Any]:
        if format.engine == "litert":
            target.write_bytes(to_tflite.convert(saved, format, samples))
            return to_tflite.describe(target.read_bytes())
        if format.engine == "onnxruntime":
            if not float32:
                float32.append(to_onnx.float32_file(model, shape, folder))
            to_onnx.convert(float32[0], format, samples, target)
            return to_onnx.describe(target)
        model.save(target)
        again = keras.models.load_model(target, compile=False)
        np.savez(target.with_suffix(".npz"), **_keras_answers(again, tensors, part["answer"]))
        return _keras_description(again)

    return _each(formats, part["stem"], folder, write)


def _keras_description(model: Any) -> dict[str, Any]:
    """Return ``inputs`` and ``outputs`` of a Keras model."""
    return {
        "inputs": [
            {"name": "page", "shape": [1, *model.input.shape[1:]], "dtype": model.input.dtype}
        ],
        "outputs": [
            {"name": name, "shape": [1, *value.shape[1:]], "dtype": value.dtype}
            for name, value in model.output.items()
        ],
    }


def _sklearn(
    job: dict[str, Any], part: dict[str, Any], tensors: NDArray[np.uint8], folder: Path
) -> dict[str, Any]:
    from export import baseline_graph, to_onnx
    from train.baselines import BlockMean, load, probabilities

    pipeline = load(Path(part["file"]))
    features = job["features"]
    block = BlockMean(int(features["rows"]), int(features["columns"]))
    raw = probabilities(pipeline, block.features(tensors[part["answer"]]))
    _save_reference(folder, {"probabilities": baseline_graph.calibrated(raw, job["temperature"])})
    shape = (1, *tensors.shape[1:], 1)

    def write(format: Format, target: Path) -> dict[str, Any]:
        baseline_graph.convert(pipeline, features, job["temperature"], shape, target)
        return to_onnx.describe(target)

    return _each([_TABLE[id] for id in part["formats"]], part["stem"], folder, write)


def _each(
    formats: list[Format], stem: str, folder: Path, write: Callable[[Format, Path], dict[str, Any]]
) -> dict[str, Any]:
    """Write each format; one that fails is reported and does not stop the others."""
    facts: dict[str, Any] = {}
    for format in formats:
        target = folder / f"{format.id}{format.suffix}"
        try:
            facts[format.id] = write(format, target)
        except Exception as fault:
            traceback.print_exc()
            facts[format.id] = {"failed": f"{type(fault).__name__}: {str(fault)[:300]}"}
        print(f"{stem} {format.id}", flush=True)
    return facts


def _keras_answers(model: Any, tensors: NDArray[np.uint8], pages: list[int]) -> dict[str, Any]:
    """Answer pages with the unconverted model."""
    kept: dict[str, list[NDArray[np.float32]]] = {}
    for start in range(0, len(pages), BATCH):
        batch = calibration.samples(tensors, pages[start : start + BATCH])
        for name, value in model(batch, training=False).items():
            kept.setdefault(name, []).append(np.asarray(value))
    return {name: np.concatenate(values) for name, values in kept.items()}


def _save_reference(folder: Path, answers: dict[str, Any]) -> None:
    np.savez(folder / "reference.npz", **answers)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
