"""Separates the dark trace from paper and grid, and lists its ink as vertical runs."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from runtime.arrays import indices, stretches, true_cells, true_places
from runtime.quantile import grey_counts, median
from runtime.record import Record

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Runs", "above_grid", "bare_paper", "darkness_of", "ink_of", "ink_threshold", "runs_of"]

#: The paper estimate is made on a picture reduced by this factor (px).
PAPER_REDUCTION = 16
#: Paper whose local level varies by less than this (grey levels) is taken as even.
EVEN_PAPER = 16
#: Paper darker than this (grey levels) is not divided by.
MIN_PAPER = 24
#: Blocks of the reduced picture whose mean is below this share of the paper are no pen's work where
#: at least `SOLID_BLOCKS` of them lie within `SOLID_REACH` blocks of each other: a desk, a lid.
SOLID_SHARE = 0.6
SOLID_BLOCKS = 14
SOLID_REACH = 3
#: Blocks of this part of the picture's width (3 mm of a page), at least so many px (of a scan or
#: photo: so many px), with more than this share of ink are thicker than a pen's line.
THICK_PART = 1 / 96
THICK_BLOCK = 12
THICK_SHARE = 0.8
#: From so many blocks on that may be thick all blocks are measured at once.
MANY_BLOCKS = 32
#: Darkness (grey levels) below which nothing counts as ink.
LEAST_INK = 24
#: Share of the trace's usual darkness from which a pixel is trace: between the bold lines of a dark
#: grid (up to 0.3 of it) and the fainter stretches of a thin line (down to 0.45).
INK_SHARE = 0.38
#: Shades (grey levels) that are counted together where a grid of one shade is looked for; it is
#: darker than this share of the trace in no case.
SHADE = 8
TRACE_SHARE = 0.8
#: It has so many times the pixels of the rarest shade above it, and so many for each of the
#: trace's own; it ends where a shade has up to so many times those of the rarest.
CROWD = 6
GRID_TO_TRACE = 0.1
VALLEY = 1.5
#: Paper lighter than this (grey levels) is white: what is printed beside the panel moves its
#: estimate by a few levels, so its commonest level is taken instead.
WHITE = 240
#: The commonest grey level of white paper is looked for from `MIN_WHITE` (grey levels) on, in every
#: `USUAL_STEP`-th pixel; a prime number, so that it does not keep step with the lines of a grid.
MIN_WHITE = 232
USUAL_STEP = 23
#: A wedge of a scanner's lid beside a slanted sheet: at least this dark (grey levels), over this
#: share of the picture's side, no deeper than this share of the other; its rim (px) goes too.
WEDGE_DARKNESS = 20
WEDGE_WIDTH = 0.05
WEDGE_DEPTH = 0.12
WEDGE_RIM = 3
#: A median grey level below this, with no sizeable lighter area (`LIGHT_PAPER`), is a picture with
#: light traces on a dark ground; a sheet on a dark desk has the light area.
DARK_GROUND = 90
LIGHT_PAPER = 120


class Runs(Record):
    """Vertical runs of ink, sorted by column, then from the top down.

    Attributes
    ----------
    x : ndarray of int32, shape (n,)
        Column of each run, working px.
    top, bottom : ndarray of int32, shape (n,)
        First row of the run and the row after its last, working px.
    size : tuple of int
        Width and height of the picture, px.
    """

    x: NDArray[np.int32]
    top: NDArray[np.int32]
    bottom: NDArray[np.int32]
    size: tuple[int, int]

    def where(self, keep: NDArray[np.bool_]) -> Runs:
        """Return the runs for which `keep` (shape (n,)) is true."""
        places = indices(keep)  # looked up once for all three
        return Runs(self.x[places], self.top[places], self.bottom[places], self.size)

    def columns(self, left: float, right: float) -> Runs:
        """Return the runs of the columns from `left` on and before `right`, without a copy."""
        ends = np.array((math.ceil(left), math.ceil(right)), dtype=self.x.dtype)
        first, last = self.x.searchsorted(ends)
        part = slice(first, last)
        return Runs(self.x[part], self.top[part], self.bottom[part], self.size)

    def outside(self, left: float, right: float) -> Runs:
        """Return the runs of the columns before `left` and of those from `right` on."""
        ends = np.array((math.ceil(left), math.ceil(right)), dtype=self.x.dtype)
        first, last = self.x.searchsorted(ends)
        last = max(first, last)
        x, top, bottom = (
            np.concatenate([values[:first], values[last:]])
            for values in (self.x, self.top, self.bottom)
        )
        return Runs(x, top, bottom, self.size)

    def within(self, left: float, top: float, right: float, bottom: float) -> Runs:
        """Return the runs inside a rectangle, cut off at its upper and lower edge."""
        high, low = round(top), round(bottom)
        keep = (self.x >= left) & (self.x < right) & (self.top < low) & (self.bottom > high)
        part = self.where(keep)
        return Runs(part.x, np.maximum(part.top, high), np.minimum(part.bottom, low), self.size)


def darkness_of(grey: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return how much darker than the paper around it each pixel is.

    Parameters
    ----------
    grey : ndarray of uint8, shape (h, w)
        0 = black.

    Returns
    -------
    ndarray of uint8, shape (h, w)
        0 = paper, 255 = black; shadows and uneven light are gone, and so is a desk or a scanner's
        lid beside the sheet.
    """
    if _is_white(grey):
        return _without_wedges(_below(grey, _usual_level(grey)))
    small = _reduced(grey)
    levels = np.sort(small, axis=None)
    if levels[levels.size // 2] < DARK_GROUND and levels[int(0.95 * levels.size)] < LIGHT_PAPER:
        grey, small = np.invert(grey), np.invert(small)
    paper, low, ground, high = _paper(small)
    if high - low < EVEN_PAPER:
        even = _below(grey, _usual_level(grey) if ground >= WHITE else ground)
        return _without_wedges(even)
    return _without_wedges(_uneven_darkness(grey, small, paper))


def _below(grey: NDArray[np.uint8], ground: int) -> NDArray[np.uint8]:
    """Return how much darker than even paper of the level `ground` each pixel is."""
    if ground == 255:
        return np.invert(grey)
    dark = np.minimum(grey, np.uint8(ground))
    return np.subtract(np.uint8(ground), dark, out=dark)


def _reduced(grey: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the means of the picture's blocks."""
    factor = max(1, min(PAPER_REDUCTION, min(grey.shape) // 8))
    return np.asarray(Image.fromarray(grey).reduce(factor))


def _paper(small: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], int, int, int]:
    """Return the lightest level around each block, and its 5 %, 50 % and 95 % quantiles."""
    paper = _lightest(small, 2) if min(small.shape) >= 5 else small
    levels = np.sort(paper, axis=None, kind="stable")  # by counting
    low, middle, high = (int(levels[int(share * levels.size)]) for share in (0.05, 0.5, 0.95))
    return paper, low, middle, high


def _is_white(grey: NDArray[np.uint8]) -> bool:
    """Tell whether the paper is evenly white beyond doubt, from every fourth row: a cart's file."""
    if min(grey.shape) < 8 * PAPER_REDUCTION:
        return False
    part = Image.fromarray(grey[::4]).reduce((PAPER_REDUCTION, PAPER_REDUCTION // 4))
    _, low, middle, high = _paper(np.asarray(part))
    return high - low < EVEN_PAPER and middle > WHITE


def _usual_level(values: NDArray[np.uint8]) -> int:
    """Return the commonest of the light grey levels: that of bare paper, whatever is printed."""
    sample = values.ravel()[::USUAL_STEP].copy()
    if 2 * np.count_nonzero(sample == 255) > sample.size:
        return 255  # the usual case, and sooner told
    counts = grey_counts(sample[None])
    return MIN_WHITE + int(np.argmax(counts[MIN_WHITE:]))


def _lightest(levels: NDArray[np.uint8], reach: int) -> NDArray[np.uint8]:
    """Return the lightest level within `reach` blocks (faster than Pillow's rank filter)."""
    for axis in (0, 1):
        best = levels.copy()
        for shift in range(1, reach + 1):
            ahead, behind = (
                (np.s_[shift:], np.s_[:-shift])
                if axis == 0
                else (np.s_[:, shift:], np.s_[:, :-shift])
            )
            np.maximum(best[behind], levels[ahead], out=best[behind])
            np.maximum(best[ahead], levels[behind], out=best[ahead])
        levels = best
    return levels


def _uneven_darkness(
    grey: NDArray[np.uint8], small: NDArray[np.uint8], paper: NDArray[np.uint8]
) -> NDArray[np.uint8]:
    """Divide by the local paper, and leave out what is dark over a large area."""
    from PIL import ImageFilter  # most pages are even and need none

    size = grey.shape[1], grey.shape[0]
    smooth = Image.fromarray(paper).filter(ImageFilter.BoxBlur(2))
    share = small.astype(np.float32) / np.maximum(np.asarray(smooth), 1)
    beside = _near_large(share < SOLID_SHARE)
    ground = np.asarray(smooth.resize(size, Image.Resampling.BILINEAR))
    values = np.minimum(grey, ground)
    dark = (ground - values).astype(np.uint16) * np.uint16(255) // np.maximum(ground, MIN_PAPER)
    darkness = dark.astype(np.uint8)
    if beside.any():
        shown = Image.fromarray((~beside).view(np.uint8))
        keep = np.asarray(shown.resize(size, Image.Resampling.NEAREST))
        darkness *= keep
    return darkness


def _without_wedges(darkness: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Blank the wedges at the picture's sides, in place."""
    for side in (darkness, darkness[::-1], darkness.T, darkness.T[::-1]):
        if np.count_nonzero(side[0] >= WEDGE_DARKNESS) >= WEDGE_WIDTH * side.shape[1]:
            _clear_wedge(side)
    return darkness


def _clear_wedge(side: NDArray[np.uint8]) -> None:
    """Blank what is dark from the upper edge on over some width: the lid beside a slanted sheet."""
    height, width = side.shape
    depth = max(1, round(WEDGE_DEPTH * height))
    light = side[:depth] < WEDGE_DARKNESS
    deep = np.where(light.any(axis=0), light.argmax(axis=0), depth)
    for first, last in zip(*stretches(deep > 0), strict=True):
        if last - first >= WEDGE_WIDTH * width:
            reach = np.minimum(deep[first:last] + WEDGE_RIM, height)
            rows = np.arange(int(reach.max()))[:, None]
            side[: len(rows), first:last][rows < reach] = 0


def _near_large(dark: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the dark blocks that lie in large dark areas, and the blocks next to them."""
    reach = SOLID_REACH
    around = _box_sum(dark.astype(np.int32), reach)
    core = dark & (around >= SOLID_BLOCKS)
    large = dark & (_box_sum(core.astype(np.int32), reach) > 0)
    return _box_sum(large.astype(np.int32), 1) > 0


def _box_sum(values: NDArray[np.int32], reach: int) -> NDArray[np.int32]:
    """Return the sum over the square of 2 `reach` + 1 around each place."""
    size = 2 * reach + 1
    padded = np.pad(values, ((reach + 1, reach), (reach + 1, reach)))
    total = padded.cumsum(axis=0).cumsum(axis=1)
    return np.asarray(
        total[size:, size:] - total[:-size, size:] - total[size:, :-size] + total[:-size, :-size],
        dtype=np.int32,
    )


def ink_threshold(darkness: NDArray[np.uint8]) -> int:
    """Return the darkness from which a pixel counts as trace: a share of the trace's own.

    Nearly every column of a panel holds trace, so the median of the columns' darkest pixels is the
    trace's, however much print there is besides.
    """
    darkest = darkness.max(axis=0)
    darkest = darkest[darkest >= LEAST_INK]
    if darkest.size == 0:
        return LEAST_INK
    return max(LEAST_INK, round(INK_SHARE * median(darkest)))


def above_grid(darkness: NDArray[np.uint8], threshold: int) -> int:
    """Return a threshold above a grid that is dark enough to be ink; `threshold` where none is.

    The bold lines of such a grid are one shade, so they stand out among the shades between paper
    and trace, through which the trace's edges pass evenly.

    Parameters
    ----------
    darkness : ndarray of uint8, shape (h, w)
    threshold : int
        As from :func:`ink_threshold`.
    """
    counts = np.array(grey_counts(darkness))
    counts[:threshold] = 0
    shades = counts.reshape(-1, SHADE).sum(axis=1)
    first = threshold // SHADE
    last = round(TRACE_SHARE * threshold / INK_SHARE) // SHADE
    between = shades[first:last]
    if between.size < 3:
        return threshold
    crowd = int(between.argmax())
    beyond = between[crowd + 1 :]
    if beyond.size == 0 or between[crowd] < CROWD * beyond.min():
        return threshold
    if between[crowd] < GRID_TO_TRACE * shades[last:].sum():
        return threshold
    valley = crowd + 1 + int((beyond <= VALLEY * beyond.min()).argmax())
    return (first + valley) * SHADE


def ink_of(
    darkness: NDArray[np.uint8], threshold: int, *, captured: bool = False
) -> tuple[NDArray[np.bool_], Runs]:
    """Tell trace and print from paper and grid.

    Parameters
    ----------
    darkness : ndarray of uint8, shape (h, w)
        As from :func:`darkness_of`.
    threshold : int
        As from :func:`ink_threshold`.
    captured : bool
        Whether it is a scan or a photo, where the edges of sheet and desk are blots too.

    Returns
    -------
    mask : ndarray of bool, shape (h, w)
        Ink; what is thicker than any pen's line is left out.
    runs : Runs
        The same ink.
    """
    mask = darkness >= threshold
    runs = runs_of(mask)
    height, width = mask.shape
    size = THICK_BLOCK if captured else max(THICK_BLOCK, 4 * round(THICK_PART * width / 4))
    if min(height, width) < 4 * size or not _has_thick(mask, size):
        return mask, runs
    cover = np.asarray(Image.fromarray(mask.view(np.uint8) * np.uint8(255)).reduce(size))
    thick = cover > THICK_SHARE * 255
    if not thick.any():
        return mask, runs
    grown = _box_sum(thick.astype(np.int32), 1) > 0
    area = grown.repeat(size, axis=0).repeat(size, axis=1)
    mask = mask & ~area[:height, :width]
    return mask, runs_of(mask)


def _has_thick(mask: NDArray[np.bool_], size: int) -> bool:
    """Tell whether any block of `size` px is thick; looks at 16 pixels of each first."""
    step = size // 4
    down = mask[::size].view(np.uint8).copy()
    for offset in range(step, size, step):
        rows = mask[offset::size].view(np.uint8)  # the last block may end before
        down[: len(rows)] += rows
    down = down[:, ::step]
    fours = np.zeros((len(down), -(-mask.shape[1] // size) * 4), dtype=np.uint8)
    fours[:, : down.shape[1]] = down
    cover = fours.view(np.uint32) * np.uint32(0x01010101) >> np.uint32(24)  # sums of four bytes
    block_rows, block_columns = true_cells(cover > (THICK_SHARE - 0.2) * 16)
    if block_rows.size > MANY_BLOCKS:
        return True
    places = zip((block_rows * size).tolist(), (block_columns * size).tolist(), strict=True)
    blocks = (mask[y : y + size, x : x + size] for y, x in places)
    return any(np.count_nonzero(block) > THICK_SHARE * block.size for block in blocks)


def bare_paper(darkness: NDArray[np.uint8], mask: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Return the darkness of paper and grid: 0 where there is ink.

    Parameters
    ----------
    darkness : ndarray of uint8, shape (h, w)
    mask : ndarray of bool, shape (h, w)
        Ink.

    Returns
    -------
    ndarray of uint8, shape (h, w)
    """
    keep = mask.view(np.uint8) - np.uint8(1)  # several times faster than to multiply or to choose
    return np.bitwise_and(darkness, keep, out=keep)


def runs_of(mask: NDArray[np.bool_]) -> Runs:
    """List the vertical runs of a mask.

    Parameters
    ----------
    mask : ndarray of bool, shape (h, w)

    Returns
    -------
    Runs
    """
    height, width = mask.shape
    pitch = np.int32(height + 1)  # a picture has fewer than 2 ** 31 pixels
    change = true_places(mask[1:] != mask[:-1]).astype(np.int32)
    row = change // np.int32(width)  # floor_divide is vectorised, divmod is not
    column = change - row * np.int32(width)
    first, last = (indices(edge).astype(np.int32) for edge in (mask[0], mask[-1]))
    keys = np.concatenate([first * pitch, column * pitch + row + 1, last * pitch + height])
    keys.sort()
    x = keys[0::2] // pitch
    top, bottom = keys[0::2] - x * pitch, keys[1::2] - x * pitch
    return Runs(x, top, bottom, (width, height))
