"""``python -m train evaluate``: scores a RUN or a bundle on labelled pages under a protocol.

P1 "published": five-fold by image on whole pages, only to stand beside the literature.
P2 "honest", the headline: by session and near-duplicate group, canonical panel only.
P3 "same cart": P2 on the four-column layout only and without COVID-19, whose pages come from
other devices.
P4 "other heart, other page": recordings from other hospitals, drawn as pages of other carts.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from runtime.errors import OutputError, UsageError
from runtime.labels import CRITICAL_LABELS, LABELS
from train.progress import bar, say
from train.run_folder import RunFolder, machine, package_versions, read_oof, read_run, write_json
from train.scores import Estimate, auroc, bootstrap, proportion, score
from train.split import read_splits

SCHEMA = "ecg-edge/evaluation/1"

PROTOCOLS = {
    "P1": "published: by image, whole page, to stand beside the literature only",
    "P2": "honest: by session and near-duplicate group, traces only",
    "P3": "same cart: P2, four-column layout only, without COVID-19",
    "P4": "other heart, other page: drawn recordings of other hospitals",
}

COLUMN_LAYOUTS = ("3x4", "3x4+1", "3x4+3")
"""Layouts of runtime.panel that count as the four-column one of P3."""


@dataclass(frozen=True)
class Judged:
    """Predictions to be scored.

    Attributes
    ----------
    labels
        Class index, int [n].
    groups
        Group number for the bootstrap, int [n].
    layouts
        Layout that runtime.panel found, str [n].
    probabilities
        float [n, 5]; zeros for a page that was not answered.
    answered
        bool [n]; rejected pages and errors are not.
    thresholds
        Operating point of each critical label.
    source
        What was judged, in words.
    """

    labels: np.ndarray
    groups: np.ndarray
    layouts: np.ndarray
    probabilities: np.ndarray
    answered: np.ndarray
    thresholds: dict[str, float]
    source: str

    def part(self, kept: np.ndarray) -> Judged:
        """Return the pages of a mask."""
        return replace(
            self,
            labels=self.labels[kept],
            groups=self.groups[kept],
            layouts=self.layouts[kept],
            probabilities=self.probabilities[kept],
            answered=self.answered[kept],
        )


def evaluate(data: Path, model: str, protocol: str, name: str, out: Path | None, seed: int) -> str:
    """Score a model on a data folder.

    Parameters
    ----------
    data
        Data folder; for P4 a folder of recordings (signals.npz and manifest.csv).
    model
        RUN folder, or folder or name of a bundle.
    protocol
        Key of `PROTOCOLS`.
    name
        Model of the RUN; under P1 ``imagenet`` or the tutorials' models.
    out
        Folder for evaluation.json, evaluation.md and figures; None writes nothing.
    seed
        Of bootstrap and drawing.

    Returns
    -------
    str
        Markdown.
    """
    is_run = (Path(model) / "run.json").is_file()
    if protocol == "P1":
        from train.published import published

        results = published(data, seed, name)
    elif protocol == "P4":
        from train.other_hearts import judge_drawn

        results = _other_heart(judge_drawn(data, model, name, is_run, seed), seed)
    else:
        judged = judge_run(data, Path(model), name) if is_run else judge_bundle(data, model)
        results = _pages(judged, protocol, seed)
    results = {
        "schema": SCHEMA,
        "protocol": protocol,
        "about": PROTOCOLS[protocol],
        "data": str(data),
        "model": str(model),
        "seed": seed,
        **results,
        "machine": machine(),
        "packages": package_versions(),
    }
    text = markdown(results)
    if out is not None:
        _write(out, results, text)
    return text


def thresholds_of(decision: dict[str, Any]) -> dict[str, float]:
    """Return the operating point of each critical label, given bare or with its figures."""
    return {
        label: float(point["threshold"] if isinstance(point, dict) else point)
        for label, point in decision["operating_points"].items()
    }


def judge_run(data: Path, root: Path, name: str) -> Judged:
    """Judge a RUN: its own pages by the fold that held them out, others by the final model.

    Pages are recognised by the hash of their file, so that none is ever judged by a model that
    was trained on it.

    Raises
    ------
    UsageError
        If the RUN has no model of that name.
    """
    from runtime.preprocess import Preprocess
    from train import tensors
    from train.dataset import load
    from train.predict import calibrated_oof, predict

    run = read_run(root)
    if name not in run["models"]:
        raise UsageError(f"{root} has no model {name!r}", f"it has {', '.join(run['models'])}")
    entry = run["models"][name]
    dataset = load(data, lambda items: bar(items, "checking files"))
    folder = RunFolder(root)
    row_of = {row.sha256: i for i, row in enumerate(read_splits(folder.splits))}
    rows = np.array([row_of.get(sample.sha256, -1) for sample in dataset.samples])
    known = rows >= 0
    file = folder.tensors
    if dataset.sha256 != run["data"]["sha256"]:
        file = root / "evaluated" / dataset.sha256[:16] / "tensors.npz"
        file.parent.mkdir(parents=True, exist_ok=True)
    pages = tensors.load(dataset, Preprocess.from_manifest(run["preprocess"]), file)
    p = np.zeros((len(rows), len(LABELS)))
    p[known] = calibrated_oof(entry, read_oof(root / entry["oof"]).probabilities)[rows[known]]
    if not known.all():
        p[~known] = predict(root, entry, pages.values[~known])
    return Judged(
        dataset.labels,
        np.array(dataset.groups),
        pages.layouts,
        p,
        np.ones(len(p), dtype=bool),
        thresholds_of(entry["decision"]),
        f"{name}: {known.sum()} pages by held-out folds, {(~known).sum()} by the final model",
    )


def judge_bundle(data: Path, model: str) -> Judged:
    """Judge a bundle exactly as the device answers, rejections included."""
    from runtime.classifier import Classifier
    from train.dataset import load

    classifier = Classifier.from_bundle(model)
    dataset = load(data, lambda items: bar(items, "checking files"))
    provenance = classifier.bundle.manifest.get("provenance", {})
    if dataset.sha256 in json.dumps(provenance):
        say("warning: this bundle was trained on these very pages; use the RUN for honest figures")
    p = np.zeros((len(dataset.samples), len(LABELS)))
    answered = np.zeros(len(p), dtype=bool)
    layouts = []
    for i, sample in enumerate(bar(dataset.samples, "classifying", len(p))):
        prediction = classifier.classify(dataset.root / sample.path)
        if prediction.probabilities is not None:
            p[i] = _in_order(prediction.probabilities)
            answered[i] = True
        layouts.append(sample.layout)
    return Judged(
        dataset.labels,
        np.array(dataset.groups),
        np.array(layouts),
        p,
        answered,
        thresholds_of(classifier.bundle.manifest["decision"]),
        f"bundle {classifier.identity.name} {classifier.identity.version}, "
        f"{classifier.identity.engine} {classifier.identity.precision}",
    )


def _in_order(probabilities: Any) -> list[float]:
    if isinstance(probabilities, dict):
        return [float(probabilities[label]) for label in LABELS]
    return [float(p) for p in probabilities]


def _pages(judged: Judged, protocol: str, seed: int) -> dict[str, Any]:
    """Score pages under P2 or P3."""
    labels: tuple[str, ...] = LABELS
    if protocol == "P3":
        covid = LABELS.index("covid19")
        column = np.isin(judged.layouts, COLUMN_LAYOUTS) | np.char.startswith(
            judged.layouts.astype(str), "4*2.5s"
        )
        judged = judged.part(column & (judged.labels != covid))
        labels = tuple(label for label in LABELS if label != "covid19")
    p = judged.probabilities[:, [LABELS.index(label) for label in labels]]
    p = p / np.maximum(p.sum(axis=1, keepdims=True), 1e-9)
    if not len(p):
        raise UsageError("no page of the data fits this protocol", "choose another --protocol")
    answered = judged.answered
    scores = score(judged.labels[answered], p[answered], judged.groups[answered], seed, labels)
    right = answered & (p.argmax(axis=1) == judged.labels)
    return {
        "source": judged.source,
        "n": len(p),
        "not_answered": int((~answered).sum()),
        "accuracy_of_all": _json(proportion(right)),
        "scores": scores.to_json(),
        "flags": _flags(judged),
    }


def _flags(judged: Judged) -> dict[str, Any]:
    """Return sensitivity and specificity of each critical flag; unanswered pages raise none."""
    found: dict[str, Any] = {}
    for label in CRITICAL_LABELS:
        if label not in judged.thresholds:
            continue
        c = LABELS.index(label)
        flagged = judged.answered & (judged.probabilities[:, c] >= judged.thresholds[label])
        positive = judged.labels == c
        found[label] = {
            "threshold": judged.thresholds[label],
            "sensitivity": _json(proportion(flagged[positive])),
            "specificity": _json(proportion(~flagged[~positive])),
        }
    return found


def _other_heart(judged: Judged, seed: int) -> dict[str, Any]:
    """Score drawn pages under P4: areas under the ROC curve, by patient."""
    judged = judged.part(judged.answered)
    normal = judged.labels == LABELS.index("normal")
    mi_classes = [LABELS.index(label) for label in CRITICAL_LABELS]
    mi = np.isin(judged.labels, mi_classes)
    p_normal = judged.probabilities[:, LABELS.index("normal")]
    p_mi = judged.probabilities[:, mi_classes].sum(axis=1)
    either = normal | mi
    return {
        "source": judged.source,
        "n": len(judged.labels),
        "auroc_any_mi_against_normal": _json(
            _area(
                mi[either], (p_mi / (p_mi + p_normal + 1e-9))[either], judged.groups[either], seed
            )
        ),
        "auroc_normal_against_rest": _json(_area(normal, p_normal, judged.groups, seed)),
        "scores": score(judged.labels, judged.probabilities, judged.groups, seed).to_json(),
        "flags": _flags(judged),
    }


def _area(positive: np.ndarray, value: np.ndarray, groups: np.ndarray, seed: int) -> Estimate:
    low, high = bootstrap(lambda i: auroc(positive[i], value[i]), groups, seed)
    return Estimate(auroc(positive, value), low, high, len(positive))


def _json(estimate: Estimate) -> dict[str, Any]:
    return {"value": estimate.value, "low": estimate.low, "high": estimate.high, "n": estimate.n}


def _write(out: Path, results: dict[str, Any], text: str) -> None:
    from train import figures

    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as fault:
        raise OutputError(f"cannot write to {out}: {fault.strerror}", "choose another") from fault
    write_json(out / "evaluation.json", results)
    (out / "evaluation.md").write_text(text + "\n", encoding="utf-8")
    for name, scores in _score_sets(results):
        figures.confusion(scores["confusion"], out / f"{name}-confusion.png", scores["labels"])


def _score_sets(results: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """Return every set of scores in the results with its name."""
    if "models" in results:
        return list(results["models"].items())
    return [("model", results["scores"])]


def markdown(results: dict[str, Any]) -> str:
    """Write the results as a short report."""
    lines = [
        f"## {results['protocol']}, {results['about']}",
        "",
        f"data {results['data']}; {results.get('source', '')}; n = {results['n']}"
        + (f", {results['not_answered']} not answered" if results.get("not_answered") else ""),
        "",
        "| model | accuracy | macro recall | macro F1 | ECE |",
        "|---|---|---|---|---|",
    ]
    for name, scores in _score_sets(results):
        cells = [_text(scores[key]) for key in ("accuracy", "macro_recall", "macro_f1", "ece")]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    for name, scores in _score_sets(results):
        lines += ["", *_class_table(name, scores)]
    lines += ["", *_more(results)]
    return "\n".join(lines)


def _class_table(name: str, scores: dict[str, Any]) -> Sequence[str]:
    return [
        f"| {name} | recall | precision |",
        "|---|---|---|",
        *(
            f"| {label} | {_text(scores['recall'][label])} | {_text(scores['precision'][label])} |"
            for label in scores["recall"]
        ),
    ]


def _more(results: dict[str, Any]) -> Sequence[str]:
    keys = ("auroc_any_mi_against_normal", "auroc_normal_against_rest", "accuracy_of_all")
    lines = [f"- {key.replace('_', ' ')}: {_text(results[key])}" for key in keys if key in results]
    for label, flag in results.get("flags", {}).items():
        lines.append(
            f"- flag {label} at {flag['threshold']:.4f}: sensitivity "
            f"{_text(flag['sensitivity'])}, specificity {_text(flag['specificity'])}"
        )
    lines.append("- intervals: 95 %; proportions Wilson, the rest bootstrap over session groups")
    return lines


def _text(value: dict[str, Any]) -> str:
    if value["value"] is None or value["value"] != value["value"]:
        return "-"
    return f"{value['value']:.3f} ({value['low']:.3f}-{value['high']:.3f})"
