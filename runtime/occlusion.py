"""Evidence by occlusion, for models that do not tell the contribution of each place themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from runtime.preprocess import CANONICAL

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from runtime.engine import Engine
    from runtime.preprocess import Preprocess

__all__ = ["SLOTS", "occlude"]

SLOTS = 4
"""Stretches of a lead that are hidden one at a time: 0.6 s each, about one beat."""

_FLOOR = 1e-3
"""Probabilities below it count as it: a decision tree answers with plain zeros."""


def occlude(
    engine: Engine, tensor: NDArray[np.float32], preprocess: Preprocess
) -> NDArray[np.float32]:
    """Flatten one stretch of one lead at a time and see what the answer loses.

    A hidden stretch shows the lead's flat baseline, which is what a lead without any deflection
    looks like; an empty one would look like a lead that is missing (Zeiler and Fergus 2014, with
    the background chosen for a trace).

    Parameters
    ----------
    engine : Engine
    tensor : ndarray of float32, shape (H, W, 1)
        The page as the model saw it.
    preprocess : Preprocess
        The one that drew the tensor.

    Returns
    -------
    ndarray of float32, shape (3, 4 * SLOTS, classes)
        Loss of each class's log probability where a stretch is hidden, natural logarithm;
        positive where the stretch spoke for the class.
    """
    full = _logarithm(engine.run(tensor[None])["probabilities"])
    height, width = preprocess.cell_height, preprocess.cell_width // SLOTS
    flat = _flat_line(preprocess)
    rows, columns = len(CANONICAL), len(CANONICAL[0]) * SLOTS
    found = np.zeros((rows, columns, full.size), dtype=np.float32)
    hidden = tensor.copy()
    for row in range(rows):
        for column in range(columns):
            place = np.s_[row * height : (row + 1) * height, column * width : (column + 1) * width]
            if not tensor[place].any():
                continue  # nothing drawn there, nothing to hide
            hidden[place] = flat[:, None, None]
            found[row, column] = full - _logarithm(engine.run(hidden[None])["probabilities"])
            hidden[place] = tensor[place]
    return found


def _flat_line(preprocess: Preprocess) -> NDArray[np.float32]:
    """Return one column of a cell whose lead stays on its baseline, shape (cell_height,)."""
    middle = preprocess.cell_height / 2
    half = preprocess.line_mv / 2 * preprocess.cell_height / preprocess.span_mv
    rows = np.arange(preprocess.cell_height, dtype=np.float32)
    cover = np.minimum(rows + 1, middle + half) - np.maximum(rows, middle - half)
    return np.clip(cover, 0.0, 1.0).astype(np.float32)


def _logarithm(probabilities: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.log(np.maximum(probabilities, _FLOOR)).astype(np.float32)
