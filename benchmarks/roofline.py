"""The limit on this machine: the floor of reading a page and the floor of the network's sums."""

from __future__ import annotations

import io
from collections.abc import Callable
from functools import partial
from itertools import cycle
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import numpy as np
from PIL import Image

from benchmarks.latency import timed
from benchmarks.statistics import median
from benchmarks.turns import Rounds, ratios, summaries, take_turns
from runtime.classifier import Classifier
from runtime.page import Page, open_document
from runtime.panel import find_panel

__all__ = ["distances", "entropy_decode", "measure"]

_PRECISIONS: Final = ("float32", "int8")

_CHANNELS: Final = 256
_SIDE: Final = 32
_PROBE_MACS: Final = _SIDE * _SIDE * _CHANNELS * _CHANNELS
"""A pointwise convolution of 67 million multiply-accumulates: large enough to reach the peak of
one core, small enough (256 kB of weights) to stay in its cache."""


def measure(spec: dict[str, Any]) -> dict[str, Any]:
    """Measure this machine's floors, and how far above them we are; call it in a fresh process.

    Parameters
    ----------
    spec : dict
        ``pages`` (paths of JPEG files), ``runs``, ``networks`` (bundle name -> ``bundle``, its
        folder, and ``architecture``).

    Returns
    -------
    dict
        ``entropy_decode_ms`` (median over the pages), ``bytes_per_second`` of a memory copy,
        ``macs_per_second`` by precision through LiteRT on one thread, ``macs`` and ``infer_us``
        (engine alone, median) by bundle, and ``distances``: bundle -> stage -> how many times its
        floor it takes. ``decode`` and ``end_to_end`` are set against libjpeg's entropy decode of
        the same files, ``infer`` against the network's multiply-accumulates at the rate of its
        precision.
    """
    pages = [Path(page).read_bytes() for page in spec["pages"]]
    bundles = {
        name: Classifier.from_bundle(network["bundle"])
        for name, network in spec["networks"].items()
    }
    macs = {name: _macs(network["architecture"]) for name, network in spec["networks"].items()}
    reading = take_turns(_reading(bundles, pages), spec["runs"])
    sums = take_turns(_sums(bundles, pages[0]), spec["runs"])
    typical = summaries(sums)
    precisions = {name: bundle.identity.precision for name, bundle in bundles.items()}
    return {
        "entropy_decode_ms": summaries(reading)["floor"]["p50"] / 1e3,
        "bytes_per_second": _copy_rate(spec["runs"]),
        "macs_per_second": {
            precision: _PROBE_MACS / (typical[precision]["p50"] / 1e6) for precision in _PRECISIONS
        },
        "macs": macs,
        "infer_us": {name: typical[name]["p50"] for name in bundles},
        "distances": distances(reading, sums, macs, precisions),
    }


def distances(
    reading: Rounds, sums: Rounds, macs: dict[str, int], precisions: dict[str, str]
) -> dict[str, dict[str, float]]:
    """Return bundle -> stage -> ratio to its floor.

    Parameters
    ----------
    reading : mapping
        Durations of ``floor``, ``decode`` and of each bundle end to end.
    sums : mapping
        Durations of the probe of each precision and of each bundle's engine.
    macs : dict
        Bundle -> multiply-accumulates of an answer.
    precisions : dict
        Bundle -> precision.
    """
    over_decode = ratios(reading, "floor")
    found = {}
    for name, precision in precisions.items():
        found[name] = {"decode": over_decode["decode"], "end_to_end": over_decode[name]}
        if precision in _PRECISIONS:  # the others have no probe
            probes = macs[name] / _PROBE_MACS
            found[name]["infer"] = ratios(sums, precision)[name] / probes
    return found


def _reading(bundles: dict[str, Any], pages: list[bytes]) -> dict[str, Callable[[], object]]:
    """Return what reads: libjpeg's floor, our decode, and each bundle end to end."""
    actions: dict[str, Callable[[], object]] = {
        "floor": _over(pages, entropy_decode),
        "decode": _over(pages, _decode),
    }
    return actions | {name: _over(pages, bundle.classify) for name, bundle in bundles.items()}


def _over(pages: list[bytes], action: Callable[[bytes], object]) -> Callable[[], object]:
    """Return an action that does with one page after the other what `action` does with one."""
    turn = cycle(pages)
    return lambda: action(next(turn))


def _sums(bundles: dict[str, Any], page: bytes) -> dict[str, Callable[[], object]]:
    """Return what multiplies: the probes, and each bundle's engine on a page's tensor."""
    actions: dict[str, Callable[[], object]] = {p: _probe(p) for p in _PRECISIONS}
    for name, bundle in bundles.items():
        tensor = bundle.preprocess.tensor(find_panel(_decode(page)))[None]
        actions[name] = partial(bundle.engine.run, tensor)
    return actions


def entropy_decode(data: bytes) -> None:
    """Do the smallest thing that libjpeg can do with a whole file.

    At one eighth of the size only one coefficient of each block is transformed, yet every bit of
    the file is still Huffman-decoded: nothing that looks at the page can be faster.
    """
    with Image.open(io.BytesIO(data)) as image:
        image.draft("L", (image.width // 8, image.height // 8))
        image.load()


def _decode(data: bytes) -> Page:
    """Decode a page as the device does."""
    with open_document(data) as document:
        return document.read(1)


def _copy_rate(runs: int) -> float:
    source = np.zeros(64 * 2**20, np.uint8)
    target = np.empty_like(source)
    seconds = median(timed(lambda: np.copyto(target, source), max(10, runs // 10))) / 1e6
    return source.nbytes / seconds


def _probe(precision: str) -> Any:
    """Return an action that runs the probe convolution once."""
    import keras
    from ai_edge_litert.interpreter import Interpreter

    page = keras.Input((_SIDE, _SIDE, _CHANNELS), batch_size=1)
    model = keras.Model(page, keras.layers.Conv2D(_CHANNELS, 1)(page))
    interpreter = Interpreter(model_content=to_tflite(model, precision), num_threads=1)
    interpreter.allocate_tensors()
    return interpreter.invoke


def to_tflite(model: Any, precision: str) -> bytes:
    """Convert a Keras model of random weights: good for speed, for nothing else.

    Its batch is fixed at one, as in our bundles: an open one costs an engine the shapes that it
    could have known.
    """
    import keras
    import tensorflow as tf

    shape = (1, *model.input.shape[1:])
    with TemporaryDirectory() as folder:
        signature = [keras.InputSpec(shape=shape, dtype="float32")]
        model.export(folder, "tf_saved_model", verbose=False, input_signature=signature)
        return _converted(tf.lite.TFLiteConverter.from_saved_model(folder), shape, precision)


def _converted(converter: Any, shape: tuple[int, ...], precision: str) -> bytes:
    import tensorflow as tf

    if precision == "int8":
        rng = np.random.default_rng(0)
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = lambda: (
            [rng.random(shape, np.float32)] for _ in range(4)
        )
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    return bytes(converter.convert())


def _macs(architecture: str) -> int:
    from train.architecture import ARCHITECTURES
    from train.cnn import build, multiply_accumulates

    return multiply_accumulates(build(ARCHITECTURES[architecture]))
