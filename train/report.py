"""Writes RUN/report.md and its figures: what one hands to a colleague."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from runtime.labels import CRITICAL_LABELS, LABEL_NAMES, LABELS
from runtime.preprocess import Preprocess
from train import figures
from train.audit import examples, sizes_and_layouts
from train.augment import (
    NO_AUGMENTATION,
    PictureAugmentation,
    SignalAugmentation,
    draw,
    vary,
    vary_picture,
)
from train.config import NETWORKS
from train.dataset import Dataset
from train.leaks import class_counts
from train.networks import TrainingData
from train.run_folder import RunFolder, read_oof, read_run
from train.tensors import Tensors
from train.whole_page import read_whole_pages

TENSOR_EXAMPLES = 2


def write_report(
    folder: RunFolder, dataset: Dataset, pages: Tensors, training: TrainingData
) -> Path:
    """Draw every figure and write report.md of a RUN whose models are all fitted.

    Parameters
    ----------
    folder
        RUN folder with run.json and metrics.json.
    dataset, pages, training
        What was trained on.
    """
    run = read_run(folder.root)
    metrics = json.loads(folder.metrics.read_text(encoding="utf-8"))["models"]
    draw_data_figures(folder.figures, dataset, training)
    preprocess = Preprocess.from_manifest(run["preprocess"])
    draw_augmentation(folder.figures, dataset, pages, preprocess)
    for name in run["models"]:
        draw_model_figures(folder, name, run["models"][name], metrics[name])
    draw_comparison(folder.figures, metrics)
    text = "\n".join(
        [
            *_head(run),
            *_data_section(dataset, pages, run),
            *_table_section(metrics, run),
            *(line for name in run["models"] for line in _model_section(name, run, metrics)),
            *_augmentation_section(),
            *_tail(run),
        ]
    )
    folder.report.write_text(text, encoding="utf-8")
    return folder.report


def draw_data_figures(out: Path, dataset: Dataset, training: TrainingData) -> None:
    """Draw class shares, sizes and layouts, example pages and their canonical tensors."""
    figures.class_shares(class_counts(dataset.samples), out / "class-shares.png")
    figures.size_spread(*sizes_and_layouts(dataset), out / "sizes.png")
    figures.example_grid(examples(dataset), out / "examples.png")
    tensors = {}
    for c, label in enumerate(LABELS):
        own = np.flatnonzero(training.labels == c)
        if len(own):
            step = max(1, len(own) // TENSOR_EXAMPLES)
            tensors[label] = list(training.values[own[::step][:TENSOR_EXAMPLES]])
    figures.tensor_grid(tensors, out / "tensors.png")


def draw_augmentation(out: Path, dataset: Dataset, pages: Tensors, preprocess: Preprocess) -> None:
    """Draw what each change does to one canonical page and to one page picture."""
    index = int(np.argmax(np.isfinite(pages.signals).all(axis=(1, 2))))

    def varied(options: SignalAugmentation, seed: int = 4) -> np.ndarray:
        rng = np.random.default_rng(seed)
        changed = vary(pages.signals[index : index + 1], preprocess, options, rng)
        return 1 - draw(changed, preprocess)[0, ..., 0]

    figures.augmentation_sheet(
        [
            ("as read", varied(NO_AUGMENTATION)),
            ("all changes at once", varied(SignalAugmentation())),
            ("time shift and stretch", varied(_only(time_shift_s=0.2, stretch=0.1))),
            ("gain", varied(_only(gain=0.4))),
            ("baseline wander and offset", varied(_only(wander_mv=0.15, offset_mv=0.05))),
            ("missing leads and gaps", varied(_only(lead_dropout=0.1, erase=0.4))),
            ("flipped in time (off): T before QRS", varied(_only(flip_time=1.0))),
            ("polarity flipped (off): ST turned over", varied(_only(flip_polarity=1.0))),
        ],
        out / "augmentation.png",
    )
    picture = read_whole_pages([dataset.root / dataset.samples[index].path], 256)[0]
    rng = np.random.default_rng(3)
    figures.augmentation_sheet(
        [
            ("page as read", picture),
            ("varied page", vary_picture(picture, PictureAugmentation(), rng)),
            ("varied page", vary_picture(picture, PictureAugmentation(), rng)),
            ("varied page", vary_picture(picture, PictureAugmentation(), rng)),
            ("flipped left to right (off)", picture[:, ::-1]),
            ("flipped top to bottom (off)", picture[::-1]),
        ],
        out / "augmentation-page.png",
    )


def _only(**changes: float) -> SignalAugmentation:
    return replace(NO_AUGMENTATION, **changes)


def draw_model_figures(
    folder: RunFolder, name: str, entry: dict[str, Any], scores: dict[str, Any]
) -> None:
    """Draw confusion matrix, reliability, flags and, of a network, the learning curves."""
    out = folder.figures
    figures.confusion(scores["confusion"], out / f"{name}-confusion.png")
    oof = read_oof(folder.root / entry["oof"])
    p = oof.probabilities
    if not entry["calibration"]["folded_in"]:
        from train.calibrate import log_probabilities, softmax

        p = softmax(log_probabilities(p), entry["calibration"]["temperature"])
    figures.reliability(oof.labels, p, out / f"{name}-reliability.png")
    points = entry["decision"]["operating_points"]
    figures.operating_curve(oof.labels, p, CRITICAL_LABELS, points, out / f"{name}-flags.png")
    if name in NETWORKS:
        with (folder.root / entry["history"]).open(newline="", encoding="utf-8") as stream:
            figures.history(list(csv.DictReader(stream)), out / f"{name}-history.png")


def draw_comparison(out: Path, metrics: dict[str, Any]) -> None:
    """Draw accuracy and macro recall of all models."""
    from train.scores import Estimate

    rows = []
    for name, scores in metrics.items():
        rows.append((f"{name}: accuracy", Estimate(**scores["accuracy"]), figures.COLOURS[0]))
        rows.append(
            (f"{name}: macro recall", Estimate(**scores["macro_recall"]), figures.COLOURS[1])
        )
    figures.estimates(rows, out / "models.png", "95 % interval")


def _head(run: dict[str, Any]) -> list[str]:
    data = run["data"]
    return [
        "# Training report",
        "",
        f"{data['n']} pages in {data['groups']} groups, {run['folds']}-fold cross-validation by "
        "session and near-duplicate group (protocol P2): every figure below is from pages whose "
        "session the model had not seen. The canonical tensor holds the redrawn traces only, no "
        "header, footer, grid or layout.",
        "",
        "Research and decision support, not a diagnosis.",
        "",
    ]


def _data_section(dataset: Dataset, pages: Tensors, run: dict[str, Any]) -> list[str]:
    counts = class_counts(dataset.samples)
    unread = int(np.isin(pages.layouts, ["error", "unknown", "single"]).sum())
    return [
        "## Data",
        "",
        f"Identical files dropped: {sum(len(c) - 1 for c in dataset.copies)}; look-alike pairs "
        f"kept together: {len(dataset.look_alikes)}; label conflicts: {len(dataset.conflicts)}; "
        f"unreadable files: {len(dataset.unreadable)}; pages on which no 12-lead panel was found: "
        f"{unread} (they stay in, as empty tensors, and count as they fall).",
        "",
        "| class | pages |",
        "|---|---|",
        *(f"| {LABEL_NAMES[label]} | {n} |" for label, n in counts.items()),
        "",
        "![class shares](figures/class-shares.png)",
        "",
        "Size and layout differ by class, which is why neither may reach the model "
        "(`python -m train audit` measures how much they give away):",
        "",
        "![sizes](figures/sizes.png)",
        "",
        "Example pages:",
        "",
        "![examples](figures/examples.png)",
        "",
        "The same classes as the network sees them:",
        "",
        "![tensors](figures/tensors.png)",
        "",
    ]


def _estimate(value: dict[str, Any]) -> str:
    """Write a figure with its interval; a dash where there was nothing to count."""
    if value["value"] is None:
        return "-"
    return f"{value['value']:.3f} ({value['low']:.3f}-{value['high']:.3f})"


def _table_section(metrics: dict[str, Any], run: dict[str, Any]) -> list[str]:
    lines = [
        "## All models",
        "",
        "Accuracy, recall and precision with Wilson 95 % intervals, macro figures and calibration "
        "error with session-clustered bootstrap intervals. `-pixels`: 128 x 128 px of the whole "
        "page as the tutorials use them, which also see layout and printed diagnosis.",
        "",
        "| model | protocol | n | accuracy | macro recall | macro F1 | ECE | "
        + " | ".join(f"recall {figures.SHORT[c]}" for c in LABELS)
        + " |",
        "|---|---|---|---|---|---|---|" + "---|" * len(LABELS),
    ]
    for name, scores in metrics.items():
        recall = [_estimate(scores["recall"][c]) if c in scores["recall"] else "-" for c in LABELS]
        lines.append(
            f"| {name} | P2 | {scores['n']} | {_estimate(scores['accuracy'])} | "
            f"{_estimate(scores['macro_recall'])} | {_estimate(scores['macro_f1'])} | "
            f"{_estimate(scores['ece'])} | " + " | ".join(recall) + " |"
        )
    return [*lines, "", "![models](figures/models.png)", ""]


def _model_section(name: str, run: dict[str, Any], metrics: dict[str, Any]) -> list[str]:
    entry, scores = run["models"][name], metrics[name]
    lines = [f"## {name}", ""]
    if name in NETWORKS:
        lines += [
            f"{entry['parameters']:,} parameters, "
            f"{entry['multiply_accumulates'] / 1e6:.1f} million multiplications a page; the model "
            f"on all data was taken after {entry['epochs']} epochs.",
            "",
            _what_validates(run),
            "",
            f"![history](figures/{name}-history.png)",
            "",
        ]
    return [*lines, *_precision_table(scores), *_decision_lines(entry, scores), *_pictures(name)]


def _what_validates(run: dict[str, Any]) -> str:
    """Say on which pages the validation curve was drawn."""
    if run["config"]["fit"]["validation_share"] > 0:
        return "Thin lines: folds. Validation: groups of the training part that choose the epoch."
    return (
        "Thin lines: folds. Validation: the held-out fold, drawn only; the number of epochs is "
        "fixed and nothing is chosen by this curve."
    )


def _precision_table(scores: dict[str, Any]) -> list[str]:
    rows = [
        f"| {LABEL_NAMES[c]} | {_estimate(scores['recall'][c])} | "
        f"{_estimate(scores['precision'][c])} | {scores['recall'][c]['n']} |"
        for c in LABELS
        if c in scores["recall"]
    ]
    return ["| class | recall | precision | pages |", "|---|---|---|---|", *rows, ""]


def _decision_lines(entry: dict[str, Any], scores: dict[str, Any]) -> list[str]:
    """Describe calibration, abstention, sets and flags; all figures are cross-fitted."""
    judged, decision = scores["calibration"], entry["decision"]
    lines = [
        f"- temperature {entry['calibration']['temperature']:.2f}: calibration error "
        f"{_estimate(judged['ece_before'])} before, {_estimate(judged['ece_after'])} after",
        f"- below confidence {decision['min_confidence']:.2f} the answer is `uncertain`: "
        f"{_estimate(judged['abstention']['uncertain'])} of the pages; the rest is right in "
        f"{_estimate(judged['abstention']['accuracy_answered'])}",
    ]
    for nominal, found in judged["conformal"].items():
        lines.append(
            f"- prediction sets at {float(nominal):.0%}: the true class is in "
            f"{_estimate(found['coverage'])}, mean size {found['mean_size']:.2f}"
        )
    for label, point in decision["operating_points"].items():
        if "sensitivity" in point:
            lines.append(
                f"- flag for {LABEL_NAMES[label].lower()} at {point['threshold']:.4f}: sensitivity "
                f"{_estimate(point['sensitivity'])}, specificity {_estimate(point['specificity'])}"
            )
    return [*lines, ""]


def _pictures(name: str) -> list[str]:
    return [
        f"![confusion](figures/{name}-confusion.png)",
        f"![reliability](figures/{name}-reliability.png)",
        f"![flags](figures/{name}-flags.png)",
        "",
    ]


def _augmentation_section() -> list[str]:
    return [
        "## Augmentation",
        "",
        "The twelve signals are changed, then drawn with the device's own pen:",
        "",
        "![augmentation](figures/augmentation.png)",
        "",
        "Flips are off. Flipped in time, the T wave comes before the QRS complex; flipped in "
        "polarity, an ST elevation becomes a depression and a normal aVR looks like a normal "
        "lead I: the picture then shows another finding under the old label.",
        "",
        "Whole pages, for the whole-page comparisons only:",
        "",
        "![page augmentation](figures/augmentation-page.png)",
        "",
    ]


def _tail(run: dict[str, Any]) -> list[str]:
    packages = ", ".join(f"{name} {version}" for name, version in run["packages"].items())
    machine = run["machine"]
    return [
        "## Provenance",
        "",
        f"- seed {run['seed']}, code {run['git'] or 'not under version control'}",
        f"- data {run['data']['path']}, hash {run['data']['sha256'][:16]}",
        f"- machine: {machine['cpu']}, {machine['cores']} cores, {machine['machine']}, "
        f"{machine['system']}",
        f"- packages: {packages}",
        "",
    ]
