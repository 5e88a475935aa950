"""The fixed pages that set integer ranges: class-balanced, un-augmented, listed in the RUN."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from export.source import Run

__all__ = ["pages_for", "samples"]

LEVELS = 255
"""Tensors are kept as uint8; x = value / 255."""


def pages_for(run: Run, fold: int | None) -> list[int]:
    """Return the calibration pages of one model.

    Parameters
    ----------
    run : Run
    fold : int or None
        The fold that the model has not seen, whose pages must not set its ranges either: the
        gates judge it on them. None: the final model.

    Raises
    ------
    ValueError
        If none is left.
    """
    kept = [int(i) for i in run.calibration if fold is None or run.pages.folds[i] != fold]
    if not kept:
        raise ValueError(f"calibration.csv has no page outside fold {fold}")
    return kept


def samples(tensors: NDArray[np.uint8], indices: list[int]) -> NDArray[np.float32]:
    """Return float32 [m, H, W, 1] in 0..1 of stored tensors, as the device feeds them."""
    return (tensors[indices].astype(np.float32) / np.float32(LEVELS))[..., None]
