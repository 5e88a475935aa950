"""Takes the pen's width off the ink of a trace: the signal that the pen followed.

A pen of some width leaves ink in every column it comes near to, so a narrow wave looks wider than
it is and the ink between its legs is solid. What is left when half the width is taken off on every
side is the stretch that the pen's middle went through in each column. On the flanks of a wave both
ends of the stretches tell the same line; where they do not, the pen followed the end that points
away from the line before and after.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from runtime.arrays import indices, stretches

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from runtime.trace import RowTraces

__all__ = ["thin_line"]

#: Ink reaches this share of the line's width beyond the columns that the pen's middle went through:
#: less than half of it, for a pen is round and its ink fades to the sides.
REACH = 0.2
#: Lines along the upper and the lower ends of the ink that are this far apart (px) differ.
DOUBTFUL = 0.75


def thin_line(traces: RowTraces) -> NDArray[np.float32]:
    """Take the pen's width off the rows' ink.

    Parameters
    ----------
    traces : RowTraces

    Returns
    -------
    ndarray of float32, shape (3, rows, w)
        Highest, lowest and mean place of the line's middle in each column, px.
    """
    half = traces.line_width / 2
    top, bottom = _ordered(traces.top + half, traces.bottom - half)
    # The lower edges are upper edges of the picture upside down: all go through it together.
    rows = len(top)
    least = _least(np.concatenate([-top, bottom]), REACH * traces.line_width)
    upper, lower = _ordered(-least[:rows], least[rows:])
    along = _following(np.concatenate([upper, -lower]))
    return np.array([top, bottom, _chosen(along[:rows], -along[rows:])])


def _ordered(
    top: NDArray[np.float32], bottom: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the edges; their middle where they have crossed."""
    middle = (top + bottom) / 2
    return np.fmin(top, middle), np.fmax(bottom, middle)


def _least(values: NDArray[np.float32], reach: float) -> NDArray[np.float32]:
    """Return the smallest known value within `reach` columns, interpolated between columns."""
    whole = int(reach)
    best = values
    for shift in range(1, whole + 2):
        nearer, best = best, best.copy()
        np.fmin(best[:, shift:], values[:, :-shift], out=best[:, shift:])
        np.fmin(best[:, :-shift], values[:, shift:], out=best[:, :-shift])
    best = nearer + np.float32(reach - whole) * (best - nearer)
    return np.where(np.isnan(values), values, best)


def _following(top: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the mean place in each column of a line that goes along the upper ends, px.

    It comes from where the columns' stretches meet, climbs to the end and goes down again.
    """
    entry, leave = top.copy(), top.copy()
    np.fmax(top[:, :-1], top[:, 1:], out=entry[:, 1:])
    leave[:, :-1] = entry[:, 1:]  # between two columns both are the same
    up, down = entry - top, leave - top
    back = (up * up + down * down) / np.maximum(2 * (up + down), 1e-3)
    return (top + back).astype(np.float32, copy=False)


def _chosen(high: NDArray[np.float32], low: NDArray[np.float32]) -> NDArray[np.float32]:
    """Choose between the lines along the upper and the lower ends, where they differ.

    They differ where a wave is no wider than the pen. Seen from where they agree before and after,
    it points up or down.
    """
    signal = ((high + low) / 2).astype(np.float32, copy=False)
    doubtful = low - high > DOUBTFUL
    if not doubtful.any():
        return signal
    pitch = doubtful.shape[1] + 1  # an empty column parts the rows from each other
    bounded = np.zeros((len(doubtful), pitch), dtype=bool)
    bounded[:, :-1] = doubtful
    first, last = stretches(bounded.ravel())
    row = first // pitch
    first, last = first - row * pitch, last - row * pitch
    before = _known(signal, row, first - 1, high[row, first], low[row, first])
    after = _known(signal, row, last, high[row, last - 1], low[row, last - 1])
    part = indices(doubtful.ravel())
    count = last - first
    step = np.arange(len(part)) - (count.cumsum() - count).repeat(count) + 1
    base = before.repeat(count) + step * ((after - before) / (count + 1)).repeat(count)
    crest, trough = high.ravel()[part], low.ravel()[part]
    signal.ravel()[part] = np.where(base - crest >= trough - base, crest, trough)
    return signal


def _known(
    signal: NDArray[np.float32],
    row: NDArray[np.int64],
    column: NDArray[np.int64],
    high: NDArray[np.float32],
    low: NDArray[np.float32],
) -> NDArray[np.float32]:
    """Return the signal in some columns; where there is none, between `high` and `low`."""
    inside = np.minimum(np.maximum(column, 0), signal.shape[1] - 1)
    value = np.where(inside == column, signal[row, inside], np.nan)
    return np.where(np.isnan(value), (high + low) / 2, value)
