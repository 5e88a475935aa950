"""Starts the conversion process for one model and collects what it made."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from export.calibration import pages_for
from export.formats import Format
from export.inference import Weights
from runtime.errors import GateError, MissingExtraError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from export.source import Run, Source

__all__ = ["FINAL", "Converted", "convert"]

FINAL = "final"
"""Name of the part that holds the weights fitted on all pages."""

ENVIRONMENT = {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "", "PYTHONWARNINGS": "ignore"}


@dataclass(frozen=True)
class Converted:
    """What the conversion process made of one model.

    Attributes
    ----------
    weights : dict of str to dict of str to Weights
        Part (``fold-0`` ... and ``final``) -> format id -> file.
    failed : dict of str to str
        Format id -> why it could not be converted.
    held_out : ndarray of float64, shape [n, 5]
        The unconverted fold models' probabilities of the pages each had not seen.
    reference : dict of str to ndarray
        Outputs of the unconverted final model on all pages, by name.
    """

    weights: dict[str, dict[str, Weights]]
    failed: dict[str, str]
    held_out: NDArray[np.float64]
    reference: dict[str, NDArray[np.float32]]


def fold_name(fold: int) -> str:
    """Return the part's name of a fold model."""
    return f"fold-{fold}"


def convert(
    run: Run,
    source: Source,
    formats: Sequence[Format],
    folder: Path,
    step: Callable[[str], None],
    fine_tune: bool = False,
) -> Converted:
    """Convert the fold models and the final model of one source, in one process of its own.

    Parameters
    ----------
    run : Run
    source : Source
    formats : sequence of Format
        Those that fit the source's kind.
    folder : Path
        Empty; the files are put below it.
    step : callable
        Told each finished step.
    fine_tune : bool
        Whether integer formats are made from a copy fine-tuned for rounding (networks only).

    Raises
    ------
    MissingExtraError
        If the conversion packages are not installed.
    GateError
        If the process died.
    """
    # What no device engine reads cannot differ from fold to fold: final weights only.
    judged = [format.id for format in formats if format.runs_on_device]
    parts = [
        _part(run, source.folds[k], fold_name(k), k, np.flatnonzero(run.pages.folds == k), judged)
        for k in range(len(source.folds))
    ]
    everything = [format.id for format in formats]
    pages = np.arange(len(run.pages.labels))
    parts.append(_part(run, source.final, FINAL, None, pages, everything))
    job = {
        "kind": source.kind,
        "temperature": source.temperature,
        "features": source.features,
        "tensors": str((run.root / "tensors.npz").resolve()),
        "parts": parts,
    }
    for part in parts:
        # Never on held-out pages: the gates judge on them.
        part["fine_tune"] = part["training"] if fine_tune and source.kind == "keras" else []
    (folder / "job.json").write_text(json.dumps(job), encoding="utf-8")
    _run_worker(folder, step)
    return _collect(run, formats, folder, [part["stem"] for part in parts])


def _part(
    run: Run,
    file: Path,
    stem: str,
    fold: int | None,
    answer: NDArray[np.int64],
    formats: list[str],
) -> dict[str, Any]:
    seen = run.pages.folds != (-1 if fold is None else fold)
    return {
        "formats": formats,
        "stem": stem,
        "file": str(file.resolve()),
        "calibration": pages_for(run, fold),
        "answer": [int(i) for i in answer],
        "training": [int(i) for i in np.flatnonzero(seen)],
    }


def _run_worker(folder: Path, step: Callable[[str], None]) -> None:
    log = folder / "log.txt"
    home = str(Path(__file__).resolve().parent.parent)
    with log.open("w", encoding="utf-8") as errors:
        worker = subprocess.Popen(
            [sys.executable, "-m", "export.worker", str(folder / "job.json")],
            env={**os.environ, **ENVIRONMENT, "PYTHONPATH": home},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            # Ctrl-C is for this process, which then ends the worker.
            start_new_session=True,
        )
        try:
            assert worker.stdout is not None
            for line in worker.stdout:
                step(line.strip())
            code = worker.wait()
        finally:
            worker.kill()
            worker.wait()
    if code != 0:
        lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        last = lines[-1] if lines else f"exit {code}"
        if "ModuleNotFoundError" in last:
            raise MissingExtraError("export", f"converting models ({last})")
        raise GateError(f"the conversion process ended with exit {code}: {last}", "run it again")


def _collect(run: Run, formats: Sequence[Format], folder: Path, stems: Sequence[str]) -> Converted:
    facts = json.loads((folder / "facts.json").read_text(encoding="utf-8"))
    weights: dict[str, dict[str, Weights]] = {stem: {} for stem in stems}
    failed: dict[str, str] = {}
    held_out = np.zeros((len(run.pages.labels), len(run.record["labels"])))
    for stem in stems:
        for format in formats:
            entry = facts[stem].get(format.id)
            if entry is None:
                continue
            if "failed" in entry:
                failed.setdefault(format.id, f"{stem}: {entry['failed']}")
                continue
            weights[stem][format.id] = Weights(
                path=folder / stem / f"{format.id}{format.suffix}",
                engine=format.engine,
                precision=format.precision,
                inputs=tuple(entry["inputs"]),
                outputs=tuple(entry["outputs"]),
            )
        if stem != FINAL:
            fold = int(stem.removeprefix("fold-"))
            held_out[run.pages.folds == fold] = _reference(folder / stem)["probabilities"]
    return Converted(weights, failed, held_out, _reference(folder / FINAL))


def _reference(folder: Path) -> dict[str, NDArray[np.float32]]:
    with np.load(folder / "reference.npz", allow_pickle=False) as stored:
        return {name: stored[name] for name in stored.files}
