"""Quantiles of short lists, without the overhead of numpy's general ones (25 us a call)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = [
    "grey_ceiling",
    "grey_counts",
    "grey_quantile",
    "median",
    "medians",
    "quantile",
    "quantiles",
    "row_quantiles",
]


def quantile(values: NDArray[Any], share: float) -> float:
    """Return the value below which a share of the values lies, by linear interpolation.

    Parameters
    ----------
    values : ndarray of numbers, any shape, not empty, no NaN
    share : float
        0 to 1.
    """
    return quantiles(values, share)[0]


def quantiles(values: NDArray[Any], *shares: float) -> list[float]:
    """Return several quantiles of the same values, as :func:`quantile`."""
    ordered = values.flatten()
    # Bytes are sorted by counting them, faster than by comparing.
    ordered.sort(kind="stable" if values.dtype == np.uint8 else None)
    end = ordered.size - 1
    found = []
    for share in shares:
        place = share * end
        below = int(place)
        low, high = float(ordered[below]), float(ordered[min(below + 1, end)])
        found.append(low + (high - low) * (place - below))
    return found


def grey_quantile(levels: NDArray[np.uint8], *shares: float) -> list[float]:
    """Return quantiles of many grey levels, by linear interpolation, from their histogram.

    Parameters
    ----------
    levels : ndarray of uint8, two axes, not empty
    shares : float
        0 to 1.
    """
    below = np.cumsum(grey_counts(levels))
    found = []
    for share in shares:
        place = share * (levels.size - 1)
        first = int(place)
        pair = below.searchsorted((first, min(first + 1, levels.size - 1)), side="right")
        found.append(float(pair[0] + (pair[1] - pair[0]) * (place - first)))
    return found


def grey_ceiling(levels: NDArray[np.uint8], share: float) -> int:
    """Return the least grey level that a share of the levels does not exceed.

    Parameters
    ----------
    levels : ndarray of uint8, any shape
    share : float
        Near 1, for only the highest levels are sorted.
    """
    above = levels.size - math.ceil(share * levels.size)
    for floor in (127, 63, 31, 15):
        strong = levels[levels > floor]
        if strong.size > above:
            break
    else:
        strong = levels
    if strong.size == 0:
        return 0
    return int(np.sort(strong, axis=None, kind="stable")[strong.size - above - 1])


def grey_counts(levels: NDArray[np.uint8]) -> list[int]:
    """Count the pixels of each of the 256 grey levels of a picture (uint8, two axes)."""
    # Pillow counts bytes as they are; np.bincount makes eight of each first.
    return Image.fromarray(np.ascontiguousarray(levels)).histogram()


def row_quantiles(values: NDArray[Any], *shares: float) -> list[NDArray[Any]]:
    """Return for each share the quantiles of the rows, each of shape (rows,); as `quantile`.

    Parameters
    ----------
    values : ndarray of numbers, shape (rows, n), no NaN
    shares : float
        0 to 1.
    """
    ordered = np.sort(values, axis=1)
    end = ordered.shape[1] - 1
    found = []
    for share in shares:
        place = share * end
        below = int(place)
        low, high = ordered[:, below], ordered[:, min(below + 1, end)]
        found.append(low + (high - low) * (place - below))
    return found


def medians(values: NDArray[Any]) -> NDArray[Any]:
    """Return the median of each row, shape (rows, 1); no NaN.

    ``np.median`` would load numpy.ma, 6 ms of a cold start.
    """
    ordered = np.sort(values, axis=1)
    middle = ordered.shape[1] // 2
    if ordered.shape[1] % 2:
        return ordered[:, middle : middle + 1]
    return (ordered[:, middle - 1 : middle] + ordered[:, middle : middle + 1]) / 2


def median(values: NDArray[Any]) -> float:
    """Return the median of values (not empty, no NaN)."""
    return quantiles(values, 0.5)[0]
