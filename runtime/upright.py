"""Finds how a page lies in its picture (turn, slant, perspective) and sets it upright."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from runtime.arrays import running_mean
from runtime.record import Record

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Pencil", "level_lines", "lies_on_side", "map_points", "straightening", "warp"]

#: Steepest slant that is looked for: 11 degrees.
MAX_SLOPE = 0.195
#: Largest change of slope from the middle of the picture to its edge by perspective.
MAX_FAN = 0.09
#: Slope (px/px) below which lines are level: 0.1 degrees, or half a row of pixels in 250.
LEVEL = 0.002
#: Strips that the picture is cut into for the search.
STRIPS = 28
#: Darkness is cut off here, so that faint grids count beside black traces (grey levels).
CAP = 70
#: Window of the high-pass along a strip, px.
HIGH_PASS = 25


class Pencil(Record):
    """Nearly level lines that meet in one far point.

    A line through (middle column, y) has the slope ``slope + fan * (y - middle row)``, px/px.

    Attributes
    ----------
    slope : float
    fan : float
        Per px.
    sharpness : float
        Energy of the profile along the lines over that along level ones.
    """

    slope: float
    fan: float
    sharpness: float

    def negligible(self, reach: float) -> bool:
        """Tell whether the lines are level, `reach` px above and below the middle too."""
        return abs(self.slope) < LEVEL and abs(self.fan) * reach < 2 * LEVEL


def level_lines(darkness: NDArray[np.uint8]) -> Pencil:
    """Find the slant of the lines (baselines, grid, text) that run across a picture.

    The picture's strips are moved up and down so that they lie along the lines of a pencil and are
    summed; the pencil whose sum has the most energy wins. The search goes from coarse to fine.

    Parameters
    ----------
    darkness : ndarray of uint8, shape (h, w)

    Returns
    -------
    Pencil
    """
    height, width = darkness.shape
    edges = np.linspace(0, width, STRIPS + 1).astype(int)
    capped = np.minimum(darkness, CAP)
    sums = np.add.reduceat(capped, edges[:-1], axis=1, dtype=np.uint32).T.astype(np.float32)
    sums /= np.maximum(np.diff(edges), 1)[:, None]
    sums = (sums - running_mean(sums, HIGH_PASS)).astype(np.float32)
    offset = (edges[1:] + edges[:-1]) / 2 - width / 2
    slope, fan = 0.0, 0.0
    start = 1.0
    best = 1.0
    half = height / 2
    for bin_px, slope_reach, slope_step, fan_reach, fan_step in (
        (6, MAX_SLOPE, 0.010, MAX_FAN, 0.015),
        (3, 0.010, 0.004, 0.012, 0.005),
        (1, 0.005, 0.0012, 0.005, 0.0016),
    ):
        coarse = _binned(sums, bin_px)
        slopes = slope + np.arange(-slope_reach, slope_reach + 1e-9, slope_step)
        fans = fan + np.arange(-fan_reach, fan_reach + 1e-9, fan_step) / half
        start = _energy(coarse, offset, bin_px, 0.0, 0.0)
        scores = np.array([[_energy(coarse, offset, bin_px, s, f) for f in fans] for s in slopes])
        row, column = np.unravel_index(int(np.argmax(scores)), scores.shape)
        slope, fan, best = float(slopes[row]), float(fans[column]), float(scores[row, column])
    return Pencil(slope, fan, best / max(start, 1e-9))


def _binned(sums: NDArray[np.float32], size: int) -> NDArray[np.float32]:
    count = sums.shape[1] // size
    return sums[:, : count * size].reshape(len(sums), count, size).sum(axis=2)


def _energy(
    sums: NDArray[np.float32], offset: NDArray[np.float64], size: int, slope: float, fan: float
) -> float:
    """Return the energy of the strips' sum along a pencil of lines."""
    count = sums.shape[1]
    y = np.arange(count)
    along = slope + fan * (y - count / 2) * size
    place = y + np.rint(offset[:, None] * along / size).astype(np.int32)
    inside = (place >= 0) & (place < count)
    values = np.take_along_axis(sums, np.clip(place, 0, count - 1), axis=1)
    return float(np.square(np.where(inside, values, 0.0).sum(axis=0)).sum())


