"""Finds pages whose label is probably wrong: confident learning (Northcutt et al. 2021).

The plain rule in numpy; cleanlab would bring pandas for it.
"""

from __future__ import annotations

import numpy as np


def doubted(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Return which pages are confidently of another class than their label, bool [n].

    A class is confident of a page if its probability reaches the mean that it has on the pages
    labelled with it; the likeliest of the confident classes is what the page is taken for.

    Parameters
    ----------
    labels
        int [n].
    probabilities
        float [n, k], of models that were not fitted on the page.
    """
    classes = range(probabilities.shape[1])
    limits = np.array(
        [probabilities[labels == c, c].mean() if np.any(labels == c) else np.inf for c in classes]
    )
    confident = np.where(probabilities >= limits, probabilities, -1.0)
    found: np.ndarray = (confident.max(axis=1) >= 0) & (confident.argmax(axis=1) != labels)
    return found
