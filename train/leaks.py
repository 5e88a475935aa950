"""Leak probes: how well the class is guessed from what must not matter.

Each probe sees one thing only, never the traces (the last ones excepted), and is a random forest
cross-validated by session group. What it scores above always saying "normal" is what a model could
score without reading an ECG.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.ensemble import RandomForestClassifier

from runtime.errors import PageError
from runtime.labels import LABELS
from runtime.page import Page, open_document
from runtime.panel import Panel, find_panel
from train.dataset import Dataset, Sample
from train.progress import bar
from train.scores import Scores, score
from train.split import grouped_folds, image_folds
from train.whole_page import whole_page

STRIP = (32, 128)
"""Height and width, px, to which header and footer are squeezed."""

MARGIN = 0.01
"""Share of the page's height by which header and footer keep away from the panel."""


@dataclass(frozen=True)
class Clues:
    """What the probes see of every page.

    Attributes
    ----------
    header, footer
        The page above and below the panel, squeezed, float32 [n, 32 * 128].
    file
        Length of the file, [n, 1].
    page
        Width, height (also before re-encoding) and layout as seen by the manifest or, without
        one, by runtime.panel, [n, k].
    paper
        Quantiles of the paper's colour channels, [n, k].
    picture
        The whole page, float32 [n, 128 * 128].
    """

    header: np.ndarray
    footer: np.ndarray
    file: np.ndarray
    page: np.ndarray
    paper: np.ndarray
    picture: np.ndarray


@dataclass(frozen=True)
class Probe:
    """One probe and what it scored.

    Attributes
    ----------
    name, sees
        For the table.
    split
        ``group`` or ``image``.
    scores
        Over pooled held-out predictions.
    """

    name: str
    sees: str
    split: str
    scores: Scores


def gather(dataset: Dataset) -> Clues:
    """Read every page once and keep what the probes see of it."""
    rows = []
    layouts = []
    for sample in bar(dataset.samples, "reading clues", len(dataset.samples)):
        header, footer, paper, picture, layout = _clues_of(dataset, sample)
        rows.append((header, footer, paper, picture))
        layouts.append(sample.layout or layout)
    header, footer, paper, picture = (np.stack(column) for column in zip(*rows, strict=True))
    kinds = sorted(set(layouts))
    sizes = np.array([[*s.size, *s.original_size] for s in dataset.samples], dtype=np.float32)
    one_hot = np.array([[layout == kind for kind in kinds] for layout in layouts], dtype=np.float32)
    return Clues(
        header=header,
        footer=footer,
        file=np.array([[s.file_bytes] for s in dataset.samples], dtype=np.float32),
        page=np.hstack([sizes, one_hot]),
        paper=paper,
        picture=picture,
    )


def _clues_of(
    dataset: Dataset, sample: Sample
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, str]:
    path = dataset.root / sample.path
    blank = np.ones(STRIP, np.float32).ravel()
    try:
        with open_document(path.read_bytes(), path.name) as document:
            page = document.read(1)
        panel = find_panel(page)
    except PageError:
        return blank, blank, np.zeros(15, np.float32), np.ones(128 * 128, np.float32), "error"
    above, below = _around(page, panel)
    paper = _paper(path, panel)
    return _strip(above), _strip(below), paper, whole_page(page).ravel(), panel.layout


def _around(page: Page, panel: Panel) -> tuple[np.ndarray, np.ndarray]:
    """Return the page above and below the panel."""
    height = page.grey.shape[0]
    rows = panel.quad[:, 1] * page.scale
    margin = MARGIN * height
    top = int(np.clip(rows.min() - margin, 0, height))
    bottom = int(np.clip(rows.max() + margin, 0, height))
    return page.grey[:top], page.grey[bottom:]


def _strip(grey: np.ndarray) -> np.ndarray:
    """Squeeze a part of a page; where nothing is left of it, return white."""
    if grey.shape[0] < 4:
        return np.ones(STRIP, np.float32).ravel()
    small = Image.fromarray(grey).resize(STRIP[::-1], Image.Resampling.BOX)
    return np.asarray(small, dtype=np.float32).ravel() / 255


