"""Redraws the leads of a panel in one canonical arrangement: the model's input tensor."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np

from runtime.errors import BundleError
from runtime.trace import BOX_MV

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from runtime.panel import Panel
    from runtime.trace import LeadTrace

__all__ = ["CANONICAL", "Preprocess", "cells_to_page"]

CANONICAL = (("I", "aVR", "V1", "V4"), ("II", "aVL", "V2", "V5"), ("III", "aVF", "V3", "V6"))
"""Where each lead stands in the tensor."""

KIND = "lead-cells"
VERSION = 1
#: Samples of the trace taken across one column of the tensor.
SUBSAMPLES = 4
#: Longest gap in a trace that is drawn across, s; longer ones stay empty.
MAX_GAP_S = 0.3


@dataclass(frozen=True)
class Preprocess:
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
    """

    version: int = VERSION
    kind: str = KIND
    cell_height: int = 64
    cell_width: int = 128
    span_mv: float = 3.2
    cell_seconds: float = 2.4
    column_seconds: float = 2.5
    line_mv: float = 0.06

    @property
    def shape(self) -> tuple[int, int, int]:
        """Height, width and channels of the tensor."""
        return (len(CANONICAL) * self.cell_height, len(CANONICAL[0]) * self.cell_width, 1)

    def to_manifest(self) -> dict[str, Any]:
        """Return the parameters as JSON values."""
        return asdict(self)

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
        known = {field.name: field for field in fields(cls)}
        if not hasattr(manifest, "keys") or set(manifest.keys()) != set(known):
            raise BundleError(
                "the bundle's preprocessing is not one this release knows",
                "use the bundle's own release, or export it again",
            )
        values: dict[str, Any] = {}
        for name, field in known.items():
            value = manifest[name]
            wanted = {"int": int, "float": (int, float), "str": str}[str(field.type)]
            if isinstance(value, bool) or not isinstance(value, wanted):  # type: ignore[arg-type]
                raise BundleError(f"preprocess.{name} in the manifest is not a {field.type}")
            values[name] = float(value) if field.type == "float" else value
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
        by_name = {lead.name: lead for lead in panel.leads}
        out = np.zeros(self.shape, dtype=np.float32)
        for row, names in enumerate(CANONICAL):
            for column, name in enumerate(names):
                lead = by_name.get(name)
                if lead is not None:
                    y, x = row * self.cell_height, column * self.cell_width
                    out[y : y + self.cell_height, x : x + self.cell_width, 0] = self._cell(
                        lead, column * self.column_seconds
                    )
        return out

    def _cell(self, lead: LeadTrace, begin_s: float) -> NDArray[np.float32]:
        """Draw one lead from `begin_s` seconds on, shape (cell_height, cell_width)."""
        low, high = self._extents(lead, begin_s)
        scale = self.cell_height / self.span_mv
        half = self.line_mv / 2
        middle = self.cell_height / 2
        limit = self.span_mv / 2 - half
        upper = middle - (np.clip(high, -limit, limit) + half) * scale
        lower = middle - (np.clip(low, -limit, limit) - half) * scale
        rows = np.arange(self.cell_height, dtype=np.float32)[:, None]
        cover = np.minimum(rows + 1, lower) - np.maximum(rows, upper)
        return np.clip(np.nan_to_num(cover, nan=0.0), 0.0, 1.0).astype(np.float32)

    def _extents(
        self, lead: LeadTrace, begin_s: float
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the lowest and highest value in each column of the cell, mV; NaN without trace."""
        count = len(lead.centre)
        width = self.cell_width
        if count < 2:
            return np.full(width, np.nan), np.full(width, np.nan)
        latest = lead.start_s + lead.seconds - self.cell_seconds
        begin_s = max(lead.start_s, min(begin_s, latest))
        fine = np.arange(width * SUBSAMPLES + 1) / SUBSAMPLES * (self.cell_seconds / width)
        place = (begin_s - lead.start_s + fine) / lead.seconds * count - 0.5
        known = np.isfinite(lead.centre)
        columns = np.flatnonzero(known)
        if columns.size < 2:
            return np.full(width, np.nan), np.full(width, np.nan)
        top, bottom = _bridged(lead, columns)
        top = np.interp(place, np.arange(count), top)
        bottom = np.interp(place, np.arange(count), bottom)
        after = np.clip(np.searchsorted(columns, place), 1, columns.size - 1)
        gap = (columns[after] - columns[after - 1]) * (lead.seconds / count)
        outside = (place < columns[0] - 1.5) | (place > columns[-1] + 1.5) | (gap > MAX_GAP_S)
        top[outside] = np.nan
        bottom[outside] = np.nan
        first = np.arange(width) * SUBSAMPLES
        index = first[:, None] + np.arange(SUBSAMPLES + 1)
        with np.errstate(invalid="ignore"):
            return np.fmin.reduce(bottom[index], axis=1), np.fmax.reduce(top[index], axis=1)


def _bridged(
    lead: LeadTrace, known: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return top and bottom with the middle of the line drawn straight across gaps, mV."""
    columns = np.arange(len(lead.centre))
    middle = np.interp(columns, known, lead.centre[known])
    top, bottom = middle.copy(), middle.copy()
    top[known], bottom[known] = lead.top[known], lead.bottom[known]
    return top, bottom


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
