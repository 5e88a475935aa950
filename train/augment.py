"""Varies training examples: canonical tensors in their geometry, page pictures as a camera would.

A canonical tensor is nearly all zeros, so noise added to its values shifts the statistics of
every activation and ruined evaluation in a probe (design/evidence.md). Therefore the trace is
taken back to its extents a column, moved, scaled and bent there, and drawn again with the very
line that runtime.preprocess draws.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

ROWS, COLUMNS = 3, 4
LEVELS = 255


@dataclass(frozen=True)
class TensorAugmentation:
    """How far a canonical tensor may be changed; every figure is a largest value.

    Attributes
    ----------
    time_shift
        Columns by which all cells move together.
    stretch
        Relative change of the time scale: heart rate and paper speed vary.
    gain
        Relative change of the voltage scale of all leads.
    lead_gain
        Further relative change of each lead alone: electrodes sit differently.
    vertical_shift
        Rows by which each cell moves: its baseline is an estimate.
    wander
        Amplitude (rows) of a slow wave added to the baseline.
    tremor
        Standard deviation (rows) of noise on the extents of each column.
    lead_dropout
        Probability that a cell is emptied.
    erase
        Probability that a stretch of a cell is emptied.
    erase_columns
        Its longest length.
    flip_time, flip_polarity
        Probability of mirroring. 0 unless asked for: a mirror image of an ECG runs backwards in
        time (P after QRS) or has its polarity turned (ST elevation becomes depression), so it is
        another diagnosis with the old label.
    """

    time_shift: float = 12.0
    stretch: float = 0.10
    gain: float = 0.20
    lead_gain: float = 0.05
    vertical_shift: float = 1.0
    wander: float = 1.0
    tremor: float = 0.15
    lead_dropout: float = 0.05
    erase: float = 0.10
    erase_columns: int = 24
    flip_time: float = 0.0
    flip_polarity: float = 0.0


NO_AUGMENTATION = TensorAugmentation(
    time_shift=0.0,
    stretch=0.0,
    gain=0.0,
    lead_gain=0.0,
    vertical_shift=0.0,
    wander=0.0,
    tremor=0.0,
    lead_dropout=0.0,
    erase=0.0,
)


def extents(values: np.ndarray) -> np.ndarray:
    """Take the trace of canonical tensors back to the extent of its ink a column.

    Parameters
    ----------
    values
        uint8 [n, 192, 512].

    Returns
    -------
    ndarray
        float32 [n, 12, 2, 128]: upper and lower edge of the ink in rows from the top of the
        cell; NaN where a column is empty.
    """
    n, height, width = values.shape
    cell = (height // ROWS, width // COLUMNS)
    out = np.empty((n, ROWS * COLUMNS, 2, cell[1]), np.float32)
    for start in range(0, n, 64):
        part = values[start : start + 64].reshape(-1, ROWS, cell[0], COLUMNS, cell[1])
        part = part.transpose(0, 1, 3, 2, 4).reshape(-1, ROWS * COLUMNS, *cell)
        out[start : start + 64] = _edges(part)
    return out


def _edges(cells: np.ndarray) -> np.ndarray:
    """Edges of the ink of cells [n, 12, h, w]; partly covered rows count by their share."""
    ink = cells > 0
    height = cells.shape[2]
    first = ink.argmax(axis=2)
    last = height - 1 - ink[:, :, ::-1].argmax(axis=2)
    share = cells.astype(np.float32) / LEVELS
    upper = first + 1 - np.take_along_axis(share, first[:, :, None], axis=2)[:, :, 0]
    lower = last + np.take_along_axis(share, last[:, :, None], axis=2)[:, :, 0]
    both = np.stack([upper, lower], axis=2)
    empty = np.logical_not(np.any(ink, axis=2, keepdims=True))
    both[np.broadcast_to(empty, both.shape)] = np.nan
    return both


def draw(edges: np.ndarray, height: int) -> np.ndarray:
    """Draw extents again; the inverse of `extents`.

    Parameters
    ----------
    edges
        float32 [n, 12, 2, w].
    height
        Rows of a cell.

    Returns
    -------
    ndarray
        float32 [n, 3 * height, 4 * w, 1] in 0..1.
    """
    n, _, _, width = edges.shape
    filled = np.nan_to_num(edges, nan=-1.0e6)
    rows = np.arange(height, dtype=np.float32)[:, None]
    cover = np.minimum(rows + 1, filled[:, :, 1:2]) - np.maximum(rows, filled[:, :, 0:1])
    np.clip(cover, 0.0, 1.0, out=cover)
    page = cover.reshape(n, ROWS, COLUMNS, height, width).transpose(0, 1, 3, 2, 4)
    return np.ascontiguousarray(page).reshape(n, ROWS * height, COLUMNS * width, 1)


def vary(
    edges: np.ndarray, height: int, options: TensorAugmentation, rng: np.random.Generator
) -> np.ndarray:
    """Return a changed copy of extents [n, 12, 2, w]; every page is changed differently."""
    n, leads, _, width = edges.shape
    middle = height / 2
    moved = _in_time(edges, options, rng)
    gain = 1 + options.gain * rng.uniform(-1, 1, (n, 1, 1, 1))
    gain = gain * (1 + options.lead_gain * rng.uniform(-1, 1, (n, leads, 1, 1)))
    offset = options.vertical_shift * rng.uniform(-1, 1, (n, leads, 1, 1))
    offset = offset + _wander(n, leads, width, options.wander, rng)[:, :, None]
    offset = offset + options.tremor * rng.standard_normal((n, leads, 1, width))
    centre = moved.mean(axis=2, keepdims=True)
    half = (moved[:, :, 1:2] - moved[:, :, 0:1]) / 2
    # The drawn line keeps its width; only what exceeds it grows with the gain.
    line = np.nanmin(half) if np.isfinite(half).any() else 0.0
    half = line + (half - line) * gain
    centre = middle + (centre - middle) * gain + offset
    polarity = rng.random((n, 1, 1, 1)) < options.flip_polarity
    centre = np.where(polarity, 2 * middle - centre, centre)
    out = np.concatenate([centre - half, centre + half], axis=2)
    out[_emptied(n, leads, width, options, rng)[:, :, None].repeat(2, axis=2)] = np.nan
    return np.clip(out, 0.0, height).astype(np.float32)


def _in_time(
    edges: np.ndarray, options: TensorAugmentation, rng: np.random.Generator
) -> np.ndarray:
    """Shift, stretch and perhaps mirror in time; what comes from outside the cell is empty."""
    n, leads, _, width = edges.shape
    columns = np.arange(width)[None, :]
    middle = (width - 1) / 2
    scale = 1 + options.stretch * rng.uniform(-1, 1, (n, 1))
    shift = options.time_shift * rng.uniform(-1, 1, (n, 1))
    place = middle + (columns - middle) * scale + shift
    mirrored = rng.random((n, 1)) < options.flip_time
    place = np.where(mirrored, width - 1 - place, place)
    left = np.clip(np.floor(place).astype(int), 0, width - 2)
    weight = np.clip(place - left, 0, 1).astype(np.float32)[:, None, None, :]
    pages = np.arange(n)[:, None, None, None]
    rows = np.arange(leads)[None, :, None, None]
    edge = np.arange(2)[None, None, :, None]
    a = edges[pages, rows, edge, left[:, None, None, :]]
    b = edges[pages, rows, edge, left[:, None, None, :] + 1]
    out = a * (1 - weight) + b * weight
    outside = (place < -0.5) | (place > width - 0.5)
    out[np.broadcast_to(outside[:, None, None, :], out.shape)] = np.nan
    return out


def _wander(
    n: int, leads: int, width: int, amplitude: float, rng: np.random.Generator
) -> np.ndarray:
    """Return a slow wave a lead, [n, leads, width] rows: at most one period a cell."""
    phase = rng.uniform(0, 2 * np.pi, (n, leads, 1))
    periods = rng.uniform(0.2, 1.0, (n, leads, 1))
    height = amplitude * rng.uniform(0, 1, (n, leads, 1))
    return height * np.sin(2 * np.pi * periods * np.arange(width) / width + phase)


def _emptied(
    n: int, leads: int, width: int, options: TensorAugmentation, rng: np.random.Generator
) -> np.ndarray:
    """Return which columns of which cells are emptied, bool [n, leads, width]."""
    whole = rng.random((n, leads, 1)) < options.lead_dropout
    start = rng.integers(0, width, (n, leads, 1))
    length = rng.integers(1, options.erase_columns + 1, (n, leads, 1))
    partly = rng.random((n, leads, 1)) < options.erase
    columns = np.arange(width)
    return whole | (partly & (columns >= start) & (columns < start + length))


@dataclass(frozen=True)
class PictureAugmentation:
    """How far a whole-page picture may be changed; every figure is a largest value.

    Attributes
    ----------
    rotation_deg
        Turn of the page.
    shift
        Share of the side by which it moves.
    scale
        Relative change of size.
    contrast, brightness
        Gain and offset of the grey values.
    paper
        How much darker (share of full scale) the paper may be, with a gradient across the page.
    noise
        Standard deviation of the grey values.
    erase
        Probability that a rectangle is covered by paper.
    flip_horizontal, flip_vertical
        Probability of mirroring; 0 unless asked for, see `TensorAugmentation`.
    """

    rotation_deg: float = 2.0
    shift: float = 0.03
    scale: float = 0.05
    contrast: float = 0.15
    brightness: float = 0.05
    paper: float = 0.15
    noise: float = 0.02
    erase: float = 0.2
    flip_horizontal: float = 0.0
    flip_vertical: float = 0.0


def vary_picture(
    picture: np.ndarray, options: PictureAugmentation, rng: np.random.Generator
) -> np.ndarray:
    """Return a changed copy of a page picture, float32 [h, w], 0 = black, 1 = white paper."""
    from scipy import ndimage

    height, width = picture.shape
    angle = np.deg2rad(options.rotation_deg * rng.uniform(-1, 1))
    scale = 1 + options.scale * rng.uniform(-1, 1)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) / scale
    middle = np.array([(height - 1) / 2, (width - 1) / 2])
    shift = options.shift * rng.uniform(-1, 1, 2) * (height, width)
    out = ndimage.affine_transform(
        picture, turn, middle - turn @ middle + shift, order=1, mode="nearest"
    )
    out = _on_other_paper(out, options, rng)
    if rng.random() < options.erase:
        _erase(out, rng)
    if rng.random() < options.flip_horizontal:
        out = out[:, ::-1]
    if rng.random() < options.flip_vertical:
        out = out[::-1]
    return np.clip(out, 0.0, 1.0).astype(np.float32)


def _on_other_paper(
    picture: np.ndarray, options: PictureAugmentation, rng: np.random.Generator
) -> np.ndarray:
    """Change contrast, brightness, paper tone and grain."""
    height, width = picture.shape
    out = (picture - 0.5) * (1 + options.contrast * rng.uniform(-1, 1)) + 0.5
    out = out + options.brightness * rng.uniform(-1, 1)
    across = np.linspace(rng.random(), rng.random(), width)[None, :]
    down = np.linspace(rng.random(), rng.random(), height)[:, None]
    out = out * (1 - options.paper * (across + down) / 2)
    return out + options.noise * rng.random() * rng.standard_normal(picture.shape)


def _erase(picture: np.ndarray, rng: np.random.Generator) -> None:
    """Cover a rectangle of up to a quarter of each side with paper, in place."""
    height, width = picture.shape
    h, w = rng.integers(2, max(3, height // 4)), rng.integers(2, max(3, width // 4))
    y, x = rng.integers(0, height - h), rng.integers(0, width - w)
    picture[y : y + h, x : x + w] = np.median(picture)
