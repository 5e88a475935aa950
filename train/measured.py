"""Classifies pages by what is measured on them: boosted trees, to be averaged with a network."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier

from runtime.labels import LABELS
from runtime.preprocess import Preprocess
from train.baselines import probabilities
from train.fit import class_weights
from train.measurements import measurements


def boosted_trees(seed: int) -> HistGradientBoostingClassifier:
    """Return unfitted trees that each look at a third of the figures: many repeat each other."""
    return HistGradientBoostingClassifier(
        learning_rate=0.05,
        max_iter=150,
        max_leaf_nodes=15,
        min_samples_leaf=10,
        l2_regularization=1.0,
        max_features=0.3,
        random_state=seed,
    )


def measured(
    tensors: Path,
    labels: np.ndarray,
    held_out: np.ndarray,
    folds: Sequence[int],
    balance: float,
    seed: int,
) -> np.ndarray:
    """Return out-of-fold probabilities [n, 5]; NaN where a page's fold is not asked for.

    Parameters
    ----------
    tensors
        tensors.npz of a RUN; only its signals are read.
    labels, held_out
        Class and held-out fold of all pages, int [n].
    folds
        Which to predict.
    balance
        Exponent of the class weights (`train.fit.FitOptions`).
    seed
        Of the trees.
    """
    with np.load(tensors, allow_pickle=False) as stored:
        preprocess = Preprocess.from_manifest(json.loads(str(stored["preprocess"])))
        figures = measurements(stored["signals"], preprocess)
    out = np.full((len(labels), len(LABELS)), np.nan)
    for k in folds:
        train = held_out != k
        weights = class_weights(labels[train], balance)[labels[train]]
        trees = boosted_trees(seed).fit(figures[train], labels[train], sample_weight=weights)
        out[~train] = probabilities(trees, figures[~train])
    return out
