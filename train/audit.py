"""``python -m train audit``: what in a data set gives the class away without any ECG."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from runtime.errors import OutputError
from runtime.labels import LABEL_NAMES, LABELS
from train import figures, tensors
from train.baselines import BlockMean
from train.dataset import Dataset, load
from train.leaks import Probe, class_counts, gather, run_probes
from train.progress import bar
from train.run_folder import machine, package_versions, write_json

SCHEMA = "ecg-edge/audit/1"
EXAMPLES = 4


def audit(data: Path, out: Path, folds: int = 5, seed: int = 1) -> Path:
    """Audit a data folder; write audit.json, audit.md and figures.

    Returns
    -------
    Path
        audit.md.

    Raises
    ------
    OutputError
        If ``out`` cannot be made.
    """
    from runtime.preprocess import Preprocess

    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as fault:
        raise OutputError(
            f"cannot write to {out}: {fault.strerror}", "choose another --out"
        ) from fault
    dataset = load(data, lambda items: bar(items, "checking files"))
    clues = gather(dataset)
    pages = tensors.load(dataset, Preprocess(), out / "tensors.npz")
    probes = run_probes(dataset, clues, BlockMean(2, 128).features(pages.values), folds, seed)
    draw_figures(dataset, probes, out)
    write_json(out / "audit.json", _as_json(dataset, probes, folds, seed))
    report = out / "audit.md"
    report.write_text(_markdown(dataset, probes, folds, seed), encoding="utf-8")
    return report


def draw_figures(dataset: Dataset, probes: list[Probe], out: Path) -> None:
    """Draw class shares, examples, sizes and layouts, and the probes."""
    figures.class_shares(class_counts(dataset.samples), out / "class-shares.png")
    figures.example_grid(examples(dataset), out / "examples.png")
    figures.size_spread(*sizes_and_layouts(dataset), out / "sizes.png")
    rows = [
        (
            f"{probe.name} (by {probe.split})",
            probe.scores.accuracy,
            figures.COLOURS[3] if probe.split == "image" else figures.COLOURS[0],
        )
        for probe in probes
    ]
    figures.estimates(rows, out / "probes.png", "accuracy, 95 % interval")


def examples(dataset: Dataset) -> dict[str, list[Path]]:
    """Return a few pages of each class, spread over the folder."""
    chosen = {}
    for label in LABELS:
        own = [sample for sample in dataset.samples if sample.label == label]
        step = max(1, len(own) // EXAMPLES)
        if own:
            chosen[label] = [dataset.root / s.path for s in own[::step][:EXAMPLES]]
    return chosen


def sizes_and_layouts(
    dataset: Dataset,
) -> tuple[dict[str, list[tuple[int, int]]], dict[str, dict[str, int]]]:
    """Return page sizes (before re-encoding where known) and layouts of each class."""
    sizes: dict[str, list[tuple[int, int]]] = {label: [] for label in LABELS}
    layouts: dict[str, Counter[str]] = {label: Counter() for label in LABELS}
    for sample in dataset.samples:
        sizes[sample.label].append(sample.original_size if sample.original_size[0] else sample.size)
        layouts[sample.label][sample.layout or "not stated"] += 1
    return sizes, {label: dict(counts) for label, counts in layouts.items()}


def flattery(probes: list[Probe], name: str) -> float | None:
    """Return by how much a split by image raises a probe's accuracy."""
    by = {probe.split: probe.scores.accuracy.value for probe in probes if probe.name == name}
    return by["image"] - by["group"] if {"image", "group"} <= set(by) else None


def _as_json(dataset: Dataset, probes: list[Probe], folds: int, seed: int) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "data": {"path": str(dataset.root), "sha256": dataset.sha256, "n": len(dataset.samples)},
        "folds": folds,
        "seed": seed,
        "classes": class_counts(dataset.samples),
        "groups": len(set(dataset.groups)),
        "mixed_groups": _mixed_groups(dataset),
        "printed_diagnosis": _printed(dataset),
        "unreadable": [list(item) for item in dataset.unreadable],
        "copies": [list(paths) for paths in dataset.copies],
        "look_alikes": [list(pair) for pair in dataset.look_alikes],
        "label_conflicts": [list(paths) for paths in dataset.conflicts],
        "probes": [
            {"name": p.name, "sees": p.sees, "split": p.split, "scores": p.scores.to_json()}
            for p in probes
        ],
        "machine": machine(),
        "packages": package_versions(),
    }