def _paper(path: Path, panel: Panel) -> np.ndarray:
    """Return quantiles of each colour channel inside the panel: paper and grid, hardly any ink."""
    with Image.open(path) as image:
        colours = np.asarray(image.convert("RGB"), dtype=np.float32)
    columns, rows = panel.quad[:, 0], panel.quad[:, 1]
    part = colours[
        max(0, int(rows.min())) : int(rows.max()) + 1,
        max(0, int(columns.min())) : int(columns.max()) + 1,
    ]
    part = part if part.size else colours
    return np.quantile(part[::3, ::3].reshape(-1, 3), (0.15, 0.3, 0.5, 0.7, 0.9), axis=0).ravel()


def run_probes(
    dataset: Dataset, clues: Clues, canonical: np.ndarray | None, folds: int, seed: int
) -> list[Probe]:
    """Cross-validate every probe.

    Parameters
    ----------
    dataset
        The pages.
    clues
        Of `gather`.
    canonical
        Features of the canonical tensor, [n, k], to show by how much a random split flatters
        even what sees traces only; None leaves these two out.
    folds
        Parts of the cross-validation.
    seed
        Of splits and forests.
    """
    by_group = grouped_folds(dataset.labels, dataset.groups, folds, seed)
    by_image = image_folds(dataset.labels, folds, seed)
    planned: list[tuple[str, str, str, np.ndarray]] = [
        ("header only", "the page above the panel", "group", clues.header),
        ("footer only", "the page below the panel", "group", clues.footer),
        ("file size", "one number, bytes", "group", clues.file),
        ("page size + layout", "pixels and arrangement of leads", "group", clues.page),
        ("paper style", "colours of paper and grid", "group", clues.paper),
        ("whole page", "128 x 128 px", "group", clues.picture),
        ("whole page", "128 x 128 px", "image", clues.picture),
    ]
    if canonical is not None:
        planned += [
            ("traces only", "canonical tensor", "group", canonical),
            ("traces only", "canonical tensor", "image", canonical),
        ]
    probes = [_majority(dataset, by_group, seed)]
    for name, sees, split, features in bar(planned, "leak probes", len(planned)):
        fold = by_group if split == "group" else by_image
        probes.append(Probe(name, sees, split, _cross_validate(dataset, features, fold, seed)))
    return probes


def _cross_validate(dataset: Dataset, features: np.ndarray, folds: np.ndarray, seed: int) -> Scores:
    labels = dataset.labels
    p = np.zeros((len(labels), labels.max() + 1))
    for k in np.unique(folds):
        here = folds == k
        forest = RandomForestClassifier(
            150, min_samples_leaf=2, class_weight="balanced_subsample", random_state=seed, n_jobs=1
        ).fit(features[~here], labels[~here])
        p[np.ix_(here, forest.classes_)] = forest.predict_proba(features[here])
    return _scored(dataset, p, seed)


def _majority(dataset: Dataset, folds: np.ndarray, seed: int) -> Probe:
    """Return what always naming the commonest class scores."""
    labels = dataset.labels
    p = np.zeros((len(labels), labels.max() + 1))
    for k in np.unique(folds):
        p[folds == k, np.bincount(labels[folds != k]).argmax()] = 1.0
    return Probe("always the commonest class", "nothing", "group", _scored(dataset, p, seed))


def _scored(dataset: Dataset, p: np.ndarray, seed: int) -> Scores:
    full = np.zeros((len(p), len(LABELS)))
    full[:, : p.shape[1]] = p
    return score(dataset.labels, full, np.array(dataset.groups), seed, rounds=200)


def class_counts(samples: Sequence[Sample]) -> dict[str, int]:
    """Return the number of pages of each class, in the order of LABELS."""
    return {label: sum(sample.label == label for sample in samples) for label in LABELS}
