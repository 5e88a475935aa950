"""Measures a page's canonical signals as a reader would: rate, rhythm, widths, levels, heights.

For classical models beside the networks; the signals are those that runtime.preprocess draws.
"""

from __future__ import annotations

import warnings

import numpy as np
from scipy import ndimage, signal

from runtime.preprocess import CANONICAL, Preprocess

COLUMNS = len(CANONICAL[0])

BEFORE_S, AFTER_S = 0.30, 0.50
"""What a beat spans around its steepest place, s: P wave to the end of T."""

REFRACTORY_S = 0.25
"""No two beats are closer, s (240 a minute)."""

WINDOWS_S = {
    "baseline": (-0.12, -0.08),
    "p": (-0.25, -0.11),
    "qrs": (-0.09, 0.09),
    "st": (0.09, 0.13),
    "t": (0.14, 0.45),
}
"""From the steepest place of the QRS complex, s."""

BLOCK = 4
"""Samples of the median beat that are averaged to one figure."""


def measurements(signals: np.ndarray, preprocess: Preprocess) -> np.ndarray:
    """Return the figures of many pages; NaN where a lead or a wave is missing.

    Parameters
    ----------
    signals
        float32 [n, 12, m], mV; NaN = nothing.
    preprocess
        Gives the duration of a cell.

    Returns
    -------
    ndarray
        float32 [n, k]: heart rate (1/min), three figures of RR variability, beats, QRS width (s),
        then of each lead R, S, QRS area, ST level, T and P (mV) and its median beat.
    """
    step = preprocess.cell_seconds / (signals.shape[2] - 1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # empty leads: NaN is the answer
        return np.stack([_page(page, step) for page in signals]).astype(np.float32)


def beats(column: np.ndarray, step: float) -> tuple[np.ndarray, np.ndarray]:
    """Find the beats in leads recorded at the same time.

    Parameters
    ----------
    column
        float [leads, m], mV; NaN = nothing.
    step
        Between samples, s.

    Returns
    -------
    tuple
        Indices of the beats, and the squared slope [m], mV²/s², that they are the peaks of.
    """
    slope = np.gradient(column, step, axis=1)
    energy = ndimage.uniform_filter1d(np.nansum(slope**2, axis=0), max(1, round(0.06 / step)))
    height = 0.25 * np.quantile(energy, 0.98)
    places, _ = signal.find_peaks(energy, height=height, distance=round(REFRACTORY_S / step))
    return places, energy


def _page(page: np.ndarray, step: float) -> np.ndarray:
    intervals: list[float] = []
    widths: list[float] = []
    count = 0
    leads: list[np.ndarray] = [np.empty(0)] * len(page)
    for c in range(COLUMNS):
        places, energy = beats(page[c::COLUMNS], step)
        count += len(places)
        intervals.extend(np.diff(places) * step)
        widths.extend(_width(energy, place, step) for place in places)
        for lead in range(c, len(page), COLUMNS):
            leads[lead] = _lead(_median_beat(page[lead], places, step), step)
    return np.concatenate([_rhythm(np.array(intervals)), [count, np.median(widths)], *leads])


def _rhythm(rr: np.ndarray) -> np.ndarray:
    """Return rate, and spread, range and mean step of the RR intervals in units of their median."""
    if len(rr) < 2:
        return np.full(4, np.nan)
    middle = np.median(rr)
    return np.array([60 / middle, rr.std() / middle, np.ptp(rr) / middle,
                     np.abs(np.diff(rr)).mean() / middle])  # fmt: skip


def _width(energy: np.ndarray, place: int, step: float) -> float:
    """Return for how long the squared slope around a beat stays above a tenth of its peak, s."""
    low = np.flatnonzero(energy < 0.1 * energy[place])
    left, right = low[low < place], low[low > place]
    return float(
        step * ((right[0] if len(right) else len(energy)) - (left[-1] if len(left) else 0))
    )


def _median_beat(lead: np.ndarray, places: np.ndarray, step: float) -> np.ndarray:
    """Return a lead's median beat above its baseline, mV; a part that no beat shows is NaN."""
    span = np.arange(-round(BEFORE_S / step), round(AFTER_S / step))
    if not len(places):
        return np.full(len(span), np.nan)
    index = places[:, None] + span
    inside = (index >= 0) & (index < len(lead))
    beat = np.nanmedian(np.where(inside, lead[np.clip(index, 0, len(lead) - 1)], np.nan), axis=0)
    return beat - np.nanmedian(beat[_window("baseline", step)])


def _window(name: str, step: float) -> slice:
    start, stop = WINDOWS_S[name]
    return slice(round((start + BEFORE_S) / step), round((stop + BEFORE_S) / step))


def _lead(beat: np.ndarray, step: float) -> np.ndarray:
    qrs, st = beat[_window("qrs", step)], beat[_window("st", step)]
    waves = [_extreme(beat[_window(name, step)]) for name in ("t", "p")]
    figures = [np.nanmax(qrs), np.nanmin(qrs), np.nanmean(qrs), np.nanmean(st), *waves]
    blocks = beat[: len(beat) // BLOCK * BLOCK].reshape(-1, BLOCK)
    return np.concatenate([figures, np.nanmean(blocks, axis=1)])


def _extreme(wave: np.ndarray) -> float:
    """Return the value farthest from the baseline, with its sign."""
    return float(np.nanmax(wave) if np.nanmax(wave) >= -np.nanmin(wave) else np.nanmin(wave))