def lies_on_side(mask: NDArray[np.bool_]) -> bool:
    """Tell whether the traces run down the picture: then their ink has more runs across it.

    Parameters
    ----------
    mask : ndarray of bool, shape (h, w)
        Ink.
    """
    down = int(np.count_nonzero(mask[1:] != mask[:-1]))
    across = int(np.count_nonzero(mask[:, 1:] != mask[:, :-1]))
    return across > down


def straightening(
    size: tuple[int, int], level: Pencil, upright: Pencil
) -> tuple[NDArray[np.float64], tuple[int, int]]:
    """Make the projective map that makes two pencils of lines level and upright.

    Parameters
    ----------
    size : tuple of int
        Width and height of the picture.
    level : Pencil
        Of the lines that shall be level.
    upright : Pencil
        Of the lines that shall be upright, found in the transposed picture.

    Returns
    -------
    matrix : ndarray of float64, shape (3, 3)
        Picture px to straight px; its scale in the middle of the picture is 1.
    size : tuple of int
        Width and height of the straight picture.
    """
    width, height = size
    centre = np.array([width / 2, height / 2, 1.0])
    # The pencil's lines meet at (-1/fan, -slope/fan) from the middle; homogeneous, so fan may be 0.
    far = np.array([-1.0, -level.slope, level.fan])
    steep = np.array([-upright.slope, -1.0, upright.fan])
    move = np.array([[1.0, 0.0, width / 2], [0.0, 1.0, height / 2], [0.0, 0.0, 1.0]])
    far, steep = move @ far, move @ steep
    horizon = np.cross(far, steep)
    x_axis = np.cross(steep, centre)  # the upright line through the middle: x = 0
    y_axis = np.cross(far, centre)  # the level line through the middle: y = 0
    matrix = np.stack([x_axis, y_axis, horizon]) / (horizon @ centre)
    ahead = np.array([1.0, level.slope]) / np.hypot(1.0, level.slope)
    below = np.array([upright.slope, 1.0]) / np.hypot(1.0, upright.slope)
    matrix[0] /= float(matrix[0, :2] @ ahead)
    matrix[1] /= float(matrix[1, :2] @ below)
    corners = np.array([[0.0, 0.0], [width, 0.0], [width, height], [0.0, height]])
    spread = map_points(matrix, corners)
    low = np.maximum(spread.min(axis=0), -0.75 * np.array([width, height]))
    high = np.minimum(spread.max(axis=0), 0.75 * np.array([width, height]))
    shift = np.array([[1.0, 0.0, -low[0]], [0.0, 1.0, -low[1]], [0.0, 0.0, 1.0]])
    new_width, new_height = np.maximum(np.ceil(high - low), 1).astype(int)
    return shift @ matrix, (int(new_width), int(new_height))


def map_points(matrix: NDArray[np.float64], points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Carry points (n, 2) through a projective map (3, 3)."""
    flat = np.concatenate([points, np.ones((len(points), 1))], axis=1) @ matrix.T
    return np.asarray(flat[:, :2] / flat[:, 2:])


def warp(
    darkness: NDArray[np.uint8], matrix: NDArray[np.float64], size: tuple[int, int]
) -> NDArray[np.uint8]:
    """Resample a picture through a projective map.

    Parameters
    ----------
    darkness : ndarray of uint8, shape (h, w)
    matrix : ndarray of float64, shape (3, 3)
        Old px to new px.
    size : tuple of int
        Width and height of the new picture.

    Returns
    -------
    ndarray of uint8
        0 where the old picture does not reach.
    """
    back = np.linalg.inv(matrix)
    back /= back[2, 2]
    picture = Image.fromarray(darkness).transform(
        size,
        Image.Transform.PERSPECTIVE,
        tuple(back.ravel()[:8]),
        Image.Resampling.BILINEAR,
        fillcolor=0,
    )
    return np.asarray(picture)
