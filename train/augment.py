"""Varies training examples: signals before they are drawn, page pictures as a camera would.

A canonical tensor is nearly all zeros, so noise added to its values shifts the statistics of
every activation and ruined evaluation in a probe (design/evidence.md). Therefore the twelve signals
that runtime.preprocess draws are kept, changed there and drawn with the very same pen.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from runtime.preprocess import CANONICAL, Preprocess

LEADS = len(CANONICAL) * len(CANONICAL[0])


@dataclass(frozen=True)
class SignalAugmentation:
    """How far the signals of a page may be changed; every figure is a largest value.

    Attributes
    ----------
    time_shift_s
        By which all leads move together, s.
    stretch
        Relative change of the time scale: heart rate and paper speed vary.
    gain
        Relative change of the voltage scale of all leads.
    lead_gain
        Further relative change of each lead alone: electrodes sit differently.
    offset_mv
        By which each lead moves: its baseline is an estimate, mV.
    wander_mv
        Amplitude of a slow wave added to each lead, mV.
    lead_dropout
        Probability that a lead is missing.
    erase
        Probability that a stretch of a lead is missing.
    erase_s
        Its longest length, s.
    flip_time, flip_polarity
        Probability of mirroring. 0 unless asked for: a mirror image of an ECG runs backwards in
        time (P after QRS) or has its polarity turned (ST elevation becomes depression), so it is
        another diagnosis with the old label.
    """

    time_shift_s: float = 0.2
    stretch: float = 0.10
    gain: float = 0.20
    lead_gain: float = 0.05
    offset_mv: float = 0.05
    wander_mv: float = 0.05
    lead_dropout: float = 0.05
    erase: float = 0.10
    erase_s: float = 0.4
    flip_time: float = 0.0
    flip_polarity: float = 0.0


NO_AUGMENTATION = SignalAugmentation(
    time_shift_s=0.0,
    stretch=0.0,
    gain=0.0,
    lead_gain=0.0,
    offset_mv=0.0,
    wander_mv=0.0,
    lead_dropout=0.0,
    erase=0.0,
)


def draw(signals: np.ndarray, preprocess: Preprocess) -> np.ndarray:
    """Draw the signals of many pages as runtime.preprocess draws those of one.

    Parameters
    ----------
    signals
        float32 [n, 12, cell_width * SUBSAMPLES + 1], mV; NaN = nothing.
    preprocess
        Sizes and pen.

    Returns
    -------
    ndarray
        float32 [n, H, W, 1], 0 = paper, 1 = trace.
    """
    n, _, samples = signals.shape
    cells = preprocess.draw(signals.reshape(-1, samples))
    shape = (n, len(CANONICAL), len(CANONICAL[0]), preprocess.cell_height, preprocess.cell_width)
    pages = cells.reshape(shape).transpose(0, 1, 3, 2, 4)
    return np.ascontiguousarray(pages).reshape(n, *preprocess.shape)


def vary(
    signals: np.ndarray,
    preprocess: Preprocess,
    options: SignalAugmentation,
    rng: np.random.Generator,
) -> np.ndarray:
    """Return a changed copy of signals [n, 12, m]; every page is changed differently."""
    n, leads, samples = signals.shape
    step = preprocess.cell_seconds / (samples - 1)
    out = _in_time(signals, step, options, rng)
    gain = 1 + options.gain * rng.uniform(-1, 1, (n, 1, 1))
    gain = gain * (1 + options.lead_gain * rng.uniform(-1, 1, (n, leads, 1)))
    sign = np.where(rng.random((n, 1, 1)) < options.flip_polarity, -1.0, 1.0)
    out = out * (gain * sign)
    out = out + options.offset_mv * rng.uniform(-1, 1, (n, leads, 1))
    out = out + _wander(n, leads, samples, options.wander_mv, rng)
    out[_emptied(n, leads, samples, step, options, rng)] = np.nan
    return out.astype(np.float32)


def _in_time(
    signals: np.ndarray, step: float, options: SignalAugmentation, rng: np.random.Generator
) -> np.ndarray:
    """Shift, stretch and perhaps mirror in time; what comes from outside the cell is empty."""
    n, _, samples = signals.shape
    middle = (samples - 1) / 2
    scale = 1 + options.stretch * rng.uniform(-1, 1, (n, 1))
    shift = options.time_shift_s / step * rng.uniform(-1, 1, (n, 1))
    place = middle + (np.arange(samples)[None, :] - middle) * scale + shift
    mirrored = rng.random((n, 1)) < options.flip_time
    place = np.where(mirrored, samples - 1 - place, place)
    left = np.clip(np.floor(place).astype(int), 0, samples - 2)
    weight = np.clip(place - left, 0, 1).astype(np.float32)[:, None, :]
    a = np.take_along_axis(signals, left[:, None, :], axis=2)
    b = np.take_along_axis(signals, left[:, None, :] + 1, axis=2)
    out = np.where(weight == 0, a, a * (1 - weight) + b * weight)
    outside = (place < -0.5) | (place > samples - 0.5)
    out[np.broadcast_to(outside[:, None, :], out.shape)] = np.nan
    return out


def _wander(
    n: int, leads: int, samples: int, amplitude: float, rng: np.random.Generator
) -> np.ndarray:
    """Return a slow wave a lead, [n, leads, samples] mV: at most one period a cell."""
    phase = rng.uniform(0, 2 * np.pi, (n, leads, 1))
    periods = rng.uniform(0.2, 1.0, (n, leads, 1))
    height = amplitude * rng.uniform(0, 1, (n, leads, 1))
    wave: np.ndarray = height * np.sin(2 * np.pi * periods * np.arange(samples) / samples + phase)
    return wave


def _emptied(
    n: int,
    leads: int,
    samples: int,
    step: float,
    options: SignalAugmentation,
    rng: np.random.Generator,
) -> np.ndarray:
    """Return which samples of which leads are emptied, bool [n, leads, samples]."""
    whole = rng.random((n, leads, 1)) < options.lead_dropout
    start = rng.integers(0, samples, (n, leads, 1))
    length = options.erase_s / step * rng.random((n, leads, 1))
    partly = rng.random((n, leads, 1)) < options.erase
    place = np.arange(samples)
    emptied: np.ndarray = whole | (partly & (place >= start) & (place < start + length))
    return emptied


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
        Probability of mirroring; 0 unless asked for, see `SignalAugmentation`.
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
