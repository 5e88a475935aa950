"""A pen for traces: polylines that run left to right, or straight up and down, as smooth ink."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

__all__ = ["Ink"]

_FINE = 4
"""Columns that each pixel is gathered in, so that a pen is as wide across as it is high."""


class Ink:
    """Ink of one width on a page, gathered column by column.

    A trace has one height a moment, so in each column it covers one vertical run. Runs are gathered
    as the jumps at their two ends and summed once down the columns: a hundred times faster than
    drawing ten thousand short thick lines, and smooth to a fraction of a pixel. Columns are a
    quarter of a pixel wide and each adds its share to the pixel's ink.

    Parameters
    ----------
    size : tuple of int
        Width and height of the page, px.
    width : float
        Width of the line, px.
    """

    def __init__(self, size: tuple[int, int], width: float) -> None:
        self._columns, self._rows = size
        self._half = max(0.5, width / 2.0)
        self._jumps = np.zeros((self._rows + 2, self._columns), dtype=np.float32)
        self._extent = [float(self._columns), float(self._rows), 0.0, 0.0]

    def add_polyline(self, points: NDArray[np.float64]) -> None:
        """Add a line through points [n, 2] (x, y in px); x must never fall."""
        x, y = np.asarray(points[:, 0], np.float64) * _FINE, np.asarray(points[:, 1], np.float64)
        # Where it runs straight up, a hair's breadth of x keeps it a function of x.
        x = np.maximum.accumulate(x + np.arange(x.size) * 1e-7)
        low, high, first = _column_extremes(x, y)
        reach = int(self._half * _FINE)
        padded_low = np.pad(low, reach, constant_values=np.inf)
        padded_high = np.pad(high, reach, constant_values=-np.inf)
        count = low.size + 2 * reach
        top, bottom = np.full(count, np.inf), np.full(count, -np.inf)
        for shift in range(-reach, reach + 1):
            drop = np.sqrt(self._half**2 - (shift / _FINE) ** 2)
            top = np.minimum(top, np.roll(padded_low, shift) - drop)
            bottom = np.maximum(bottom, np.roll(padded_high, shift) + drop)
        columns = np.arange(first - reach, first - reach + count)
        keep = (columns >= 0) & (columns < self._columns * _FINE) & np.isfinite(top)
        self._add_runs(columns[keep] // _FINE, top[keep], bottom[keep])

    def _add_runs(
        self, columns: NDArray[np.int64], top: NDArray[np.float64], bottom: NDArray[np.float64]
    ) -> None:
        if columns.size == 0:
            return
        top, bottom = np.clip(top, 0, self._rows), np.clip(bottom, 0, self._rows)
        for edge, sign in ((top, 1.0), (bottom, -1.0)):
            whole = np.floor(edge).astype(np.int64)
            part = (edge - whole).astype(np.float32)
            np.add.at(self._jumps, (whole, columns), sign * (1.0 - part) / _FINE)
            np.add.at(self._jumps, (whole + 1, columns), sign * part / _FINE)
        seen = self._extent
        seen[0] = min(seen[0], float(columns[0]))
        seen[1] = min(seen[1], float(top.min()))
        seen[2] = max(seen[2], float(columns[-1] + 1))
        seen[3] = max(seen[3], float(bottom.max()))

    def extent(self) -> tuple[float, float, float, float]:
        """Left, top, right and bottom of all ink, px."""
        left, top, right, bottom = self._extent
        return left, top, right, bottom

    def mask(self, smooth: bool) -> Image.Image:
        """Return the ink as a mask, mode L: 255 where the page is covered."""
        cover = np.cumsum(self._jumps[: self._rows], axis=0, dtype=np.float32)
        if smooth:
            return Image.fromarray((np.clip(cover, 0, 1) * 255 + 0.5).astype(np.uint8))
        return Image.fromarray((cover > 0.5).astype(np.uint8) * 255)


def _column_extremes(
    x: NDArray[np.float64], y: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], int]:
    """Lowest and highest y of a polyline in each pixel column it crosses, and the first column."""
    first, last = int(np.floor(x[0])), int(np.floor(x[-1]))
    edges = np.arange(first + 1, last + 1)  # where it passes from one column to the next
    xs = np.concatenate([x, edges, edges - 1e-9])
    ys = np.concatenate([y, np.interp(edges, x, y), np.interp(edges, x, y)])
    column = np.floor(xs).astype(np.int64) - first
    low, high = np.full(last - first + 1, np.inf), np.full(last - first + 1, -np.inf)
    np.minimum.at(low, column, ys)
    np.maximum.at(high, column, ys)
    return low, high, first
