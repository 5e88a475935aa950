"""`python -m export check`: a bundle on any labelled folder, a hospital's own pages for example."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from export.parity import share
from runtime.classifier import Classifier
from runtime.errors import GateError, NoInputError
from runtime.labels import CRITICAL_LABELS, LABEL_NAMES, LABELS
from runtime.prediction import Prediction
from runtime.progress import Progress

__all__ = ["CheckLimits", "check", "labelled_pages"]

PAGE_SUFFIXES: Final = (
    ".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp", ".webp", ".gif", ".pdf", ".dcm",
)  # fmt: skip


@dataclass(frozen=True)
class CheckLimits:
    """What the site asks for; None asks for nothing.

    Attributes
    ----------
    accuracy : float or None
        Smallest share of answered pages with the right label.
    recall : float or None
        Smallest recall of every critical class.
    rejected : float or None
        Largest share of pages that are rejected or cannot be read.
    """

    accuracy: float | None = None
    recall: float | None = None
    rejected: float | None = None


def labelled_pages(data: Path) -> Iterator[tuple[Path, str]]:
    """Yield pages with their class: from ``manifest.csv``, or a folder a class.

    Parameters
    ----------
    data : Path
        Folder. A manifest needs the columns ``path`` and ``class``.

    Raises
    ------
    NoInputError
        If neither is there.
    """
    manifest = data / "manifest.csv"
    if manifest.is_file():
        with manifest.open(newline="", encoding="utf-8") as stream:
            rows = csv.DictReader(stream)
            if not {"path", "class"} <= set(rows.fieldnames or ()):
                raise NoInputError(f"{manifest} lacks the columns path and class", "add them")
            for row in rows:
                if row["class"] in LABELS:
                    yield data / row["path"], row["class"]
        return
    folders = [data / label for label in LABELS if (data / label).is_dir()]
    if not folders:
        raise NoInputError(
            f"{data}: neither manifest.csv nor a folder named like a class",
            f"classes are {', '.join(LABELS)}",
        )
    for folder in folders:
        for path in sorted(folder.rglob("*")):
            if path.suffix.lower() in PAGE_SUFFIXES:
                yield path, folder.name


def check(
    bundle: str, data: Path, engine: str = "auto", limits: CheckLimits | None = None
) -> dict[str, Any]:
    """Classify labelled pages and compare the answers with the labels.

    Parameters
    ----------
    bundle : str
        Name or folder.
    data : Path
        See `labelled_pages`.
    engine : str
    limits : CheckLimits or None

    Returns
    -------
    dict
        The figures, as JSON values; ``failed`` lists the limits that were missed.
    """
    classifier = Classifier.from_bundle(bundle, engine)
    pages = list(labelled_pages(data))
    if not pages:
        raise NoInputError(f"{data} holds no page with a known class", "see --help")
    progress = Progress(len(pages))
    answers = []
    for path, label in pages:
        answers.append((label, classifier.classify(path)))
        progress.step()
    progress.close()
    report = _report(answers)
    report["bundle"] = classifier.bundle.name
    report["engine"] = f"{classifier.engine.name} {classifier.engine.version}"
    report["data"] = str(data)
    report["failed"] = _missed(report, limits or CheckLimits())
    return report


def _report(answers: list[tuple[str, Prediction]]) -> dict[str, Any]:
    answered = [(label, a) for label, a in answers if a.label is not None]
    truth = np.array([label for label, _ in answered])
    guess = np.array([a.label for _, a in answered])
    right = truth == guess
    flags: dict[str, Any] = {}
    for label in CRITICAL_LABELS:
        raised = np.array([label in a.flags for _, a in answered], dtype=bool)
        here = truth == label
        flags[label] = {"sensitivity": share(raised[here]), "specificity": share(~raised[~here])}
    status = [a.status for _, a in answers]
    return {
        "schema": "ecg-edge/check/1",
        "n": len(answers),
        "status": {name: status.count(name) for name in ("ok", "uncertain", "rejected", "error")},
        "rejected": share(np.array([s in ("rejected", "error") for s in status])),
        "accuracy": share(right),
        "accuracy_ok": share(right[np.array([a.status == "ok" for _, a in answered], dtype=bool)]),
        "recall": {c: share(right[truth == c]) for c in LABELS if np.any(truth == c)},
        "flags": flags,
        "confusion": [[int(np.sum((truth == a) & (guess == b))) for b in LABELS] for a in LABELS],
    }


def _missed(report: dict[str, Any], limits: CheckLimits) -> list[str]:
    missed = []
    accuracy, rejected = report["accuracy"]["value"], report["rejected"]["value"]
    if limits.accuracy is not None and (accuracy is None or accuracy < limits.accuracy):
        missed.append(f"accuracy {accuracy} is under {limits.accuracy}")
    if limits.rejected is not None and rejected > limits.rejected:
        missed.append(f"rejected {rejected:.3f} is over {limits.rejected}")
    if limits.recall is not None:
        for label in CRITICAL_LABELS:
            value = report["recall"].get(label, {}).get("value")
            if value is not None and value < limits.recall:
                missed.append(f"recall of {label} {value:.3f} is under {limits.recall}")
    return missed


def as_text(report: dict[str, Any]) -> str:
    """Return the figures as lines to read."""
    status = ", ".join(f"{n} {name}" for name, n in report["status"].items() if n)
    lines = [
        f"{report['bundle']} on {report['engine']}, {report['n']} labelled pages: {status}",
        f"{'accuracy of the answered':<44} {_share(report['accuracy'])}",
        f"{'accuracy of the certain (status ok)':<44} {_share(report['accuracy_ok'])}",
    ]
    for label, value in report["recall"].items():
        lines.append(f"{'recall, ' + LABEL_NAMES[label]:<44} {_share(value)}")
    for label, flag in report["flags"].items():
        for figure, value in flag.items():
            if value["n"]:
                lines.append(f"{'flag ' + label + ', ' + figure:<44} {_share(value)}")
    lines.append("confusion (rows true, columns answered): " + ", ".join(LABELS))
    lines += ["  " + " ".join(f"{n:>5}" for n in row) for row in report["confusion"]]
    return "\n".join(lines)


def _share(value: dict[str, Any]) -> str:
    if value["value"] is None:
        return "no page"
    low, high = value["interval"]
    return f"{value['value']:.3f} ({low:.3f}-{high:.3f})  {value['k']} of {value['n']}"


def run_check(bundle: str, data: Path, engine: str, limits: CheckLimits, as_json: bool) -> None:
    """Print the figures; raise GateError where a limit is missed."""
    report = check(bundle, data, engine, limits)
    print(json.dumps(report, indent=1) if as_json else as_text(report))
    if report["failed"]:
        raise GateError("; ".join(report["failed"]), "do not use this bundle on such pages")
