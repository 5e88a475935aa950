"""Judges one converted format: every engine that loads it, every gate, none skipped."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from export.convert import FINAL, Converted, fold_name
from export.engine_environment import find_environment
from export.formats import Format
from export.gates import Limits, Rung, guarded_points, measure, measure_final
from export.inference import Answers, Weights, answer
from runtime.engine import installed_engines
from runtime.errors import BundleError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from export.source import Run, Source

__all__ = ["EngineResult", "Judged", "Terms", "engines_at_hand", "judge", "operating_points"]

READERS: Final = {
    "litert": ("litert", "tflite-runtime"),
    "onnxruntime": ("onnxruntime",),
}
"""Kind of file -> engines that may read it, the reference engine first."""


@dataclass(frozen=True)
class Terms:
    """On what terms an export is made.

    Attributes
    ----------
    limits : Limits
    engines : mapping of str to Path or None
        From `engines_at_hand`.
    audit : mapping or None
        ``audit.json`` of ``python -m train audit``, for the model card.
    fine_tune : bool
        Whether integer formats come from a copy fine-tuned for rounding.
    """

    limits: Limits
    engines: Mapping[str, Path | None]
    audit: Mapping[str, Any] | None = None
    fine_tune: bool = False


@dataclass(frozen=True)
class EngineResult:
    """What one engine made of a format.

    Attributes
    ----------
    engine, version : str
    held_out : ndarray of float64, shape [n, 5]
        Probabilities of every page by the converted fold model that had not seen it.
    rungs : tuple of Rung
    median_us : float
        Median time of one inference of the final model here, microseconds.
    """

    engine: str
    version: str
    held_out: NDArray[np.float64]
    rungs: tuple[Rung, ...]
    median_us: float

    @property
    def passed(self) -> bool:
        """Tell whether every gate was kept."""
        return all(rung.passed for rung in self.rungs)


@dataclass(frozen=True)
class Judged:
    """The verdict on one format.

    Attributes
    ----------
    format : Format
    weights : Weights or None
        The final model's file; None where the conversion failed.
    general : tuple of Rung
        Gates that do not depend on an engine: structure, and the RUN agreeing with itself.
    engines : tuple of EngineResult
        The reference engine first.
    refused_by : mapping of str to str
        Engine -> why it cannot load the file.
    points : mapping of str to float
        Operating points that the bundle carries.
    size : int
        Bytes of the final model's file.
    failure : str
        Why there is nothing to judge; empty otherwise.
    """

    format: Format
    weights: Weights | None
    general: tuple[Rung, ...]
    engines: tuple[EngineResult, ...]
    refused_by: Mapping[str, str]
    points: Mapping[str, float]
    size: int = 0
    failure: str = ""

    @property
    def passed(self) -> bool:
        """Tell whether the format may be shipped."""
        judged_somewhere = bool(self.engines) or not self.format.runs_on_device
        general = all(rung.passed for rung in self.general)
        return (
            not self.failure
            and judged_somewhere
            and general
            and all(result.passed for result in self.engines)
        )

    def rungs(self) -> list[tuple[str, Rung]]:
        """Return every rung with the engine it was measured on (empty: any)."""
        rows = [("", rung) for rung in self.general]
        return rows + [(r.engine, rung) for r in self.engines for rung in r.rungs]

    def failed(self) -> list[str]:
        """Return the reasons against shipping it."""
        if self.failure:
            return [self.failure]
        rows = [
            f"{engine + ': ' if engine else ''}{rung.name} {rung.measured:.4g}, "
            f"limit {rung.limit:g}"
            for engine, rung in self.rungs()
            if not rung.passed
        ]
        if not self.engines and self.format.runs_on_device:
            rows.append("no engine here loads it")
        return rows


def engines_at_hand() -> dict[str, Path | None]:
    """Return the engines that can answer -> interpreter to use, None for this one."""
    installed = installed_engines()
    found: dict[str, Path | None] = {}
    for engine in ("litert", "onnxruntime", "tflite-runtime"):
        # tflite-runtime installed here would bring numpy 1, with which nothing else here runs.
        if engine in installed and engine != "tflite-runtime":
            found[engine] = None
        elif (python := find_environment(engine)) is not None:
            found[engine] = python
    return found


def operating_points(decision: Mapping[str, Any]) -> dict[str, float]:
    """Return label -> threshold of a RUN's or manifest's decision part."""
    return {
        label: float(point["threshold"] if isinstance(point, Mapping) else point)
        for label, point in decision["operating_points"].items()
    }


def judge(
    run: Run,
    source: Source,
    format: Format,
    converted: Converted,
    terms: Terms,
) -> Judged:
    """Measure every gate of one format.

    Parameters
    ----------
    run : Run
    source : Source
    format : Format
    converted : Converted
    terms : Terms
    """
    limits, engines = terms.limits, terms.engines
    points = operating_points(source.decision)
    if format.id in converted.failed:
        reason = f"cannot be converted ({converted.failed[format.id]})"
        return Judged(format, None, (), (), {}, points, failure=reason)
    weights = converted.weights[FINAL][format.id]
    size = weights.path.stat().st_size
    general = [
        structure(weights, format, converted.reference),
        _self_rung(source, converted, limits),
    ]
    if not format.runs_on_device:
        with np.load(weights.path.with_suffix(".npz"), allow_pickle=False) as stored:
            general += measure_final(converted.reference, dict(stored), limits)
        return Judged(format, weights, tuple(general), (), {}, points, size)
    answers: list[tuple[NDArray[np.float64], NDArray[np.float64], Answers]] = []
    refused: dict[str, str] = {}
    for engine in READERS[format.engine]:
        if engine not in engines:
            continue
        try:
            answers.append(_answers(run, format, converted, engine, engines[engine]))
        except BundleError as fault:
            refused[engine] = " ".join(fault.message.split())
    shipped = guarded_points(
        run.pages.labels, source.held_out, [a[0] for a in answers], points, limits
    )
    results = tuple(
        EngineResult(
            engine=final.engine,
            version=final.version,
            held_out=held_out,
            rungs=(
                *measure(
                    run.pages.labels, source.held_out, held_out, sums, points, shipped, limits
                ),
                *measure_final(converted.reference, final.named(), limits),
            ),
            median_us=final.median_us,
        )
        for held_out, sums, final in answers
    )
    return Judged(format, weights, tuple(general), results, refused, shipped, size)


def structure(
    weights: Weights, format: Format, reference: Mapping[str, NDArray[np.float32]]
) -> Rung:
    """Compare names, shapes and types of a file's inputs and outputs with what they should be."""
    dtype = "int8" if format.integer_io else "float32"
    wrong = []
    expected = {name: [1, *value.shape[1:]] for name, value in reference.items()}
    found = {entry["name"]: entry for entry in weights.outputs}
    for name, shape in expected.items():
        if name not in found:
            wrong.append(f"no output '{name}'")
        elif found[name]["shape"] != shape:
            wrong.append(f"{name} is {found[name]['shape']}, not {shape}")
    if len(weights.inputs) != 1 or weights.inputs[0]["name"] != "page":
        wrong.append("its only input is not 'page'")
    wrong += [
        f"{entry['name']} is {entry['dtype']}, not {dtype}"
        for entry in (*weights.inputs, *weights.outputs)
        if entry["dtype"] != dtype
    ]
    return Rung("names, shapes and types amiss", len(wrong), 0, detail="; ".join(wrong))


def _self_rung(source: Source, converted: Converted, limits: Limits) -> Rung:
    """Compare the unconverted fold models with the RUN's own held-out predictions."""
    drift = float(np.abs(converted.held_out - source.held_out).max())
    return Rung("RUN against its own weights, drift", drift, limits.reference_drift)


def _answers(
    run: Run, format: Format, converted: Converted, engine: str, python: Path | None
) -> tuple[NDArray[np.float64], NDArray[np.float64], Answers]:
    """Return pooled held-out probabilities, their raw sums, and the final model's answers."""
    pages = run.pages
    held_out = np.zeros((len(pages.labels), len(run.record["labels"])))
    sums = np.ones(len(pages.labels))
    for fold in sorted(set(pages.folds.tolist())):
        here = pages.folds == fold
        part = converted.weights[fold_name(fold)][format.id]
        answers = answer(part, pages.tensors[here], engine, python)
        held_out[here], sums[here] = answers.probabilities, answers.raw_sums
    final = answer(
        converted.weights[FINAL][format.id], pages.tensors, engine, python, side_outputs=True
    )
    return held_out, sums, final
