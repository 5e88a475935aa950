"""Redraws the leads of a panel in one canonical arrangement: the model's input tensor."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from runtime.errors import BundleError
from runtime.lines import Lines
from runtime.record import Record
from runtime.trace import BOX_MV

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from numpy.typing import NDArray

    from runtime.panel import Panel
    from runtime.trace import LeadTrace

__all__ = ["CANONICAL", "Preprocess", "cells_to_page"]

CANONICAL = (("I", "aVR", "V1", "V4"), ("II", "aVL", "V2", "V5"), ("III", "aVF", "V3", "V6"))
"""Where each lead stands in the tensor."""

KIND = "lead-cells"
VERSION = 7
#: Samples of the trace taken across one column of the tensor.
SUBSAMPLES = 2
#: Beyond its first and last column a trace is drawn on over this time, s.
EDGE_S = 0.02
_NO_TRACE = np.empty(0, dtype=np.float32)
#: Longest gap in a trace that is drawn across, s; longer ones stay empty.
MAX_GAP_S = 0.3


class Preprocess(Record):
    """How a panel becomes a tensor; belongs to the model and travels in the bundle's manifest.

    Attributes
    ----------
    version : int
        Raised whenever the same page gives another tensor.
    kind : str
        Always ``"lead-cells"``: each lead redrawn in a cell of its own.
    cell_height, cell_width : int
        Size of one lead's cell, px.
    span_mv : float
        Voltage from the bottom to the top of a cell, mV; the baseline is in the middle.
    cell_seconds : float
        Time from the left to the right of a cell, s.
    column_seconds : float
        Column k of the arrangement begins k times this after the start of the recording, s.
    line_mv : float
        Width of the redrawn line, mV.
    bandwidth_hz : float
        The signal is low-passed at this frequency before it is drawn, Hz: carts differ in their own
        filters (25 to 150 Hz on the pages of ecg5), and what they let through names the cart.
    """

    version: int = VERSION
    kind: str = KIND
    cell_height: int = 64
    cell_width: int = 128
    span_mv: float = 3.2
    cell_seconds: float = 2.4
    column_seconds: float = 2.5
    line_mv: float = 0.08
    bandwidth_hz: float = 25.0

    @property
    def shape(self) -> tuple[int, int, int]:
        """Height, width and channels of the tensor."""
        return (len(CANONICAL) * self.cell_height, len(CANONICAL[0]) * self.cell_width, 1)

    @property
    def samples(self) -> int:
        """Samples of one lead's signal."""
        return self.cell_width * SUBSAMPLES + 1

    @property
    def sample_seconds(self) -> float:
        """Time from one sample to the next, s."""
        return self.cell_seconds / (self.cell_width * SUBSAMPLES)

    @property
    def taps(self) -> NDArray[np.float64]:
        """Taps of the low-pass filter, an odd number, sum 1."""
        return _low_pass(self.bandwidth_hz, self.sample_seconds)

    def to_manifest(self) -> dict[str, Any]:
        """Return the parameters as JSON values."""
        return self._asdict()

    @classmethod
    def from_manifest(cls, manifest: Mapping[str, Any]) -> Preprocess:
        """Read the parameters back.

        Parameters
        ----------
        manifest : mapping
            As from :meth:`to_manifest`.

        Raises
        ------
        BundleError
            If a parameter is missing, unknown or of a version that this release does not know.
        """
        if not hasattr(manifest, "keys") or set(manifest.keys()) != set(cls._fields):
            raise BundleError(
                "the bundle's preprocessing is not one this release knows",
                "use the bundle's own release, or export it again",
            )
        values: dict[str, Any] = {}
        for name, usual in cls._field_defaults.items():
            value = manifest[name]
            wanted = (int, float) if isinstance(usual, float) else type(usual)
            if isinstance(value, bool) or not isinstance(value, wanted):
                kind = type(usual).__name__
                raise BundleError(f"preprocess.{name} in the manifest is not a {kind}")
            values[name] = type(usual)(value)
        made = cls(**values)
        if made.version != VERSION or made.kind != KIND:
            raise BundleError(
                f"the bundle was made with preprocessing {made.kind} version {made.version}, "
                f"this release has {KIND} version {VERSION}",
                "export the model again with this release",
            )
        if not (
            0 < made.cell_height <= 512
            and 0 < made.cell_width <= 1024
            and 0 < made.span_mv <= 100
            and 0 < made.cell_seconds <= 60
            and 0 < made.column_seconds <= 60
            and 0 < made.line_mv <= 10
            and 1 <= made.bandwidth_hz <= 1000
        ):
            raise BundleError("a preprocessing size in the manifest is out of range")
        return made

    def tensor(self, panel: Panel) -> NDArray[np.float32]:
        """Draw the panel's leads.

        Parameters
        ----------
        panel : Panel

        Returns
        -------
        ndarray of float32, shape (H, W, 1)
            0 = paper, 1 = trace; C-contiguous. A missing lead leaves its cell empty.
        """
        drawn = self.draw(self.signals(panel.leads), len(CANONICAL[0]))
        return drawn.reshape(self.shape)

    def signals(self, leads: Iterable[LeadTrace]) -> NDArray[np.float32]:
        """Resample leads as they are drawn, row by row of `CANONICAL`.

        Returns
        -------
        ndarray of float32, shape (12, samples)
            mV, low-passed; NaN where there is no trace.
        """
        values, missing = self._sampled({lead.name: lead for lead in leads})
        # One lead behind the other, so that a single call filters all of them.
        taps = self.taps
        smooth = np.convolve(values.ravel(), taps)[len(taps) - 1 :].reshape(values.shape)
        return np.where(missing, np.nan, smooth[:, : self.samples]).astype(np.float32)

    def _sampled(
        self, leads: Mapping[str, LeadTrace]
    ) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Sample the leads, each from the time on that its column of `CANONICAL` stands for.

        Returns
        -------
        values : ndarray of float64, shape (12, samples + taps - 1)
            mV, from half the filter's length before to half its length after.
        missing : ndarray of bool, shape (12, samples)
            Where there is no trace.
        """
        margin = len(self.taps) // 2
        order = [leads.get(name) for names in CANONICAL for name in names]
        lines = Lines([_NO_TRACE if lead is None else lead.centre for lead in order])
        spans = [(0.0, 1.0) if lead is None else (lead.start_s, lead.seconds) for lead in order]
        start, seconds = np.array(spans).T[:, :, None]
        begin, offsets = _times(self)
        begin = np.maximum(start, np.minimum(begin, start + seconds - self.cell_seconds))
        times = begin - start + offsets
        per_second = lines.sizes[:, None] / seconds
        places = times * per_second - 0.5
        traced = lines.counts[:, None] >= 2
        values = np.where(traced, lines.at(places), 0.0)
        inner = places[:, margin : margin + self.samples]
        beyond = lines.beyond(inner) > EDGE_S * per_second
        return values, ~traced | beyond | (lines.gaps(inner) > MAX_GAP_S * per_second)

    def draw(self, signals: NDArray[np.float32], beside: int = 1) -> NDArray[np.float32]:
        """Draw signals with one pen, 0 to 1; `beside` of them side by side.

        The pen covers the path between neighbouring samples and half its width around it.

        Returns
        -------
        ndarray of float32, shape (n / beside, cell_height, beside * cell_width)
        """
        scale = self.cell_height / self.span_mv
        half = self.line_mv * scale / 2
        limit = self.cell_height / 2 - half
        y = self.cell_height / 2 - np.maximum(np.minimum(signals * scale, limit), -limit)
        upper = np.fmin(y[:, :-1], y[:, 1:]) - half
        lower = np.fmax(y[:, :-1], y[:, 1:]) + half
        upper[np.isnan(upper)] = lower[np.isnan(lower)] = -1.0
        return self._inked(upper, lower, beside)

    def _inked(
        self, upper: NDArray[np.float32], lower: NDArray[np.float32], beside: int
    ) -> NDArray[np.float32]:
        """Return the share of each pixel between two heights (n, samples - 1), as `draw` does.

        Only the pixels that the pen reaches are looked at: one in twenty.
        """
        n, height, width = len(upper), self.cell_height, self.cell_width
        drawn = np.zeros((n // beside, height, beside * width), dtype=np.float32)
        by_turn = (n, width, SUBSAMPLES)  # a column's samples, each in a turn of its own
        upper, lower = (edge.reshape(by_turn).transpose(2, 0, 1).ravel() for edge in (upper, lower))
        first = np.maximum(upper, 0).astype(np.int64)
        count = np.maximum(np.ceil(np.minimum(lower, height)).astype(np.int64) - first, 0)
        # Where each column of each signal begins, in one array of all pixels.
        column = np.arange(len(drawn))[:, None] * (height * beside * width)
        column = (column + np.arange(beside * width)).ravel()
        column = np.concatenate([column] * SUBSAMPLES)
        sample = np.arange(len(count)).repeat(count)  # that each of the pixels belongs to
        row = np.arange(len(sample)) + (first + count - count.cumsum())[sample]
        place = column[sample] + row * (beside * width)
        edge = row.astype(np.float32)
        inked = np.minimum(edge + 1, lower[sample])
        inked -= np.maximum(edge, upper[sample])
        inked /= SUBSAMPLES
        flat = drawn.reshape(-1)
        pixels = count.reshape(SUBSAMPLES, -1).sum(axis=1)
        for last, many in zip(pixels.cumsum(), pixels, strict=True):
            turn = slice(last - many, last)
            flat[place[turn]] += inked[turn]  # in all at most 1: no more than the pixel is high
        return drawn


@lru_cache(maxsize=8)
def _times(preprocess: Preprocess) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return when the leads' cells begin, shape (12, 1), and their samples within a cell, s."""
    columns = np.arange(len(CANONICAL[0])) * preprocess.column_seconds
    margin = len(preprocess.taps) // 2
    offsets = preprocess.sample_seconds * np.arange(-margin, preprocess.samples + margin)
    return np.tile(columns, len(CANONICAL))[:, None], np.asarray(offsets, dtype=np.float64)


