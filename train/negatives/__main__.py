"""Measures the quality gate: how many non-ECGs it rejects, and how many ECGs it rejects wrongly.

    python -m train.negatives [--data DIR] [--pages N] [--out FILE.json]

DIR holds ecg5; without it, drawn pages only. The part ``measure`` of the non-ECGs is used, on which
no limit was set.
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runtime.labels import LABELS
from runtime.metrics import wilson
from runtime.page import Page, open_document, page_from_image
from runtime.panel import find_panel
from runtime.quality import QualityLimits, check_page, check_panel
from train.draw.page import draw_page
from train.draw.synthesis import heart_of_class, synthesise
from train.negatives import negatives

#: Single-lead strip among the twelve-lead pages of ecg5 (data/README.md): rightly rejected.
STRIPS_OF_ECG5 = frozenset({"abnormal_heartbeat/HB_497.jpg"})
#: Seed of the first drawn page; limits were set on others.
DRAWN_SEED = 700_000


@dataclass(frozen=True)
class Judged:
    """What the gate said of one page."""

    group: str
    name: str
    reasons: tuple[str, ...]


def judge(page: Page, limits: QualityLimits) -> tuple[str, ...]:
    """Return the reasons of the whole gate, as the classifier asks for them."""
    return check_page(page, limits) or check_panel(page, find_panel(page), limits)


def judge_negatives(limits: QualityLimits) -> Iterator[Judged]:
    """Judge the non-ECGs that no limit was set on."""
    for negative in negatives("measure"):
        page = page_from_image(negative.image())
        yield Judged(negative.kind, negative.name, judge(page, limits))


def judge_ecg5(folder: Path, every: int, limits: QualityLimits) -> Iterator[Judged]:
    """Judge every n-th page of ecg5."""
    with (folder / "manifest.csv").open(newline="", encoding="utf-8") as stream:
        rows = [row for row in csv.DictReader(stream) if row["path"] not in STRIPS_OF_ECG5]
    for row in rows[::every]:
        with open_document((folder / row["path"]).read_bytes()) as document:
            yield Judged("ecg5", row["path"], judge(document.read(1), limits))


def judge_drawn(pages: int, limits: QualityLimits) -> Iterator[Judged]:
    """Judge drawn pages: clean, scanned, faxed and photographed in turn, any style and layout."""
    for index in range(pages):
        seed = DRAWN_SEED + index
        capture = ("clean", "scan", "photo", "fax")[index % 4]
        recording = synthesise(heart_of_class(LABELS[index % len(LABELS)], seed), seed)
        image, truth = draw_page(recording, None, seed, capture=capture)
        name = f"{seed} {truth.style} {truth.layout}"
        yield Judged(f"drawn {capture}", name, judge(page_from_image(image), limits))


def summarise(judged: Iterable[Judged]) -> dict[str, Any]:
    """Count the rejected of each group, with Wilson's 95 % interval."""
    table: dict[str, Any] = {}
    for item in judged:
        row = table.setdefault(
            item.group, {"n": 0, "rejected": 0, "reasons": Counter(), "pages": {}}
        )
        row["n"] += 1
        if item.reasons:
            row["rejected"] += 1
            row["reasons"][item.reasons[0].split(":")[0]] += 1
        row["pages"][item.name] = "; ".join(item.reasons)
    for row in table.values():
        row["interval"] = wilson(row["rejected"], row["n"])
        row["reasons"] = dict(row["reasons"].most_common())
    return table


def pooled(table: dict[str, Any]) -> tuple[int, int, tuple[float, float]]:
    """Return rejected, n and interval of all groups together."""
    rejected = sum(row["rejected"] for row in table.values())
    n = sum(row["n"] for row in table.values())
    return rejected, n, wilson(rejected, n)


def _print(title: str, table: dict[str, Any], wrong: str) -> None:
    print(f"\n{title}\n| group | n | rejected | 95 % interval |\n|---|---|---|---|")
    rows = [*table.items()]
    rejected, n, interval = pooled(table)
    rows.append(("**all**", {"n": n, "rejected": rejected, "interval": interval}))
    for name, row in rows:
        low, high = row["interval"]
        share = row["rejected"] / row["n"]
        print(f"| {name} | {row['n']} | {row['rejected']} ({share:.1%}) | {low:.1%} - {high:.1%} |")
    for row in table.values():
        for name, reason in row["pages"].items():
            if bool(reason) == (wrong == "rejected"):
                print(f"{wrong}: {name}  {reason}", file=sys.stderr)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(prog="python -m train.negatives", description=__doc__)
    parser.add_argument("--data", type=Path, help="folder that holds ecg5")
    parser.add_argument("--every", type=int, default=1, help="take every n-th page of ecg5")
    parser.add_argument("--pages", type=int, default=400, help="drawn pages")
    parser.add_argument("--out", type=Path, help="write all of it as JSON")
    options = parser.parse_args(arguments)
    if options.data and not (options.data / "ecg5" / "manifest.csv").is_file():
        parser.error(f"{options.data} holds no ecg5/manifest.csv: name the folder that ecg5 is in")
    limits = QualityLimits()
    others = summarise(judge_negatives(limits))
    ecgs = summarise(judge_drawn(options.pages, limits))
    if options.data:
        ecgs |= summarise(judge_ecg5(options.data / "ecg5", options.every, limits))
    _print("Not an ECG: to be rejected", others, "accepted")
    _print("ECG: not to be rejected", ecgs, "rejected")
    if options.out:
        result = {"limits": limits.to_manifest(), "not_ecg": others, "ecg": ecgs}
        options.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
