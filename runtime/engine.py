"""Inference engines behind one adapter; the only place that quantises and dequantises."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final, Protocol

import numpy as np

from runtime.errors import BundleError, MissingExtraError, UsageError
from runtime.record import Record

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from runtime.bundle import ModelFile

__all__ = ["ENGINE_CHOICES", "Engine", "Quantisation", "installed_engines", "open_engine"]

ENGINE_CHOICES: Final = ("auto", "litert", "onnxruntime", "tflite-runtime")

_MODULES: Final = {
    "litert": "ai_edge_litert",
    "tflite-runtime": "tflite_runtime",
    "onnxruntime": "onnxruntime",
}
_DISTRIBUTIONS: Final = {
    "litert": "ai-edge-litert",
    "tflite-runtime": "tflite-runtime",
    "onnxruntime": "onnxruntime",
}
_READERS: Final = {"litert": ("litert", "tflite-runtime"), "onnxruntime": ("onnxruntime",)}
"""Kind of file -> engines that read it, the preferred one first."""


class Engine(Protocol):
    """Runs one model on one tensor at a time."""

    name: str

    @property
    def version(self) -> str:
        """Version of the installed engine."""
        ...

    def run(self, tensor: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
        """Return the named outputs (``probabilities`` [5], ...) for a tensor [1, H, W, 1]."""
        ...


class Quantisation(Record):
    """Affine map between real numbers and integers: real = scale * (integer - zero_point)."""

    scale: float
    zero_point: int
    dtype: Any

    def quantise(self, real: NDArray[np.float32]) -> NDArray[Any]:
        """Return integers, rounded to nearest and clipped.

        Without the clip a value just above the range wraps round: 1.2 would become -78.
        """
        limits = np.iinfo(self.dtype)
        integer = np.rint(real / self.scale) + self.zero_point
        return np.clip(integer, limits.min, limits.max).astype(self.dtype)

    def dequantise(self, integer: NDArray[Any]) -> NDArray[np.float32]:
        """Return the real numbers that integers stand for, float32."""
        return (integer.astype(np.float32) - np.float32(self.zero_point)) * np.float32(self.scale)


def installed_engines() -> dict[str, str]:
    """Return the engines that are installed here, with their versions."""
    return {name: _version(name) for name, module in _MODULES.items() if find_spec(module)}


def _version(engine: str) -> str:
    """Return an installed engine's version."""
    # Imported late: importlib.metadata brings the email package, 10 ms of a cold start.
    from importlib import metadata

    return metadata.version(_DISTRIBUTIONS[engine])


def open_engine(model: ModelFile, engine: str = "auto", threads: int = 1) -> Engine:
    """Load a model file into an engine.

    Parameters
    ----------
    model : ModelFile
        The checked weights.
    engine : str
        One of `ENGINE_CHOICES`; ``auto`` takes the first installed one that reads the file.
    threads : int
        Threads of the engine; 1 unless the machine is idle, see docs/engines.md.

    Raises
    ------
    UsageError
        If the engine is unknown or does not read this kind of file.
    MissingExtraError
        If the engine is not installed.
    BundleError
        If the engine refuses the file.
    """
    name = _choose(model, engine)
    build = _onnxruntime if name == "onnxruntime" else _tflite
    try:
        return build(name, model, threads)
    except (RuntimeError, ValueError, TypeError) as fault:
        raise BundleError(
            f"{model.path}: {name} cannot load it ({fault})",
            "try another --engine, or export the bundle again",
        ) from fault


def _choose(model: ModelFile, engine: str) -> str:
    readers = _READERS.get(model.engine, ())
    if engine not in ENGINE_CHOICES:
        raise UsageError(f"unknown engine '{engine}'", f"choose from {', '.join(ENGINE_CHOICES)}")
    if not readers or (engine != "auto" and engine not in readers):
        raise UsageError(
            f"{os.path.basename(model.path)} is a file for {model.engine}, not for {engine}",
            f"use --engine {readers[0]}" if readers else "evaluate it with python -m train",
        )
    wanted = readers if engine == "auto" else (engine,)
    for name in wanted:
        if find_spec(_MODULES[name]) is not None:
            return name
    extra = {"litert": "", "onnxruntime": "onnx", "tflite-runtime": "tflite-runtime"}[wanted[0]]
    raise MissingExtraError(extra, f"the engine {wanted[0]}")


