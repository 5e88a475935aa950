"""Overlap of two convex quadrilaterals."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["overlap"]


def overlap(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    """Intersection over union of two convex quadrilaterals.

    Parameters
    ----------
    one, other : ndarray of float32, shape [4, 2]
        Corners in order, either way round.

    Returns
    -------
    float
        0 where they do not meet, 1 where they are the same.
    """
    first, second = _anticlockwise(one), _anticlockwise(other)
    shared = first
    for start, end in zip(second, np.roll(second, -1, axis=0), strict=True):
        shared = _clipped(shared, start, end)
        if len(shared) < 3:
            return 0.0
    common = abs(_area(shared))
    union = abs(_area(first)) + abs(_area(second)) - common
    return float(common / union) if union > 0 else 0.0


def _area(points: NDArray[np.float64]) -> float:
    x, y = points[:, 0], points[:, 1]
    return float(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))) / 2.0


def _anticlockwise(quad: NDArray[np.float32]) -> NDArray[np.float64]:
    points = np.asarray(quad, dtype=np.float64)
    return points if _area(points) > 0 else points[::-1]


def _clipped(
    points: NDArray[np.float64], start: NDArray[np.float64], end: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Keep what lies left of an edge (Sutherland and Hodgman 1974, Commun. ACM 17:32)."""
    edge = end - start
    side = edge[0] * (points[:, 1] - start[1]) - edge[1] * (points[:, 0] - start[0])
    kept: list[NDArray[np.float64]] = []
    for i, point in enumerate(points):
        j = (i + 1) % len(points)
        if side[i] >= 0:
            kept.append(point)
        if (side[i] >= 0) != (side[j] >= 0):
            kept.append(point + (points[j] - point) * (side[i] / (side[i] - side[j])))
    return np.array(kept).reshape(-1, 2)
