"""Measures the printed grid: how many pixels a millimetre of the paper has."""

from __future__ import annotations

from functools import cache, lru_cache
from typing import TYPE_CHECKING

import numpy as np

from runtime.arrays import interpolated, running_mean, sums_of_parts
from runtime.quantile import medians
from runtime.record import Record

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["grid_scale"]

#: Millimetres between the bold lines of ECG paper.
BOLD_MM = 5.0
#: The scale is looked for within these multiples of the assumed one.
SEARCH = (0.78, 1.28)
#: Steps of the search; 0.1 % each.
STEPS = 501
#: Harmonics of the bold lines that are summed; the fifth is the fine lines'.
HARMONICS = 5
#: Power of the harmonics above the first, over the mean power, from which it is a grid (on pages
#: without one up to 20, with one from 41), and its least mean darkness (grey levels).
MIN_POWER = 28.0
MIN_DARKNESS = 1.0
#: The rows of a page that was cut off are taken for 10 s, and the scale for less than it is: two or
#: three fine lines, or half the way between two bold ones, then pass for 5 mm. The true bold lines
#: are so many times as far apart, and have at least this power at the given orders, at which those
#: taken for them have none; on a page that shows no cut, more than chance gives them there.
CUT = ((2.5, (2, 3, 4)), (2.0, (3, 5, 7)), (5 / 3, (2, 3, 4)))
CUT_POWER = 4.0
WHOLE_POWER = 6.0
#: Largest disagreement of the two directions; a straightened photo may be a little out of square.
AGREE = 0.06


class _Pitch(Record):
    """The pitch of lines that lie one way.

    Attributes
    ----------
    scale : float
        Px per mm.
    above : float
        Power of the harmonics above the first.
    beside : tuple of float
        Power of what lies between them, for each of `CUT`.
    """

    scale: float
    above: float
    beside: tuple[float, ...]


def grid_scale(
    light: NDArray[np.uint8], assumed: float, *, cut: bool = True
) -> tuple[float, float] | None:
    """Measure the pitch of the grid in both directions.

    The sums over columns and over rows have peaks in their spectrum at 1/(5 mm) and its multiples.

    Parameters
    ----------
    light : ndarray of uint8, shape (h, w)
        Darkness inside the panel without the trace's ink.
    assumed : float
        Px per mm, within 20 %, or of a page that was cut off: where it is taken to show 10 s.
    cut : bool
        Whether the page looks as if it was cut off.

    Returns
    -------
    tuple of float or None
        Px per mm across and down; None where there is no grid.
    """
    if light.size == 0:
        return None
    # The sums of 257 rows fit into 16 bits, in which they are added faster.
    parts = np.arange(0, len(light), 0xFFFF // 0xFF)
    columns = sums_of_parts(light, parts, 0, np.uint16).sum(axis=0, dtype=np.uint32)
    if float(columns.sum()) < MIN_DARKNESS * light.size:
        return None
    across = _pitch(columns, assumed)
    down = _pitch(light.sum(axis=1, dtype=np.uint32), assumed)
    if across is None or down is None:
        return None
    if abs(across.scale / down.scale - 1.0) > AGREE or across.above + down.above < 2 * MIN_POWER:
        return None
    larger, power = 1.0, CUT_POWER if cut else WHOLE_POWER
    for (ratio, _), *beside in zip(CUT, across.beside, down.beside, strict=True):
        if min(beside) > power:
            larger, power = ratio, min(beside)
    return larger * across.scale, larger * down.scale


def _pitch(sums: NDArray[np.uint32], assumed: float) -> _Pitch | None:
    """Measure the pitch of lines; None if there are too few of them."""
    count = len(sums)
    window = 2 * round(BOLD_MM * assumed / 2) + 1
    if count < 6 * window:
        return None
    signal = (sums - running_mean(sums, window)) * _window(count)
    size = 4096 if count <= 2048 else 8192
    spectrum = np.fft.rfft(signal, size)
    power = spectrum.real**2 + spectrum.imag**2
    power /= max(float(power.mean()), 1e-9)
    scales = assumed * _multiples()
    orders = np.arange(1, HARMONICS + 1)[:, None]
    places = orders * size / (BOLD_MM * scales)
    values = interpolated(power, places)
    values[places > 0.46 * size] = 0.0
    best = int(values.sum(axis=0).argmax())
    ratios, between = _cuts()
    places = np.rint(between * size / (BOLD_MM * ratios * scales[best]))
    near = places.astype(int)[:, :, None] + np.array([-1, 0, 1])
    beside = medians(power.take(near, mode="clip").max(axis=2))[:, 0].tolist()
    return _Pitch(float(scales[best]), float(values[1:, best].sum()), tuple(beside))


@lru_cache(maxsize=4)
def _window(count: int) -> NDArray[np.float64]:
    """Return the window that `count` sums are seen through: the ends of the grid are no lines."""
    return np.hanning(count)


@cache
def _multiples() -> NDArray[np.float64]:
    """Return the multiples of the assumed scale that are looked at."""
    return np.linspace(*SEARCH, STEPS)


@cache
def _cuts() -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return the ratios of `CUT`, shape (n, 1), and their orders, shape (n, 3)."""
    return np.array([[ratio] for ratio, _ in CUT]), np.array([orders for _, orders in CUT])
