"""What numpy does in a general way and slowly: sums, means and stretches of arrays."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = [
    "indices",
    "interpolated",
    "ranges",
    "running_mean",
    "stretches",
    "sums_of_parts",
    "true_cells",
    "true_places",
]


def indices(flags: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return where flags are true; as ``np.flatnonzero``, without its three calls in Python.

    Parameters
    ----------
    flags : ndarray of bool, shape (n,)

    Returns
    -------
    ndarray of int64, shape (m,)
    """
    return flags.nonzero()[0]


def ranges(first: NDArray[np.int64], many: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return whole numbers one up from each of `first`, `many` of them, one range behind the other.

    Parameters
    ----------
    first, many : ndarray of int64, shape (n,)

    Returns
    -------
    ndarray of int64, shape (sum of `many`,)
    """
    ends = many.cumsum()
    return np.arange(many.sum()) + (first - ends + many).repeat(many)


def sums_of_parts(
    values: NDArray[Any], edges: NDArray[np.int64], axis: int, kind: type[np.unsignedinteger[Any]]
) -> NDArray[Any]:
    """Add up the parts of an array that begin at `edges` (the last one goes on to the end).

    Parameters
    ----------
    values : ndarray, shape (h, w)
    edges : ndarray of int64, shape (n,)
        Ascending.
    axis : int
        0 or 1.
    kind : type
        Of the sums; wide enough for the longest part.

    Returns
    -------
    ndarray of `kind`, shape (n, w) or (h, n)
        As ``np.add.reduceat``, which takes several times as long along the first axis.
    """
    if axis == 1:
        return np.asarray(np.add.reduceat(values, edges, axis=1, dtype=kind))
    if kind is np.uint8 and (edges[1:] > edges[:-1]).all():  # eight at a time: none carries over
        eights = np.zeros((len(values), -(-values.shape[1] // 8)), dtype=np.uint64)
        eights.view(np.uint8)[:, : values.shape[1]] = values
        return np.add.reduceat(eights, edges, axis=0).view(np.uint8)[:, : values.shape[1]]
    ends = [*edges[1:], len(values)]
    parts = (values[a:b] for a, b in zip(edges, ends, strict=True))
    return np.array([np.add.reduce(part, axis=0, dtype=kind) for part in parts])


def running_mean(values: NDArray[Any], window: int) -> NDArray[np.float64]:
    """Return the mean over a window along the last axis; beyond the ends, the last values go on.

    Parameters
    ----------
    values : ndarray of numbers, shape (..., n)
    window : int
        Odd.

    Returns
    -------
    ndarray of float64, shape (..., n)
    """
    reach = window // 2
    first = values[..., :1].repeat(reach + 1, axis=-1)
    last = values[..., -1:].repeat(reach, axis=-1)
    long = np.concatenate([first, values, last], axis=-1)  # np.pad takes ten times as long
    total = long.cumsum(axis=-1, dtype=np.float64)
    return np.asarray((total[..., window:] - total[..., :-window]) / window)


def stretches(flags: NDArray[np.bool_]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return where the stretches of true values begin, and where they have ended.

    Parameters
    ----------
    flags : ndarray of bool, shape (n,)

    Returns
    -------
    first, last : ndarray of int64, shape (m,)
        Index of the first value of each stretch, and of the one after its last.
    """
    bounded = np.zeros(len(flags) + 2, dtype=bool)
    bounded[1:-1] = flags
    edges = indices(bounded[1:] != bounded[:-1])
    return edges[0::2], edges[1::2]


def true_cells(flags: NDArray[np.bool_]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return ``np.nonzero(flags)`` of two axes, which is slow at telling rows from columns.

    Parameters
    ----------
    flags : ndarray of bool, shape (h, w)

    Returns
    -------
    rows, columns : ndarray of int64, shape (n,)
    """
    places = indices(flags.ravel())
    rows = places // flags.shape[1]
    return rows, places - rows * flags.shape[1]


def interpolated(values: NDArray[np.float64], places: NDArray[np.float64]) -> NDArray[np.float64]:
    """Interpolate between values that lie one apart, as ``np.interp`` does after a search.

    Parameters
    ----------
    values : ndarray of float64, shape (n,)
        At least two.
    places : ndarray of float64, any shape
        0 to n - 1; what lies beyond goes on as the last two values do.

    Returns
    -------
    ndarray of float64, of the shape of `places`
    """
    below = np.minimum(places.astype(np.int64), len(values) - 2)
    low = values.take(below)
    return (values.take(below + 1) - low) * (places - below) + low


def true_places(mask: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return ``np.flatnonzero(mask)``; eight values at a time, for a mask that is mostly false.

    Parameters
    ----------
    mask : ndarray of bool, any shape

    Returns
    -------
    ndarray of int64, shape (n,)
    """
    flat = np.ascontiguousarray(mask).ravel()
    whole = flat.size // 8 * 8
    eights = flat[:whole].view(np.uint64)
    words = indices(eights != 0)
    inside = indices(eights[words].view(np.bool_))
    places = words[inside >> 3] * 8 + (inside & 7)
    return np.concatenate([places, indices(flat[whole:]) + whole])
