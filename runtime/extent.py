"""Finds where printed grid lines begin and end, by their pattern from one block to the next."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from runtime.arrays import interpolated, running_mean

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["extent_of_lines"]

#: Millimetres between the bold lines of ECG paper; the lines are followed in blocks of this length.
BOLD_MM = 5.0
#: Similarity (1: the same pattern, 0: none) from which a block carries the lines of its neighbours.
SIMILAR = 0.5
#: Blocks whose mean is the pattern that the next one is held against, and of them those that show
#: where the lines end.
MEMORY = 8
NEAREST = 4
#: Blocks without the pattern that are stepped over: a bold line or dense traces lie there.
SKIPPED = 2
#: A grid covers at least this share of where the traces lie; print may have been taken for a row.
LEAST_SPAN = 0.6
#: Window (mm) of the mean by which the end is placed between blocks.
FINE_MM = 2.5
#: Darkness above this many times the usual one is no grid's, or `MIN_CAP` grey levels.
CAP = 4.0
MIN_CAP = 6
#: The scale is looked for within these multiples of the assumed one, in so many steps.
SEARCH = (0.4, 2.3)
STEPS = 1400
#: Harmonics of the bold lines that are summed, and the least sum over the mean power that is a
#: grid's: on pages without one up to 58, with one from 66.
HARMONICS = 5
MIN_POWER = 60.0


def extent_of_lines(
    darkness: NDArray[np.uint8],
    mask: NDArray[np.bool_],
    core: tuple[float, float],
    mm: float,
) -> tuple[float, float] | None:
    """Follow the upright lines of a grid up and down.

    Wherever the grid is, the same columns are darker than their neighbours; print beside it has
    other columns in each line. Blocks of rows are compared with the blocks before them, so that
    lines that are not quite upright are followed too.

    Parameters
    ----------
    darkness : ndarray of uint8, shape (h, w)
        The columns that the traces cover.
    mask : ndarray of bool, shape (h, w)
        Ink.
    core : tuple of float
        Rows (px) between which the traces lie.
    mm : float
        Px per mm, within a factor of two.

    Returns
    -------
    tuple of float or None
        First row and the row after the last, px; None where there is no grid.
    """
    height = len(darkness)
    size = BOLD_MM * mm
    count = int(height / size)
    if count < 4:
        return None
    paper = ~_grown(mask)
    light = darkness * paper
    inside = np.s_[max(0, int(core[0])) : int(core[1])]
    usual = float(light[inside].sum()) / max(int(np.count_nonzero(paper[inside])), 1)
    np.minimum(light, np.uint8(min(255.0, max(CAP * usual, MIN_CAP))), out=light)
    edges = (np.arange(count) * size).astype(int)
    patterns = _patterns(light, paper, edges, mm)
    seed = _seed(patterns, core[0] / size, core[1] / size)
    above, below = _followed(patterns, seed, -1), _followed(patterns, seed, 1)
    if (below[-1] + 1 - above[-1]) * size < LEAST_SPAN * (core[1] - core[0]):
        return None
    if _power(patterns[above[::-1] + below[1:]].mean(axis=0), mm) < MIN_POWER:
        return None
    first = _end(light, paper, patterns[above[-NEAREST:]], edges[above[-1]] - size, 2.5 * size, mm)
    last = _end(
        light, paper, patterns[below[-NEAREST:]], edges[below[-1]] - 0.5 * size, 2.7 * size, mm
    )
    return float(first[0]), float(last[1])


def _grown(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the ink and the pixels next to it, which are darker than paper too."""
    grown = mask.copy()
    grown[:, 1:] |= mask[:, :-1]
    grown[:, :-1] |= mask[:, 1:]
    wide = grown.copy()
    grown[1:] |= wide[:-1]
    grown[:-1] |= wide[1:]
    return grown


def _patterns(
    light: NDArray[np.uint8], paper: NDArray[np.bool_], edges: NDArray[np.int64], mm: float
) -> NDArray[np.float32]:
    """Return each block's mean darkness of bare paper by column, less its running mean."""
    dark = np.add.reduceat(light, edges, axis=0, dtype=np.uint32).astype(np.float32)
    bare = np.add.reduceat(paper.view(np.uint8), edges, axis=0, dtype=np.uint16)
    dark /= np.maximum(bare, 1)
    dark -= running_mean(dark, 2 * round(BOLD_MM * mm / 2) + 1).astype(np.float32)
    dark[bare == 0] = 0.0
    return dark


def _seed(patterns: NDArray[np.float32], first: float, last: float) -> int:
    """Return the block in the middle of the core that agrees best with the blocks around it."""
    quarter = (last - first) / 4
    low = min(max(int(first + quarter), 0), len(patterns) - 1)
    high = max(min(int(last - quarter), len(patterns) - 1), low)
    reach = MEMORY // 2
    best, chosen = -1.0, low
    for block in range(low, high + 1):
        around = patterns[max(0, block - reach) : block + reach + 1].sum(axis=0) - patterns[block]
        length = float(np.sqrt((around @ around) * (patterns[block] @ patterns[block]))) + 1e-9
        if (alike := float(around @ patterns[block]) / length) > best:
            best, chosen = alike, block
    return chosen


def _followed(patterns: NDArray[np.float32], seed: int, step: int) -> list[int]:
    """Return the blocks that carry the pattern, from the seed on in one direction."""
    count = len(patterns)
    behind = [
        block for block in range(seed - step * (MEMORY - 1), seed, step) if 0 <= block < count
    ]
    known = [*behind, seed]
    block = seed + step
    while 0 <= block < count and abs(block - known[-1]) <= SKIPPED + 1:
        pattern = patterns[known[-MEMORY:]].mean(axis=0)
        if patterns[block] @ pattern >= SIMILAR * (pattern @ pattern):
            known.append(block)
        block += step
    return known[len(behind) :]


def _end(
    light: NDArray[np.uint8],
    paper: NDArray[np.bool_],
    patterns: NDArray[np.float32],
    start: float,
    length: float,
    mm: float,
) -> tuple[int, int]:
    """Return the first row of a stretch that carries a pattern, and the row after the last."""
    pattern = patterns.mean(axis=0)
    begin = max(0, int(start))
    rows = np.s_[begin : int(start + length)]
    share = light[rows] @ pattern / np.maximum(paper[rows] @ (pattern * pattern), 1e-3)
    share = running_mean(share, 2 * round(FINE_MM * mm / 2) + 1)
    good = np.flatnonzero(share >= SIMILAR)
    if good.size == 0:
        return begin, begin + len(share)
    return begin + int(good[0]), begin + int(good[-1]) + 1


def _power(pattern: NDArray[np.float32], mm: float) -> float:
    """Return the power of lines 5 mm apart and of their harmonics over the mean power."""
    count = len(pattern)
    size = 4096 if count <= 2048 else 8192
    power = np.abs(np.fft.rfft(pattern * np.hanning(count), size)) ** 2
    power /= max(float(power.mean()), 1e-9)
    scales = mm * np.geomspace(*SEARCH, STEPS)
    places = np.arange(1, HARMONICS + 1)[:, None] * size / (BOLD_MM * scales)
    values = interpolated(power, places)
    values[places > 0.46 * size] = 0.0
    return float(values.sum(axis=0).max())
