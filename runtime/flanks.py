"""Places the flanks of steep waves between columns, by how dark the columns beside them are.

Ink is told by a threshold, so a column that a flank covers by half counts whole or not at all, and
a narrow wave becomes wider or narrower with its place among the pixels and with the page's
resolution. How much of a column is covered shows in its darkness; the edges of the ink are moved to
their mean over the column.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from runtime.arrays import true_cells
from runtime.quantile import median

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from runtime.trace import RowTraces

__all__ = ["even_flanks"]

#: Edges of neighbouring columns that are this far apart (px) make a flank.
STEEP = 1.5
#: Where between the two edges its darkness is looked at.
PLACES = (0.2, 0.5, 0.8)
#: Ink up to this many times the usual height of the line is flat trace.
FLAT = 1.5


def even_flanks(
    traces: RowTraces, darkness: NDArray[np.uint8], rows: int | None = None
) -> RowTraces:
    """Move the edges of the rows' ink to their mean over each column.

    Parameters
    ----------
    traces : RowTraces
    darkness : ndarray of uint8, shape (h, w)
        Of the picture that they were followed in.
    rows : int, optional
        How many rows, from the first on, are asked for; all of them tell how dark a line is.

    Returns
    -------
    RowTraces
        Of these rows.
    """
    height = len(darkness)
    full = _full_darkness(traces, darkness)
    traces = traces.part(0, len(traces.top) if rows is None else rows)
    rows = len(traces.top)
    # The lower edges are upper edges of the picture upside down.
    edges = _evened(np.concatenate([traces.top, height - traces.bottom]), darkness, full)
    return traces._replace(top=edges[:rows], bottom=height - edges[rows:])


def _full_darkness(traces: RowTraces, darkness: NDArray[np.uint8]) -> float:
    """Return the darkness of the line where it is flat."""
    height, width = darkness.shape
    row, column = true_cells(traces.bottom - traces.top < FLAT * traces.line_width)
    if row.size == 0:
        return 255.0
    places = row * width + column
    middle = (traces.top.take(places) + traces.bottom.take(places)) / 2
    return median(darkness.take(_inside(middle, height) * width + column))


def _evened(
    top: NDArray[np.float32], darkness: NDArray[np.uint8], full: float
) -> NDArray[np.float32]:
    """Return the mean upper edges of ink whose uncovered part is as dark as `full`.

    The first half of the edges (2 rows, w) is that of the picture, the second half that of the
    picture upside down.
    """
    step = top[:, :-1] - top[:, 1:]
    row, column = true_cells(np.abs(step) > STEEP)
    if row.size == 0:
        return top
    height = step[row, column]
    ahead = np.where(height > 0, 1, -1)  # towards the column whose ink goes further up
    inner = column + (height > 0)
    outer, height = inner - ahead, np.abs(height)
    columns = np.array([inner + ahead, inner, outer, outer - ahead])
    columns = np.minimum(np.maximum(columns, 0), darkness.shape[1] - 1)
    places = top[row, inner] + np.array(PLACES, np.float32)[:, None] * height
    pixels = _inside(places, len(darkness))
    turned = np.s_[:, int(row.searchsorted(len(top) // 2)) :]  # rows ascend
    pixels[turned] = len(darkness) - 1 - pixels[turned]
    looked_at = darkness.ravel().take((pixels * darkness.shape[1])[:, None] + columns)
    dark = looked_at.mean(axis=0, dtype=np.float32)
    paper = np.minimum(dark[2], dark[3])  # the grid may go through the wave
    ink = np.maximum(np.maximum(dark[0], dark[1]), full)
    covered = np.clip((dark[1:3] - paper) / np.maximum(ink - paper, 1), 0, 1)
    height[paper >= ink] = 0  # that is another wave: nothing is known of this one's flank
    lowered, raised = np.zeros(top.size, top.dtype), np.zeros(top.size, top.dtype)
    # A column between two flanks is moved once, by the larger one.
    begin = row * top.shape[1]
    np.maximum.at(lowered, begin + inner, (1 - covered[0]) * height)
    np.maximum.at(raised, begin + outer, covered[1] * height)
    return np.asarray(top + lowered.reshape(top.shape) - raised.reshape(top.shape))


def _inside(places: NDArray[np.floating[Any]], height: int) -> NDArray[np.int64]:
    """Return the rows of pixels that some places lie in, the nearest ones for places outside."""
    return np.asarray(np.minimum(np.maximum(places, 0), height - 1).astype(np.int64))
