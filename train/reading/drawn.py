"""Panel, layout, orientation, scale and traces on drawn pages, against their truth."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import maximum_filter1d, minimum_filter1d

from runtime.panel import Panel
from runtime.preprocess import Preprocess
from runtime.trace import LeadTrace
from train.draw import RATE_HZ, LeadBox, Recording, Truth, draw_page, encode_page
from train.reading.fidelity import Fidelity, fidelity
from train.reading.geometry import overlap
from train.reading.rates import Rate, rate_of
from train.reading.reader import Reader, Reading

__all__ = ["MIN_IOU", "SCALE_TOLERANCE", "Outcome", "measure_drawn", "rates_of_drawn"]

MIN_IOU: Final = 0.9
"""Least overlap with the drawn truth at which a panel counts as found (issue 3)."""

SCALE_TOLERANCE: Final = 0.03
"""Most relative error of the scale, where a grid or pulse exists (issue 3)."""

_TARGETS: Final[dict[str, tuple[float, float]]] = {
    "clean": (0.99, 0.99),
    "scan": (0.99, 0.99),
    "photo": (0.95, 0.95),
}
"""Least shares of panel found and layout right, by way in (issue 3); the fax has none."""

_SAME_TRACE: Final = 0.9
"""Correlation with the drawn signal from which a lead counts as read."""

_MAX_SHIFT_S: Final = 0.06
"""Most shift in time at which a trace still counts, s: 1.5 mm of paper."""

_FINE: Final = 4
"""Samples of the signal in a column of the trace."""


@dataclass(frozen=True)
class Outcome:
    """How one drawn page was read.

    Parameters
    ----------
    capture, style, layout : str
        How it was drawn.
    seed, index : int
        With which it is drawn again.
    iou : float
        Overlap of the panel with the truth.
    traces_iou : float
        Overlap of the panel with the tight band around the traces.
    layout_read : str
        Layout that was told.
    rotation_right : bool
        Whether the turn was told.
    scale_error : float or None
        Relative error of px per mm; None where the page has neither grid nor pulse, or none was
        told.
    scale_source : str
        Where the scale came from.
    scale_known : bool
        Whether the page has a grid or a pulse.
    leads_read : int
        Of the twelve leads, those whose trace follows the drawn signal.
    refused : tuple of str
        Reasons of a refusal.
    fidelity : ndarray
        As from :func:`train.reading.fidelity.fidelity`.
    """

    capture: str
    style: str
    layout: str
    seed: int
    index: int
    iou: float
    traces_iou: float
    layout_read: str
    rotation_right: bool
    scale_error: float | None
    scale_source: str
    scale_known: bool
    leads_read: int
    refused: tuple[str, ...]
    fidelity: Fidelity = field(repr=False, compare=False)

    @property
    def failed(self) -> bool:
        """True where something that issue 3 asks for is wrong."""
        wrong_scale = self.scale_known and (
            self.scale_error is None or abs(self.scale_error) > SCALE_TOLERANCE
        )
        right = self.iou >= MIN_IOU and self.layout_read == self.layout and self.rotation_right
        return not right or wrong_scale or bool(self.refused)


def measure_drawn(
    reader: Reader,
    recording_of: Callable[[int], Recording],
    capture: str,
    indices: Iterable[int],
    seed: int,
    failures: Path | None,
) -> list[Outcome]:
    """Draw pages, read them and compare.

    Parameters
    ----------
    reader : Reader
        The device's reading.
    recording_of : callable
        Gives the recording of an index.
    capture : str
        Way in: ``clean``, ``scan``, ``fax`` or ``photo``.
    indices : iterable of int
        Pages to draw.
    seed : int
        Seed of the drawing.
    failures : Path or None
        Folder in which pages that failed are kept, with truth and outcome.

    Returns
    -------
    list of Outcome
    """
    outcomes = []
    for index in indices:
        recording = recording_of(index)
        page, truth = draw_page(recording, None, seed * 100_000 + index, capture=capture)
        data, suffix = encode_page(page, truth)
        reading = reader.read(data)
        outcome = _compared(reading, truth, recording, (seed, index), reader.preprocess)
        outcomes.append(outcome)
        if outcome.failed and failures is not None:
            _keep(failures, f"{capture}-{index:05d}", data, suffix, truth, outcome, reading.panel)
    return outcomes


def _compared(
    reading: Reading,
    truth: Truth,
    recording: Recording,
    drawn_with: tuple[int, int],
    preprocess: Preprocess,
) -> Outcome:
    panel, scale = reading.panel, None
    if panel is not None and panel.px_per_mm is not None:
        scale = panel.px_per_mm / truth.px_per_mm - 1.0
    return Outcome(
        capture=truth.capture["kind"],
        style=truth.style,
        layout=truth.layout,
        seed=drawn_with[0],
        index=drawn_with[1],
        iou=overlap(panel.quad, truth.panel) if panel is not None else 0.0,
        traces_iou=overlap(panel.quad, truth.traces) if panel is not None else 0.0,
        layout_read=panel.layout if panel is not None else "unknown",
        rotation_right=panel is not None and panel.rotation == truth.orientation,
        scale_error=scale,
        scale_source=panel.scale_source if panel is not None else "none",
        scale_known=truth.grid != "none" or truth.pulse,
        leads_read=_leads_read(panel, truth, recording) if panel is not None else 0,
        refused=reading.reasons,
        fidelity=np.empty((0, 2))
        if panel is None
        else fidelity(panel, truth, recording, preprocess),
    )


def _leads_read(panel: Panel, truth: Truth, recording: Recording) -> int:
    """Count the leads whose trace follows the signal in the part that the page shows."""
    boxes = {box.name: box for box in truth.leads if not box.rhythm}
    return sum(
        lead.name in boxes and _follows(lead, boxes[lead.name], recording.lead(lead.name))
        for lead in panel.leads
    )


def _follows(lead: LeadTrace, box: LeadBox, signal: NDArray[np.float32]) -> bool:
    """Whether upper and lower edge of a trace follow the signal, at some small shift in time.

    Columns are laid over the shown stretch by place, not by the time that was told: the scale is
    measured by itself. In each column the trace spans what the signal spans under the pen.
    """
    count = len(lead.centre)
    shown = signal[round(box.start_s * RATE_HZ) : round((box.start_s + box.seconds) * RATE_HZ)]
    known = np.isfinite(lead.top)  # the centre of a limb lead may be told by the others
    if count < 2 or shown.size < box.seconds * RATE_HZ / 2 or known.sum() < count / 2:
        return False
    fine = np.interp(np.linspace(0, shown.size - 1, count * _FINE), np.arange(shown.size), shown)
    read = np.concatenate([lead.top[known], lead.bottom[known]])
    best = 0.0
    reach = round(_MAX_SHIFT_S / box.seconds * count) * _FINE
    for pen in range(1, 2 * _FINE, 2):  # the pen's width smears a steep wave over its columns
        high, low = maximum_filter1d(fine, pen * 2 + 1), minimum_filter1d(fine, pen * 2 + 1)
        for shift in range(-reach, reach + 1, 2):
            upper = np.roll(high, shift).reshape(count, _FINE).max(axis=1)
            lower = np.roll(low, shift).reshape(count, _FINE).min(axis=1)
            drawn = np.concatenate([upper[known], lower[known]])
            if drawn.std() > 1e-6 and read.std() > 1e-6:
                best = max(best, float(np.corrcoef(read, drawn)[0, 1]))
    return best >= _SAME_TRACE


def _keep(
    folder: Path,
    name: str,
    data: bytes,
    suffix: str,
    truth: Truth,
    outcome: Outcome,
    panel: Panel | None,
) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}{suffix}").write_bytes(data)
    record: dict[str, Any] = {
        "outcome": {**asdict(outcome), "fidelity": np.round(outcome.fidelity, 3).tolist()},
        "found": None if panel is None else np.round(panel.quad, 1).tolist(),
        "reasons": [] if panel is None else list(panel.reasons),
        "truth": truth.to_record(),
    }
    (folder / f"{name}.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def rates_of_drawn(capture: str, outcomes: list[Outcome]) -> list[Rate]:
    """Count what issue 3 asks for, of the pages of one way in."""
    found, layout = _TARGETS.get(capture, (None, None))
    with_scale = [o for o in outcomes if o.scale_known]
    return [
        rate_of("panel found (IoU >= 0.9)", (o.iou >= MIN_IOU for o in outcomes), found),
        rate_of(
            "panel found, its grid or the band of its traces",
            (max(o.iou, o.traces_iou) >= MIN_IOU for o in outcomes),
        ),
        rate_of("layout right", (o.layout_read == o.layout for o in outcomes), layout),
        rate_of("orientation right", (o.rotation_right for o in outcomes), 0.995),
        rate_of(
            "scale within 3 %, grid or pulse there",
            (o.scale_error is not None and abs(o.scale_error) <= 0.03 for o in with_scale),
        ),
        Rate("leads read (r >= 0.9)", sum(o.leads_read for o in outcomes), 12 * len(outcomes)),
        rate_of("refused", (bool(o.refused) for o in outcomes), 0.01, at_most=True),
    ]