def _mixed_groups(dataset: Dataset) -> int:
    """Count the groups whose pages do not all have the same label."""
    labels: dict[int, set[str]] = {}
    for sample, group in zip(dataset.samples, dataset.groups, strict=True):
        labels.setdefault(group, set()).add(sample.label)
    return sum(len(found) > 1 for found in labels.values())


def _printed(dataset: Dataset) -> dict[str, int]:
    """Count by class the pages on which the cart printed a diagnosis."""
    return {
        label: sum(s.printed == "1" for s in dataset.samples if s.label == label)
        for label in LABELS
    }


def _markdown(dataset: Dataset, probes: list[Probe], folds: int, seed: int) -> str:
    lines = [
        f"# Audit of {dataset.root.name}",
        "",
        f"{len(dataset.samples)} usable pages in {len(set(dataset.groups))} groups "
        f"(sessions, near-duplicates and look-alikes joined). Probes: random forests, "
        f"{folds}-fold, seed {seed}, pooled held-out predictions; accuracy and recall with "
        "Wilson 95 % intervals.",
        "",
        *_findings(dataset),
        "## What the class can be guessed from",
        "",
        *_probe_table(probes),
        "",
        *_reading(probes),
        "![probes](probes.png)",
        "",
        "## Classes, sizes, layouts",
        "",
        "![classes](class-shares.png)",
        "",
        "![sizes](sizes.png)",
        "",
        "## Examples",
        "",
        "![examples](examples.png)",
        "",
    ]
    return "\n".join(lines)


def _findings(dataset: Dataset) -> list[str]:
    printed = _printed(dataset)
    lines = [
        "## Findings",
        "",
        f"- identical files: {len(dataset.copies)} sets (one of each kept)",
        f"- pictures that look alike: {len(dataset.look_alikes)} pairs (kept in one group)",
        f"- label conflicts among these: {len(dataset.conflicts)}",
        f"- unreadable files: {len(dataset.unreadable)}",
        f"- groups with more than one label: {_mixed_groups(dataset)}",
        f"- pages with a printed diagnosis: {sum(printed.values())} ("
        + ", ".join(f"{LABEL_NAMES[k]} {n}" for k, n in printed.items() if n)
        + ")",
        "",
    ]
    lines.extend(f"- conflict: {', '.join(paths)}" for paths in dataset.conflicts[:20])
    return lines


def _probe_table(probes: list[Probe]) -> list[str]:
    lines = [
        "| probe | sees | split by | accuracy | macro recall | "
        + " | ".join(figures.SHORT[label] for label in LABELS)
        + " |",
        "|---|---|---|---|---|" + "---|" * len(LABELS),
    ]
    for probe in probes:
        recall = probe.scores.recall
        cells = [f"{recall[c].value:.2f}" if c in recall else "-" for c in LABELS]
        lines.append(
            f"| {probe.name} | {probe.sees} | {probe.split} | {probe.scores.accuracy} | "
            f"{probe.scores.macro_recall} | " + " | ".join(cells) + " |"
        )
    return lines


def _reading(probes: list[Probe]) -> list[str]:
    lines = []
    for name in ("whole page", "traces only"):
        more = flattery(probes, name)
        if more is not None:
            lines += [
                f'Split at random instead of by session, "{name}" would have claimed '
                f"{more:+.3f} accuracy.",
                "",
            ]
    chance = probes[0].scores.accuracy.value
    blind = [p for p in probes[1:] if p.name not in ("whole page", "traces only")]
    if blind:
        best = max(blind, key=lambda p: p.scores.accuracy.value)
        lines += [
            f'Without seeing a single trace, "{best.name}" reaches '
            f"{best.scores.accuracy.value:.3f} (always the commonest class: {chance:.3f}). "
            "Whatever a whole-page model scores must be read against this.",
            "",
        ]
    return lines
