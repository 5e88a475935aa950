"""Runs a weights file over canonical tensors on any engine, in this Python or in another one.

tflite-runtime needs numpy < 2 and the workshop needs numpy 2, so it answers from an environment
of its own (`export.engine_environment`): this module is run there as
``python -m export.inference JOB.json`` and imports nothing but numpy and `runtime`.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np

from runtime.bundle import ModelFile
from runtime.classifier import normalised
from runtime.engine import open_engine
from runtime.errors import BundleError, EcgEdgeError

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Answers", "Weights", "answer"]

LEVELS = 255
"""Tensors are kept as uint8; x = value / 255."""


@dataclass(frozen=True)
class Weights:
    """A converted file and what is known of its inside.

    Attributes
    ----------
    path : Path
    engine : str
        Kind of file: ``litert`` or ``onnxruntime``.
    precision : str
    inputs : tuple of dict
        ``name``, ``shape`` and ``dtype`` of each input.
    outputs : tuple of dict
        The same of each output, in the file's own order.
    """

    path: Path
    engine: str
    precision: str
    inputs: tuple[dict[str, Any], ...]
    outputs: tuple[dict[str, Any], ...]

    def model_file(self) -> ModelFile:
        """Return what `runtime.engine.open_engine` takes."""
        content = self.path.read_bytes()
        known = ("probabilities", "evidence", "features")
        return ModelFile(
            path=str(self.path),
            sha256=hashlib.sha256(content).hexdigest(),
            content=content,
            engine=self.engine,
            precision=self.precision,
            input_shape=tuple(self.inputs[0]["shape"]),
            outputs=tuple(o["name"] if o["name"] in known else None for o in self.outputs),
        )


@dataclass(frozen=True)
class Answers:
    """What an engine gave for some tensors.

    Attributes
    ----------
    engine, version : str
    probabilities : ndarray of float64, shape [n, 5]
        Normalised as the device does it.
    raw_sums : ndarray of float64, shape [n]
        Sums before that.
    median_us : float
        Median time of one inference on this machine, microseconds.
    evidence, features : ndarray of float32 or None
    """

    engine: str
    version: str
    probabilities: NDArray[np.float64]
    raw_sums: NDArray[np.float64]
    median_us: float
    evidence: NDArray[np.float32] | None = None
    features: NDArray[np.float32] | None = None

    def named(self) -> dict[str, NDArray[Any]]:
        """Return the outputs by name, those that there are."""
        outputs = {"probabilities": self.probabilities}
        for name in ("evidence", "features"):
            value = getattr(self, name)
            if value is not None:
                outputs[name] = value
        return outputs


def answer(
    weights: Weights,
    tensors: NDArray[np.uint8],
    engine: str,
    python: Path | None = None,
    side_outputs: bool = False,
) -> Answers:
    """Run weights over tensors, one page at a time as the device does.

    Parameters
    ----------
    weights : Weights
    tensors : ndarray of uint8, shape [n, H, W]
    engine : str
        ``litert``, ``onnxruntime`` or ``tflite-runtime``.
    python : Path or None
        Interpreter of the environment that has the engine; None: this one.
    side_outputs : bool
        Whether evidence and features are kept.

    Raises
    ------
    BundleError
        If the engine cannot load or run the file.
    """
    if python is not None:
        return _answer_elsewhere(weights, tensors, engine, python, side_outputs)
    opened = open_engine(weights.model_file(), engine)
    kept: dict[str, list[NDArray[Any]]] = {}
    times = []
    try:
        for tensor in tensors:
            real = _real(tensor)
            started = perf_counter()
            outputs = opened.run(real)
            times.append(perf_counter() - started)
            for name, value in outputs.items():
                if name == "probabilities" or side_outputs:
                    kept.setdefault(name, []).append(value)
    except (RuntimeError, ValueError) as fault:
        raise BundleError(f"{weights.path.name}: {engine} cannot run it ({fault})") from fault
    raw = np.array(kept["probabilities"], dtype=np.float64)
    normal = np.array([normalised(p) for p in kept["probabilities"]])
    return Answers(
        engine=opened.name,
        version=opened.version,
        probabilities=normal,
        raw_sums=raw.sum(axis=1),
        median_us=float(np.median(times)) * 1e6,
        evidence=np.array(kept["evidence"]) if "evidence" in kept else None,
        features=np.array(kept["features"]) if "features" in kept else None,
    )


def _real(tensor: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return [1, H, W, 1] in 0..1 of a stored tensor [H, W]."""
    return (tensor.astype(np.float32) / np.float32(LEVELS))[None, :, :, None]


def _answer_elsewhere(
    weights: Weights,
    tensors: NDArray[np.uint8],
    engine: str,
    python: Path,
    side_outputs: bool,
) -> Answers:
    """Let another interpreter answer; tensors and answers travel as .npy and .npz files."""
    with tempfile.TemporaryDirectory(prefix="ecg-export-") as name:
        folder = Path(name)
        np.save(folder / "tensors.npy", tensors)
        job = {
            "path": str(weights.path.resolve()),
            "engine": weights.engine,
            "precision": weights.precision,
            "inputs": weights.inputs,
            "outputs": weights.outputs,
            "on": engine,
            "side_outputs": side_outputs,
        }
        (folder / "job.json").write_text(json.dumps(job), encoding="utf-8")
        home = str(Path(__file__).resolve().parent.parent)
        done = subprocess.run(
            [str(python), "-m", "export.inference", str(folder / "job.json")],
            env={**os.environ, "PYTHONPATH": home},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            said = " ".join(done.stderr.split()) or f"exit {done.returncode}"
            raise BundleError(said[-300:])
        with np.load(folder / "answers.npz", allow_pickle=False) as stored:
            arrays = {key: stored[key] for key in stored.files}
    version, median_us = str(arrays.pop("version")), float(arrays.pop("median_us"))
    return Answers(engine=engine, version=version, median_us=median_us, **arrays)


def _main(job_file: Path) -> int:
    """Answer a job of `_answer_elsewhere` in this interpreter."""
    job = json.loads(job_file.read_text(encoding="utf-8"))
    weights = Weights(
        Path(job["path"]),
        job["engine"],
        job["precision"],
        tuple(job["inputs"]),
        tuple(job["outputs"]),
    )
    tensors = np.load(job_file.with_name("tensors.npy"), allow_pickle=False)
    try:
        answers = answer(weights, tensors, job["on"], side_outputs=job["side_outputs"])
    except EcgEdgeError as fault:
        print(fault.message, file=sys.stderr)
        return int(fault.exit_code)
    arrays: dict[str, Any] = {
        "version": np.array(answers.version),
        "median_us": np.array(answers.median_us),
        "raw_sums": answers.raw_sums,
        **answers.named(),
    }
    np.savez(job_file.with_name("answers.npz"), **arrays)
    return 0


if __name__ == "__main__":
    sys.exit(_main(Path(sys.argv[1])))
