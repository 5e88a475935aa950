"""The classical models: support vector machine, random forest and decision tree.

As the tutorials have them they read 128 x 128 pixels of the whole page; the versions worth
shipping read block means of the canonical tensor, so that the device feeds them the same page
as the network. All are scikit-learn pipelines; what would make a model too big for a device (an
RBF machine over 16,384 pixels is about 64 MB) goes through principal components first. Models are
kept with skops, whose files hold no code.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.base import ClassifierMixin
from sklearn.decomposition import PCA
from sklearn.ensemble import RandomForestClassifier
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier

from runtime.labels import LABELS

LEVELS = 255
"""Tensors are kept as uint8; x = value / 255."""

TRUSTED = ["sklearn.tree._tree.Tree"]
"""skops asks to confirm tree nodes: a forged file could index outside memory. RUN folders are our
own work and never come from strangers; bundles hold ONNX instead."""


@dataclass(frozen=True)
class BlockMean:
    """Features of a canonical tensor: means over blocks of it.

    Attributes
    ----------
    rows, columns
        Size of a block, px; both divide the tensor's sides. A tall block of few rows and a
        whole cell's columns is the histogram of a lead's voltage, whatever its timing.
    """

    rows: int
    columns: int

    def features(self, values: np.ndarray) -> np.ndarray:
        """Return float32 [n, (H / rows) * (W / columns)] of uint8 tensors [n, H, W]."""
        n, height, width = values.shape
        grid = values.reshape(n, height // self.rows, self.rows, width // self.columns, -1)
        means = grid.mean(axis=(2, 4), dtype=np.float32) / LEVELS
        return means.reshape(n, -1).astype(np.float32)

    def to_json(self) -> dict[str, Any]:
        """Return the description that export turns into an average-pooling step."""
        return {"kind": "block-mean", "rows": self.rows, "columns": self.columns}


@dataclass(frozen=True)
class Baseline:
    """One classical model.

    Attributes
    ----------
    name
        Folder below the RUN folder.
    kind
        ``svm``, ``random-forest`` or ``decision-tree``.
    features
        What it reads; None: 128 x 128 pixels of the whole page, which is never shipped.
    make
        Builds the unfitted pipeline for a seed.
    """

    name: str
    kind: str
    features: BlockMean | None
    make: Callable[[int], Pipeline]


def support_vector_machine(components: int, seed: int, c: float = 10.0) -> Pipeline:
    """Return scaling, principal components and an RBF support vector machine."""
    return Pipeline(
        [
            ("scale", StandardScaler()),
            ("pca", PCA(components, svd_solver="randomized", random_state=seed)),
            ("spread", StandardScaler()),
            ("svm", SVC(C=c, gamma="scale", class_weight="balanced", random_state=seed)),
        ]
    )


def random_forest(seed: int) -> Pipeline:
    """Return a forest of 200 trees, each of at least two pages a leaf."""
    forest = RandomForestClassifier(
        200, min_samples_leaf=2, class_weight="balanced_subsample", random_state=seed, n_jobs=1
    )
    return Pipeline([("forest", forest)])


def decision_tree(seed: int) -> Pipeline:
    """Return one tree, kept from learning single pages by heart."""
    tree = DecisionTreeClassifier(min_samples_leaf=5, class_weight="balanced", random_state=seed)
    return Pipeline([("tree", tree)])


BASELINES = {
    "svm": Baseline("svm", "svm", BlockMean(2, 128), lambda s: support_vector_machine(64, s)),
    "random-forest": Baseline("random-forest", "random-forest", BlockMean(2, 128), random_forest),
    "decision-tree": Baseline("decision-tree", "decision-tree", BlockMean(2, 128), decision_tree),
}
"""The versions on the canonical tensor; export ships these."""

TUTORIAL = {
    "svm": Baseline("svm-pixels", "svm", None, lambda s: support_vector_machine(64, s)),
    "random-forest": Baseline("random-forest-pixels", "random-forest", None, random_forest),
    "decision-tree": Baseline("decision-tree-pixels", "decision-tree", None, decision_tree),
}
"""The tutorials' versions on whole pages; for the table only."""


def probabilities(model: ClassifierMixin, features: np.ndarray) -> np.ndarray:
    """Return [n, 5] in the order of LABELS; a class the model never saw gets 0.

    A support vector machine has no probabilities of its own; the softmax of its decision values
    stands in for them until calibration gives it a temperature.
    """
    out = np.zeros((len(features), len(LABELS)))
    classes = np.asarray(model.classes_, dtype=int)
    if hasattr(model, "predict_proba"):
        out[:, classes] = model.predict_proba(features)
        return out
    values = model.decision_function(features)
    values = np.exp(values - values.max(axis=1, keepdims=True))
    out[:, classes] = values / values.sum(axis=1, keepdims=True)
    return out


def save(model: Pipeline, file: Path) -> None:
    """Write a fitted pipeline with skops."""
    import skops.io

    file.parent.mkdir(parents=True, exist_ok=True)
    skops.io.dump(model, file)


def load(file: Path) -> Pipeline:
    """Read a pipeline of ours back; any type but `TRUSTED` and skops' own is refused."""
    import skops.io

    return skops.io.load(file, trusted=TRUSTED)
