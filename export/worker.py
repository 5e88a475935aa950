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
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from export import calibration
from export.formats import FORMATS, Format

if TYPE_CHECKING:
    from numpy.typing import NDArray

BATCH = 64
"""Pages a step when the unconverted model answers."""

REWRITE_DRIFT = 1e-4
"""Largest change of an output by rewriting: the order of float32 sums, no more."""

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


class _Network:
    """A Keras model and the files that conversions start from, each made when first needed."""

    def __init__(self, model: Any, folder: Path) -> None:
        self.model = model
        self.shape = (1, *(int(size) for size in model.input.shape[1:]))
        self._folder = folder
        folder.mkdir()

    @cached_property
    def saved_model(self) -> Path:
        """Return the folder of the SavedModel with a fixed batch of one."""
        import tensorflow as tf

        path = self._folder / "saved_model"
        signature = [tf.TensorSpec(self.shape, tf.float32, name="page")]
        self.model.export(
            str(path), format="tf_saved_model", verbose=False, input_signature=signature
        )
        return path

    @cached_property
    def onnx(self) -> Path:
        """Return the float32 ONNX file."""
        from export import to_onnx

        return to_onnx.float32_file(self.model, self.shape, self._folder)


def _keras(
    job: dict[str, Any], part: dict[str, Any], tensors: NDArray[np.uint8], folder: Path
) -> dict[str, Any]:
    import keras

    from export import to_onnx, to_tflite

    model = keras.models.load_model(part["file"], compile=False)
    samples = calibration.samples(tensors, part["calibration"])
    _save_reference(folder, _keras_answers(model, tensors, part["answer"]))
    trained = _Network(_rewritten(model, samples), folder / "trained")
    formats = [_TABLE[id] for id in part["formats"]]
    adapted = trained
    if any(_wants_adapted(format) for format in formats):
        adapted = _Network(_adapted(trained.model, samples, tensors, part), folder / "adapted")

    def write(format: Format, target: Path) -> dict[str, Any]:
        network = adapted if _wants_adapted(format) else trained
        if format.engine == "litert":
            target.write_bytes(to_tflite.convert(network.saved_model, format, samples))
            return to_tflite.describe(target.read_bytes())
        if format.engine == "onnxruntime":
            to_onnx.convert(network.onnx, format, samples, target)
            return to_onnx.describe(target)
        model.save(target)
        again = keras.models.load_model(target, compile=False)
        np.savez(target.with_suffix(".npz"), **_keras_answers(again, tensors, part["answer"]))
        return _keras_description(again)

    return _each(formats, part["stem"], folder, write)


def _wants_adapted(format: Format) -> bool:
    """Tell whether a format rounds weights as `export.rounding` does: one scale a channel."""
    return format.calibrated and format.per_channel


def _adapted(
    model: Any, samples: NDArray[np.float32], tensors: NDArray[np.uint8], part: dict[str, Any]
) -> Any:
    """Return the network made ready for rounding, by correction or by fine-tuning."""
    if part["fine_tune"]:
        from export.fine_tune import fine_tuned

        return fine_tuned(model, tensors, part["fine_tune"])
    from export.bias_correction import bias_corrected

    return bias_corrected(model, samples)


def _rewritten(model: Any, samples: NDArray[np.float32]) -> Any:
    """Return the network with merged sums, once it has proved to answer the same."""
    from export.rewrite import residual_sums_merged

    rewritten = residual_sums_merged(model)
    before, after = model(samples, training=False), rewritten(samples, training=False)
    drift = max(float(np.abs(before[name] - after[name]).max()) for name in before)
    if not drift <= REWRITE_DRIFT:
        raise ValueError(f"the rewritten network answers otherwise (drift {drift:.2g})")
    return rewritten


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
