"""Every figure of the audit and the report, drawn with matplotlib off screen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
from PIL import Image

from runtime.labels import LABEL_NAMES, LABELS
from train.scores import ECE_BINS

COLOURS = ("#3b7dd8", "#e08a1e", "#4aa36c", "#c8373a", "#7d5fb2")
"""One a class; told apart by readers with any common colour vision."""

SHORT = {
    "normal": "normal",
    "abnormal_heartbeat": "abnormal",
    "history_of_mi": "history of MI",
    "myocardial_infarction": "active MI",
    "covid19": "COVID-19",
}
"""Label id -> what fits on an axis."""

plt.rcParams.update(
    {"figure.dpi": 110, "font.size": 9, "axes.spines.top": False, "axes.spines.right": False}
)


def _finish(figure: Any, file: Path) -> Path:
    figure.savefig(file, bbox_inches="tight", metadata={"Software": None})
    plt.close(figure)
    return file


def class_shares(counts: Mapping[str, int], file: Path) -> Path:
    """Draw the number of pages of each class."""
    figure, axes = plt.subplots(figsize=(6, 2.6))
    names = [SHORT[label] for label in counts]
    bars = axes.barh(names, list(counts.values()), color=COLOURS)
    total = sum(counts.values())
    axes.bar_label(bars, [f"{n}  ({n / total:.0%})" for n in counts.values()], padding=4)
    axes.set_xlim(0, max(counts.values()) * 1.2)
    axes.invert_yaxis()
    axes.set_xlabel("pages")
    return _finish(figure, file)


def example_grid(paths: Mapping[str, Sequence[Path]], file: Path, width: int = 300) -> Path:
    """Draw some pages of each class, one class a row."""
    most = max(len(row) for row in paths.values())
    figure, axes = plt.subplots(
        len(paths), most, figsize=(2.4 * most, 1.75 * len(paths)), squeeze=False
    )
    for line, (label, row) in zip(axes, paths.items(), strict=True):
        for place, axis in enumerate(line):
            axis.axis("off")
            if place >= len(row):
                continue
            with Image.open(row[place]) as image:
                picture = image.convert("RGB")
                picture.thumbnail((2 * width, 2 * width))
            axis.imshow(picture)
            if place == 0:
                axis.set_title(LABEL_NAMES[label], loc="left", fontsize=8)
    return _finish(figure, file)


def tensor_grid(pages: Mapping[str, Sequence[np.ndarray]], file: Path) -> Path:
    """Draw canonical tensors uint8 [h, w], one class a row: what the network really sees."""
    most = max(len(row) for row in pages.values())
    figure, axes = plt.subplots(
        len(pages), most, figsize=(4.2 * most, 1.75 * len(pages)), squeeze=False
    )
    for line, (label, row) in zip(axes, pages.items(), strict=True):
        for place, axis in enumerate(line):
            axis.axis("off")
            if place < len(row):
                axis.imshow(255 - row[place], cmap="gray", vmin=0, vmax=255, aspect="auto")
                if place == 0:
                    axis.set_title(LABEL_NAMES[label], loc="left", fontsize=8)
    return _finish(figure, file)


def size_spread(
    sizes: Mapping[str, Sequence[tuple[int, int]]],
    layouts: Mapping[str, Mapping[str, int]],
    file: Path,
) -> Path:
    """Draw page sizes and layouts of each class: both give the class away in part."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.2))
    for colour, (label, pairs) in zip(COLOURS, sizes.items(), strict=False):
        if pairs:
            x, y = np.array(pairs, dtype=float).T
            left.scatter(x, y, s=14, color=colour, label=SHORT[label], alpha=0.6, linewidths=0)
    left.set_xlabel("width (px)")
    left.set_ylabel("height (px)")
    left.legend(fontsize=7, frameon=False)
    kinds = sorted({kind for row in layouts.values() for kind in row})
    base = np.zeros(len(layouts))
    for kind in kinds:
        share = np.array([row.get(kind, 0) / max(1, sum(row.values())) for row in layouts.values()])
        right.barh([SHORT[label] for label in layouts], share, left=base, label=kind or "unknown")
        base += share
    right.invert_yaxis()
    right.set_xlabel("share of the class, by layout")
    right.legend(fontsize=7, frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return _finish(figure, file)


def estimates(rows: Sequence[tuple[str, Any, str]], file: Path, xlabel: str) -> Path:
    """Draw figures with their intervals, one a line: (name, Estimate, colour)."""
    figure, axes = plt.subplots(figsize=(6.5, 0.34 * len(rows) + 0.9))
    for line, (_, estimate, colour) in enumerate(rows):
        axes.plot([estimate.low, estimate.high], [line, line], color=colour, lw=2)
        axes.plot(estimate.value, line, "o", color=colour, ms=5)
        axes.annotate(
            f"{estimate.value:.3f}",
            (estimate.high, line),
            (5, -3),
            textcoords="offset points",
            fontsize=8,
        )
    axes.set_yticks(range(len(rows)), [name for name, _, _ in rows])
    axes.invert_yaxis()
    axes.set_xlim(0, 1.08)
    axes.set_xlabel(xlabel)
    axes.grid(axis="x", alpha=0.3)
    return _finish(figure, file)


def confusion(counts: Sequence[Sequence[int]], file: Path, labels: Sequence[str] = LABELS) -> Path:
    """Draw a confusion matrix; shade is the share of the true class."""
    matrix = np.array(counts)
    share = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    figure, axes = plt.subplots(figsize=(4.4, 3.8))
    axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
    for (row, column), n in np.ndenumerate(matrix):
        axes.text(
            column,
            row,
            f"{n}\n{share[row, column]:.0%}",
            ha="center",
            va="center",
            fontsize=8,
            color="white" if share[row, column] > 0.5 else "black",
        )
    names = [SHORT[label] for label in labels]
    axes.set_xticks(range(len(names)), names, rotation=30, ha="right")
    axes.set_yticks(range(len(names)), names)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    return _finish(figure, file)


def history(rows: Sequence[Mapping[str, Any]], file: Path) -> Path:
    """Draw loss and accuracy of every epoch: thin a fold, thick their mean."""
    figure, axes = plt.subplots(1, 2, figsize=(9, 3.2))
    for axis, what in zip(axes, ("loss", "accuracy"), strict=True):
        for key, colour, name in (
            (what, COLOURS[0], "training"),
            (f"val_{what}", COLOURS[3], "validation"),
        ):
            _curves(axis, rows, key, colour, name)
        axis.set_xlabel("epoch")
        axis.set_ylabel(what)
        axis.legend(frameon=False, fontsize=8)
        axis.grid(alpha=0.3)
    return _finish(figure, file)


def _curves(axis: Any, rows: Sequence[Mapping[str, Any]], key: str, colour: str, name: str) -> None:
    by_epoch: dict[int, list[float]] = {}
    fits: dict[str, list[tuple[int, float]]] = {}
    for row in rows:
        if row.get(key) not in (None, ""):
            fits.setdefault(str(row["fit"]), []).append((int(row["epoch"]), float(row[key])))
            by_epoch.setdefault(int(row["epoch"]), []).append(float(row[key]))
    for points in fits.values():
        axis.plot(*zip(*points, strict=True), color=colour, lw=0.6, alpha=0.4)
    epochs = sorted(by_epoch)
    if epochs:
        axis.plot(epochs, [np.mean(by_epoch[e]) for e in epochs], color=colour, lw=2, label=name)


def reliability(truth: np.ndarray, probabilities: np.ndarray, file: Path) -> Path:
    """Draw how often the best guess is right against how sure it is."""
    confidence = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == truth
    number = np.minimum((confidence * ECE_BINS).astype(int), ECE_BINS - 1)
    count = np.bincount(number, minlength=ECE_BINS)
    filled = count > 0
    mean = np.bincount(number, confidence, ECE_BINS)[filled] / count[filled]
    hit = np.bincount(number, right, ECE_BINS)[filled] / count[filled]
    figure, (upper, lower) = plt.subplots(
        2, 1, figsize=(4.2, 4.6), sharex=True, height_ratios=(3, 1)
    )
    upper.plot([0, 1], [0, 1], color="grey", lw=1, ls="--")
    upper.plot(mean, hit, "o-", color=COLOURS[0])
    upper.set_ylabel("share that is right")
    upper.grid(alpha=0.3)
    lower.hist(confidence, bins=np.linspace(0, 1, ECE_BINS + 1), color=COLOURS[0])
    lower.set_xlabel("confidence of the best guess")
    lower.set_ylabel("pages")
    return _finish(figure, file)


def augmentation_sheet(
    pairs: Sequence[tuple[str, np.ndarray]], file: Path, columns: int = 2
) -> Path:
    """Draw named pictures (1 = ink or 1 = paper, as given) side by side."""
    lines = -(-len(pairs) // columns)
    figure, axes = plt.subplots(lines, columns, figsize=(4.6 * columns, 1.9 * lines), squeeze=False)
    for axis in axes.ravel():
        axis.axis("off")
    for axis, (name, picture) in zip(axes.ravel(), pairs, strict=False):
        axis.imshow(picture, cmap="gray", vmin=0, vmax=1, aspect="auto")
        axis.set_title(name, loc="left", fontsize=8)
    return _finish(figure, file)


def operating_curve(
    truth: np.ndarray,
    probabilities: np.ndarray,
    labels: Sequence[str],
    points: Mapping[str, Any],
    file: Path,
) -> Path:
    """Draw sensitivity against false alarms of the critical classes, with their thresholds."""
    figure, axes = plt.subplots(figsize=(4.4, 3.8))
    for label in labels:
        c = LABELS.index(label)
        order = np.argsort(-probabilities[:, c])
        positive = truth[order] == c
        if not positive.any() or positive.all():
            continue
        sensitivity = np.cumsum(positive) / positive.sum()
        alarms = np.cumsum(~positive) / (~positive).sum()
        axes.plot(alarms, sensitivity, color=COLOURS[c], label=SHORT[label])
        flagged = probabilities[:, c] >= points[label]["threshold"]
        axes.plot(np.mean(flagged[truth != c]), np.mean(flagged[truth == c]), "o", color=COLOURS[c])
    axes.set_xlabel("1 - specificity")
    axes.set_ylabel("sensitivity")
    axes.legend(frameon=False, loc="lower right")
    axes.grid(alpha=0.3)
    return _finish(figure, file)