@lru_cache(maxsize=8)
def _low_pass(cutoff_hz: float, step_s: float) -> NDArray[np.float64]:
    """Return the taps of a low-pass filter (windowed sinc, Hamming), sum 1.

    Source: S. W. Smith, The Scientist and Engineer's Guide to DSP, chapter 16.
    """
    reach = max(1, math.ceil(0.8 / (cutoff_hz * step_s)))
    places = np.arange(-reach, reach + 1)
    taps = np.sinc(2 * cutoff_hz * step_s * places) * np.hamming(len(places))
    return np.asarray(taps / taps.sum())


def cells_to_page(
    panel: Panel, preprocess: Preprocess, rows: tuple[float, float], columns: tuple[float, float]
) -> NDArray[np.float32] | None:
    """Map a rectangle of the tensor back to the page.

    Parameters
    ----------
    panel : Panel
    preprocess : Preprocess
        The one that drew the tensor.
    rows, columns : tuple of float
        First and last (exclusive) row and column of the rectangle, tensor px. It is taken to lie
        in the cell that holds its middle.

    Returns
    -------
    ndarray of float32, shape (4, 2), or None
        Corners in ORIGINAL page px; None where the cell shows no lead.
    """
    height, width = preprocess.cell_height, preprocess.cell_width
    row = int(np.clip(sum(rows) / 2 // height, 0, len(CANONICAL) - 1))
    column = int(np.clip(sum(columns) / 2 // width, 0, len(CANONICAL[0]) - 1))
    name = CANONICAL[row][column]
    lead = next((lead for lead in panel.leads if lead.name == name), None)
    if lead is None:
        return None
    latest = lead.seconds - preprocess.cell_seconds
    offset = max(0.0, min(column * preprocess.column_seconds - lead.start_s, latest))
    per_column = preprocess.cell_seconds / width
    u = [
        float(np.clip((offset + (c - column * width) * per_column) / lead.seconds, 0.0, 1.0))
        for c in columns
    ]
    share = preprocess.span_mv / BOX_MV
    v = [0.5 + (np.clip((r - row * height) / height, 0.0, 1.0) - 0.5) * share for r in rows]
    top_left, top_right, bottom_right, bottom_left = lead.box.astype(np.float64)

    def place(s: float, t: float) -> NDArray[np.float64]:
        upper = top_left + s * (top_right - top_left)
        lower = bottom_left + s * (bottom_right - bottom_left)
        return upper + t * (lower - upper)

    corners = [place(u[0], v[0]), place(u[1], v[0]), place(u[1], v[1]), place(u[0], v[1])]
    return np.array(corners, dtype=np.float32)
