"""Lines of different lengths with gaps, measured together: one call of numpy serves all leads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from runtime.arrays import indices

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = ["Lines"]


class Lines:
    """Lines behind one another in one array.

    Methods take places in each line (``where``, float64, shape (k, m), counted from the line's
    beginning) and return an array of that shape.

    Parameters
    ----------
    lines : sequence of ndarray of float, shapes (n_i,)
        NaN where there is nothing.

    Attributes
    ----------
    sizes : ndarray of int64, shape (k,)
        Length of each line.
    counts : ndarray of int64, shape (k,)
        Values of each line.
    places : ndarray of int64, shape (n,)
        Where the values of all lines are in the one array.
    values : ndarray of float, shape (n,)
    first, last : ndarray of int64, shape (k,)
        Places of each line's first and last value; of a line without one, any places.
    """

    def __init__(self, lines: Sequence[NDArray[np.floating[Any]]]) -> None:
        self.sizes = np.array([line.size for line in lines])
        ends = self.sizes.cumsum()
        self._starts = (ends - self.sizes)[:, None]
        values = np.concatenate(lines)
        self.places = indices(np.isfinite(values))
        begin = self.places.searchsorted(self._starts[:, 0])
        end = self.places.searchsorted(ends)
        self.counts = end - begin
        if not self.places.size:  # nothing at all: a value that belongs to no line
            self.places, values = np.zeros(1, dtype=np.int64), np.zeros(1)
        self.values = values[self.places]
        self.first = self.places[np.minimum(begin, self.places.size - 1)]
        self.last = self.places[np.maximum(end - 1, 0)]

    def beyond(self, where: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return how far places lie before a line's first value or behind its last; at least 0."""
        place = self._starts + where
        return np.maximum(np.maximum(self.first[:, None] - place, place - self.last[:, None]), 0.0)

    def at(
        self, where: NDArray[np.float64], values: NDArray[np.floating[Any]] | None = None
    ) -> NDArray[np.float64]:
        """Interpolate; beyond a line's ends its first and last value go on.

        Parameters
        ----------
        values : ndarray of float, shape (n,), optional
            What to interpolate at `places`, instead of the lines' own values; of a line without
            one, anything comes out.
        """
        place = np.maximum(self._starts + where, self.first[:, None])
        place = np.minimum(place, self.last[:, None])
        return np.interp(place, self.places, self.values if values is None else values)

    def gaps(self, where: NDArray[np.float64]) -> NDArray[np.int64]:
        """Return how far apart the two values are that places lie between.

        Returns
        -------
        ndarray of int64, shape (k, m)
            Beyond a line's ends: between its two outermost values. Of a line of fewer than two
            values, anything.
        """
        place = np.maximum(self._starts + where, self.first[:, None] + 0.5)
        place = np.minimum(place, self.last[:, None])
        if self.places.size < 2:
            return np.zeros(place.shape, dtype=np.int64)
        steps = self.places[1:] - self.places[:-1]
        behind = np.ceil(place).astype(np.int64) - (self.places[0] + 1)
        return steps.repeat(steps).take(np.maximum(behind, 0))  # sooner than to search for them
