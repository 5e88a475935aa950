"""Protocol P1: whole pages split by image, as most papers on this data do.

It flatters: the page shows layout, header and printed diagnosis, and recordings of one session lie
on both sides of the split. Its only use is to stand beside published figures.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.pipeline import Pipeline

from runtime.labels import LABELS
from train.baselines import TUTORIAL, probabilities
from train.calibrate import cross_fitted, log_probabilities
from train.dataset import load
from train.imagenet import imagenet_features, imagenet_machine
from train.progress import bar
from train.scores import score
from train.split import image_folds
from train.whole_page import read_whole_pages

FOLDS = 5

MODEL = "efficientnet-lite0-frozen-svm"
"""What `train.imagenet` is called in the results."""

IMAGENET = "imagenet"
"""``--name`` that judges `train.imagenet` in the tutorials' models' place."""


def published(data: Path, seed: int, name: str = "") -> dict[str, Any]:
    """Cross-validate the tutorials' models on whole pages by image.

    Parameters
    ----------
    data
        Data folder.
    seed
        Of splits, models and bootstrap.
    name
        `IMAGENET`, or anything else for the tutorials' models.

    Returns
    -------
    dict
        ``n`` and the scores of each model, as `train.evaluate` writes them.
    """
    dataset = load(data, lambda items: bar(items, "checking files"))
    paths = [dataset.root / sample.path for sample in dataset.samples]
    if name == IMAGENET:
        found = bar(imagenet_features(paths), "reading whole pages", len(paths))
        pixels = np.stack(list(found))
        makers: dict[str, Callable[[int], Pipeline]] = {MODEL: imagenet_machine}
    else:
        pixels = read_whole_pages(bar(paths, "reading whole pages", len(paths)))
        pixels = pixels.reshape(len(pixels), -1)
        makers = {baseline.name: baseline.make for baseline in TUTORIAL.values()}
    labels, groups = dataset.labels, np.array(dataset.groups)
    folds = image_folds(labels, FOLDS, seed)
    models = {}
    for model, make in bar(makers.items(), "fitting", len(makers)):
        p = np.zeros((len(labels), len(LABELS)))
        for k in range(FOLDS):
            part = folds != k
            fitted = make(seed).fit(pixels[part], labels[part])
            p[~part] = probabilities(fitted, pixels[~part])
        p = cross_fitted(log_probabilities(p), labels, folds)
        models[model] = score(labels, p, groups, seed).to_json()
    return {"n": len(labels), "source": "models fitted here", "models": models}
