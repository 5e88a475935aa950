"""Can the source layout or style be read from the canonical tensor? A probe tries."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from train.reading.invariance import StyledPage
from train.reading.rates import Rate, rate_of

__all__ = ["Probe", "probe_layout", "probe_style"]

_FOLDS = 4
_TREES = 100


@dataclass(frozen=True)
class Probe:
    """How well a forest names something from two views of the same pages.

    Parameters
    ----------
    what : str
        What it names.
    chance : float
        Share that guessing gets right.
    raw, canonical : Rate
        Right answers from the raw page and from the canonical tensor.
    """

    what: str
    chance: float
    raw: Rate
    canonical: Rate

    def to_record(self) -> dict[str, Any]:
        """Return plain numbers for reading.json."""
        return {
            "what": self.what,
            "chance": round(self.chance, 4),
            "raw_page": self.raw.to_record(),
            "canonical_tensor": self.canonical.to_record(),
        }


def probe_layout(pages: list[StyledPage], seed: int) -> Probe:
    """Name the source layout."""
    return _probe("layout", pages, [page.truth.layout for page in pages], seed)


def probe_style(pages: list[StyledPage], seed: int) -> Probe:
    """Name the cart style."""
    return _probe("style", pages, [page.truth.style for page in pages], seed)


def _probe(what: str, pages: list[StyledPage], answers: list[str], seed: int) -> Probe:
    kept = [(page, answer) for page, answer in zip(pages, answers, strict=True)]
    kept = [(page, answer) for page, answer in kept if page.tensor is not None]
    names = np.array([answer for _, answer in kept])
    groups = np.array([page.signal for page, _ in kept])
    raw = np.stack([page.grey.ravel() for page, _ in kept]).astype(np.float32)
    tensors = np.stack([_halved(page.tensor) for page, _ in kept if page.tensor is not None])
    _, counts = np.unique(names, return_counts=True)
    return Probe(
        what=what,
        chance=float(counts.max() / counts.sum()),
        raw=rate_of("raw page", _right(raw, names, groups, seed)),
        canonical=rate_of("canonical tensor", _right(tensors, names, groups, seed)),
    )


def _halved(tensor: NDArray[np.float32]) -> NDArray[np.float32]:
    h, w = tensor.shape[0] // 4, tensor.shape[1] // 4
    return tensor[: h * 4, : w * 4, 0].reshape(h, 4, w, 4).mean(axis=(1, 3)).ravel()


def _right(
    features: NDArray[np.float32], names: NDArray[np.str_], groups: NDArray[np.int_], seed: int
) -> list[bool]:
    """Which pages a forest names rightly; a recording is never in training and test at once."""
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.model_selection import GroupKFold

    right = np.zeros(len(names), dtype=bool)
    for train, test in GroupKFold(_FOLDS).split(features, names, groups):
        forest = RandomForestClassifier(_TREES, max_features="sqrt", random_state=seed)
        forest.fit(features[train], names[train])
        right[test] = forest.predict(features[test]) == names[test]
    return [bool(v) for v in right]
