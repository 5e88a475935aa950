"""``python -m train explained``: where the evidence that ``--explain`` marks lies on the page.

On real pages: the share of it inside the panel that was found. On drawn pages of hearts with an
infarction: inside the true panel, and on the leads that the lesion alters, beside the share these
leads have of the twelve (chance).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from runtime.classifier import Classifier
from runtime.errors import UsageError
from runtime.labels import CRITICAL_LABELS
from runtime.prediction import Prediction
from runtime.preprocess import CANONICAL, cells_to_page
from train.dataset import load
from train.draw import draw_page, encode_page, heart_of_class, synthesise
from train.progress import bar

STYLE, LAYOUT = "report", "3x4+1"
POINTS = (np.arange(5) + 0.5) / 5
"""A place is tried at 5 x 5 points of itself."""


@dataclass(frozen=True)
class Mass:
    """Where one page's evidence for a class lies.

    Attributes
    ----------
    inside
        Share of it inside the panel, 0..1.
    leads
        Share of it on each lead that was found, by name.
    """

    inside: float
    leads: dict[str, float]


def mass(prediction: Prediction, label: str, quad: Any = None) -> Mass | None:
    """Locate what speaks for a class on a page; None where the page was not answered.

    Parameters
    ----------
    prediction
        With its evidence kept.
    label
        The class; evidence is its contribution above the mean of all classes.
    quad
        The panel's corners [4, 2] in page px, TL TR BR BL; None: as it was found.
    """
    kept = prediction.evidence
    if prediction.probabilities is None or kept is None or kept.contributions is None:
        return None
    values = np.asarray(kept.contributions, dtype=float)
    speaks = values[:, :, list(prediction.probabilities).index(label)] - values.mean(axis=2)
    height, width = kept.preprocess.shape[:2]
    down, across = height / speaks.shape[0], width / speaks.shape[1]
    corners = kept.panel.quad if quad is None else quad
    total = inside = 0.0
    leads: dict[str, float] = {}
    for row, column in zip(*np.nonzero(speaks > 0), strict=True):
        rows, columns = (row * down, (row + 1) * down), (column * across, (column + 1) * across)
        place = cells_to_page(kept.panel, kept.preprocess, rows, columns)
        if place is None:
            continue
        weight = float(speaks[row, column])
        name = CANONICAL[int(row * down // kept.preprocess.cell_height)][
            int(column * across // kept.preprocess.cell_width)
        ]
        total += weight
        inside += weight * share_inside(place, corners)
        leads[name] = leads.get(name, 0.0) + weight
    if not total:
        return None
    return Mass(inside / total, {name: part / total for name, part in leads.items()})


def share_inside(place: np.ndarray, quad: np.ndarray) -> float:
    """Return which share of a quadrilateral's points lies in a convex one, both [4, 2]."""
    s, t = (axis.ravel()[:, None] for axis in np.meshgrid(POINTS, POINTS))
    upper = place[0] + s * (place[1] - place[0])
    lower = place[3] + s * (place[2] - place[3])
    points = upper + t * (lower - upper)
    edges = np.roll(quad, -1, axis=0) - quad
    offset = points[:, None] - quad[None]
    side = edges[None, :, 0] * offset[..., 1] - edges[None, :, 1] * offset[..., 0]
    return float(np.mean(np.all(side >= 0, axis=1) | np.all(side <= 0, axis=1)))


def on_pages(classifier: Classifier, data: Path, count: int, seed: int) -> list[Mass]:
    """Locate the evidence for the answer on random pages of a data folder."""
    dataset = load(data, lambda items: bar(items, "checking files"))
    chosen = np.random.default_rng(seed).permutation(len(dataset.samples))[:count]
    found = []
    for i in bar(chosen, "real pages", len(chosen)):
        pages = classifier.classify_pages(
            dataset.root / dataset.samples[i].path, keep_evidence=True
        )
        prediction = next(pages)
        found.append(mass(prediction, prediction.label) if prediction.label else None)
    return [m for m in found if m is not None]


def on_hearts(classifier: Classifier, count: int, seed: int) -> list[tuple[Mass, float, float]]:
    """Locate the evidence for the true class on drawn pages of both kinds of infarction.

    Returns
    -------
    list of (Mass, float, float)
        Beside the mass: its share on the altered leads, and their share of the leads.
    """
    found = []
    for i in bar(range(count), "drawn pages", count):
        label = CRITICAL_LABELS[i % len(CRITICAL_LABELS)]
        recording = synthesise(heart_of_class(label, seed * 1000 + i), seed * 1000 + i)
        page, truth = draw_page(recording, STYLE, i, layout=LAYOUT)
        data = encode_page(page, truth)[0]
        where = mass(next(classifier.classify_pages(data, keep_evidence=True)), label, truth.panel)
        if where is not None:
            altered = sum(where.leads.get(lead, 0.0) for lead in truth.altered_leads)
            found.append((where, altered, len(truth.altered_leads) / 12))
    return found


def explained(model: str, data: Path | None, count: int, seed: int) -> str:
    """Return the figures as Markdown.

    Parameters
    ----------
    model
        Folder or name of a bundle.
    data
        Real pages; None leaves them out.
    count
        Pages of a kind.
    seed
        Of the choice of pages, the drawn hearts and the bootstrap.

    Raises
    ------
    UsageError
        If the bundle's model has no evidence of its own, or answered none of the pages.
    """
    classifier = Classifier.from_bundle(model)
    lines = ["| pages | n | figure | value |", "|---|---|---|---|"]
    if data is not None:
        inside = np.array([m.inside for m in on_pages(classifier, data, count, seed)])
        lines += _rows(f"{data.name}", "evidence inside the panel that was found", inside, seed)
    hearts = on_hearts(classifier, count, seed)
    name = f"drawn MI ({STYLE}, {LAYOUT})"
    inside = np.array([where.inside for where, _, _ in hearts])
    altered = np.array([share for _, share, _ in hearts])
    chance = np.array([by_chance for _, _, by_chance in hearts])
    lines += _rows(name, "evidence inside the true panel", inside, seed)
    lines += _rows(name, "evidence on the altered leads", altered, seed)
    lines += _rows(name, "the altered leads' share of the twelve (chance)", chance, seed)
    lines += _rows(name, "evidence on them above chance", altered - chance, seed)
    return "\n".join(lines)


def _rows(pages: str, figure: str, values: np.ndarray, seed: int) -> list[str]:
    """Return a table row: the mean with its bootstrap interval over pages."""
    if not len(values):
        raise UsageError(f"no evidence on any of the {pages} pages", "name a bundle of a network")
    rng = np.random.default_rng(seed)
    means = values[rng.integers(0, len(values), (1000, len(values)))].mean(axis=1)
    low, high = np.quantile(means, (0.025, 0.975))
    return [f"| {pages} | {len(values)} | {figure} | {values.mean():.3f} ({low:.3f}-{high:.3f}) |"]
