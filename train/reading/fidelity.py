"""How closely the signals that the model sees follow the drawn ones."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from runtime.panel import Panel
from runtime.preprocess import CANONICAL, Preprocess
from train.draw import RATE_HZ, Recording, Truth

__all__ = ["Fidelity", "fidelity", "fidelity_record"]

Fidelity = NDArray[np.float64]
"""Shape (leads, 2): relative error and gain of each lead."""

_FINE: Final = 5
"""Points of the drawn signal in a sample."""

_REACH: Final = 12
"""Most samples of shift in time at which the two are compared, 9.4 ms each."""

_LEAST_SD_MV: Final = 0.03
"""A lead flatter than this (standard deviation, mV) has its error divided by this."""

_SAME_SPEED: Final = 0.05
"""Leads whose time scale was told wrong by more (share) are left out: paper at 50 mm/s."""


def fidelity(panel: Panel, truth: Truth, recording: Recording, preprocess: Preprocess) -> Fidelity:
    """Compare the leads of a page with the drawn signals, both filtered as the model sees them.

    Parameters
    ----------
    panel : Panel
    truth : Truth
    recording : Recording
    preprocess : Preprocess

    Returns
    -------
    ndarray of float64, shape (leads, 2)
        Root mean square of the difference over the standard deviation of the drawn signal, at the
        best shift in time, offsets taken out; and the slope of what was read on what was drawn.
        Only leads of a rightly told layout and time scale.
    """
    if panel.layout != truth.layout or len(panel.leads) < 12:
        return np.empty((0, 2))
    boxes = {box.name: box for box in truth.leads if not box.rhythm}
    leads = {lead.name: lead for lead in panel.leads}
    read = preprocess.signals(panel.leads)
    names = [(name, column) for names in CANONICAL for column, name in enumerate(names)]
    found = []
    for signal, (name, column) in zip(read, names, strict=True):
        lead, box = leads[name], boxes[name]
        if abs(lead.seconds / box.seconds - 1.0) > _SAME_SPEED:
            continue
        latest = lead.start_s + lead.seconds - preprocess.cell_seconds
        begin = max(lead.start_s, min(column * preprocess.column_seconds, latest)) - lead.start_s
        drawn = _drawn(recording.lead(name), box.start_s, box.seconds, begin, preprocess)
        fit = _compared(np.asarray(signal, dtype=np.float64), drawn)
        if fit is not None:
            found.append(fit)
    return np.array(found).reshape(-1, 2)


def _drawn(
    signal: NDArray[np.float32], start_s: float, seconds: float, begin_s: float, how: Preprocess
) -> NDArray[np.float64]:
    """Return the drawn signal as the tensor's is filtered, `_REACH` samples more a side."""
    count, step = how.samples, how.sample_seconds
    taps = how.taps
    margin = len(taps) // 2 + _REACH
    times = start_s + begin_s + step * np.arange(-margin, count + margin)
    inner = np.linspace(-0.5, 0.5, _FINE) * step
    places = np.clip(times, start_s, start_s + seconds)[:, None] + inner
    fine = np.interp(places * RATE_HZ, np.arange(len(signal)), signal)
    return np.convolve(fine.mean(axis=1), taps, mode="valid")


def _compared(read: NDArray[np.float64], drawn: NDArray[np.float64]) -> tuple[float, float] | None:
    """Return relative error and gain at the best shift; None where half of the lead is missing."""
    known = np.isfinite(read)
    if known.mean() < 0.5:
        return None
    best, fit = np.inf, (np.nan, np.nan)
    a = read[known] - read[known].mean()
    for shift in range(2 * _REACH + 1):
        b = drawn[shift : shift + len(read)][known]
        b = b - b.mean()
        error = float(np.sqrt(np.mean((a - b) ** 2)))
        if error < best:
            power = max(float(b @ b), 1e-9)
            best, fit = error, (error / max(float(b.std()), _LEAST_SD_MV), float(a @ b) / power)
    return fit


def fidelity_record(found: list[Fidelity]) -> dict[str, Any]:
    """Return n and the quartiles of error and gain over all leads, for reading.json."""
    leads = np.concatenate(found) if found else np.empty((0, 2))
    record: dict[str, Any] = {"n": len(leads)}
    for index, name in enumerate(("relative_error", "gain")):
        if len(leads):
            quartiles = np.quantile(leads[:, index], (0.25, 0.5, 0.75))
            record[name] = [round(float(q), 3) for q in quartiles]
    return record