class _TfliteEngine:
    """LiteRT or tflite-runtime; both speak the TensorFlow Lite interpreter's interface."""

    def __init__(self, name: str, interpreter: Any, outputs: tuple[str | None, ...]) -> None:
        self.name = name
        self._interpreter = interpreter
        source = interpreter.get_input_details()[0]
        self._input: Callable[[], NDArray[Any]] = interpreter.tensor(source["index"])
        self._quantise = _quantisation(source)
        self._outputs = [
            (meaning, interpreter.tensor(detail["index"]), _quantisation(detail))
            for meaning, detail in zip(outputs, interpreter.get_output_details(), strict=True)
            if meaning is not None
        ]

    @property
    def version(self) -> str:
        """Version of the installed engine."""
        return _version(self.name)

    def run(self, tensor: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
        """Write the tensor in place, invoke, and copy the outputs out."""
        self._input()[...] = self._quantise.quantise(tensor) if self._quantise else tensor
        self._interpreter.invoke()
        return {
            meaning: quantised.dequantise(view()[0]) if quantised else np.array(view()[0])
            for meaning, view, quantised in self._outputs
        }


def _tflite(name: str, model: ModelFile, threads: int) -> Engine:
    interpreter_module = {
        "litert": "ai_edge_litert.interpreter",
        "tflite-runtime": "tflite_runtime.interpreter",
    }[name]
    with _quiet_stderr():
        interpreter = import_module(interpreter_module).Interpreter(
            model_content=model.content, num_threads=threads
        )
        interpreter.allocate_tensors()
    _check_shape(tuple(interpreter.get_input_details()[0]["shape"]), model)
    return _TfliteEngine(name, interpreter, model.outputs)


def _quantisation(detail: dict[str, Any]) -> Quantisation | None:
    if not np.issubdtype(detail["dtype"], np.integer):
        return None
    scale, zero_point = detail["quantization"]
    return Quantisation(float(scale), int(zero_point), detail["dtype"])


class _OnnxEngine:
    """ONNX Runtime on the CPU provider."""

    name = "onnxruntime"

    def __init__(self, session: Any, outputs: tuple[str | None, ...]) -> None:
        self._session = session
        self._input = session.get_inputs()[0].name
        named = zip(outputs, session.get_outputs(), strict=True)
        self._outputs = [(meaning, out.name) for meaning, out in named if meaning is not None]

    @property
    def version(self) -> str:
        """Version of the installed engine."""
        return _version(self.name)

    def run(self, tensor: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
        """Run the session; the outputs are already real numbers."""
        names = [name for _, name in self._outputs]
        values = self._session.run(names, {self._input: tensor})
        return {
            meaning: np.asarray(value[0], dtype=np.float32)
            for (meaning, _), value in zip(self._outputs, values, strict=True)
        }


def _onnxruntime(name: str, model: ModelFile, threads: int) -> Engine:
    with _quiet_stderr():
        ort = import_module(name)
        options = ort.SessionOptions()
        # Explicit counts also keep ONNX Runtime from pinning threads to cores that a container
        # does not have (onnxruntime issue 8313).
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            session = ort.InferenceSession(
                model.content, options, providers=["CPUExecutionProvider"]
            )
        except Exception as fault:  # ONNX Runtime's errors share no public base class
            raise RuntimeError(str(fault)) from fault
    shape = tuple(s if isinstance(s, int) else 1 for s in session.get_inputs()[0].shape)
    _check_shape(shape, model)
    return _OnnxEngine(session, model.outputs)


def _check_shape(found: tuple[int, ...], model: ModelFile) -> None:
    if tuple(int(size) for size in found) != model.input_shape:
        raise BundleError(
            f"{model.path}: takes {found}, the manifest says {model.input_shape}",
            "export the bundle again",
        )


@contextmanager
def _quiet_stderr() -> Iterator[None]:
    """Keep what native code prints while it starts (delegate and GPU notices) off stderr.

    Such lines come from C++ and go past Python's `sys.stderr`, so the file descriptor itself
    is pointed elsewhere for the moment.
    """
    try:
        saved = os.dup(2)
    except OSError:
        yield
        return
    null = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(null, 2)
        yield
    finally:
        os.dup2(saved, 2)
        for descriptor in (saved, null):
            with suppress(OSError):
                os.close(descriptor)
