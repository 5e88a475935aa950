"""Measures how far twelve traces look like the leads of one heart, from what every ECG obeys.

Limb leads that were recorded together fulfil II = I + III (Einthoven) and aVR + aVL + aVF = 0
(Goldberger); all leads of a column show the same beats at the same time; and a trace is a thin line
that is steep for a small part of the time only. Text, charts and photographs do none of this.
"""

from __future__ import annotations

import math
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from runtime.arrays import indices
from runtime.layout import ARRANGEMENTS
from runtime.lines import Lines
from runtime.quantile import grey_ceiling, grey_quantile, median, medians, row_quantiles
from runtime.record import Record
from runtime.trace import coverages

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from runtime.page import Page
    from runtime.panel import LeadTrace, Panel

__all__ = [
    "Plausibility",
    "margin_mm",
    "measure_leads",
    "row_seconds",
    "sharpness",
    "sides_mm",
]

#: Columns that each lead is brought to before leads are compared.
COLUMNS = 128
#: Columns left out at either end of a lead, where the next lead or a printed border may reach in.
BORDER = 5
#: Height (mV) from which a column counts as steep: no P or T wave rises so much within 20 ms.
STEEP_MV = 0.25
_Laws = tuple[tuple[tuple[str, int], ...], ...]
#: Leads that sum to zero, with the sign of each.
_LIMB_LAWS = ((("I", 1), ("III", 1), ("II", -1)), (("aVR", 1), ("aVL", 1), ("aVF", 1)))
#: The same sums over the chest leads in the places of those: V4 + V5 + V6 hardly cancel, so limb
#: leads that were taken for chest leads stand out by coming near zero.
_CHEST_LAWS = ((("V1", 1), ("V3", 1), ("V2", -1)), (("V4", 1), ("V5", 1), ("V6", 1)))


class Plausibility(Record):
    """What was measured on the leads of a page.

    Attributes
    ----------
    coverage : float
        Share of the columns of all twelve leads in which there is a trace, 0 to 1.
    weakest_coverage : float
        The same of the third-worst lead.
    amplitude_mv : float
        Median over the leads of the height from the 1st to the 99th percentile.
    steep : float
        Share of columns in which the line is steeper than `STEEP_MV` a column.
    roughness : float
        Median change from column to column over the amplitude; 0 for a smooth line.
    limb_residual : float
        Root mean square of what Einthoven's and Goldberger's sums leave over, divided by that of
        the leads in them; 0 for a perfect reading, about 1 for unrelated curves.
    chest_residual : float
        The same sums over the chest leads; near 0 where limb leads were taken for chest leads.
    synchrony : float
        Mean correlation of the steepness of leads that stand in one column, -1 to 1.
    """

    coverage: float
    weakest_coverage: float
    amplitude_mv: float
    steep: float
    roughness: float
    limb_residual: float
    chest_residual: float
    synchrony: float


def measure_leads(leads: Sequence[LeadTrace]) -> Plausibility:
    """Measure the leads of a panel.

    Parameters
    ----------
    leads : sequence of LeadTrace
        All twelve.

    Returns
    -------
    Plausibility
    """
    centre, height, seen = _resampled(leads)
    change = np.zeros_like(centre)
    np.abs(centre[:, 1:] - centre[:, :-1], out=change[:, 1:])
    activity = np.maximum(height, change)
    low, high = row_quantiles(centre, 0.01, 0.99)
    amplitude = np.maximum(high - low, 0.02)
    curves = {lead.name: curve for lead, curve in zip(leads, centre, strict=True)}
    limb_residual, chest_residual = _residuals(curves, _LIMB_LAWS, _CHEST_LAWS)
    return Plausibility(
        coverage=float(seen.mean()),
        weakest_coverage=float(np.sort(seen)[2]) if len(seen) > 2 else 0.0,
        amplitude_mv=median(amplitude),
        steep=float((activity > STEEP_MV).mean()),
        roughness=median(medians(change)[:, 0] / amplitude),
        limb_residual=limb_residual,
        chest_residual=chest_residual,
        synchrony=_synchrony(leads, activity),
    )


def _resampled(
    leads: Sequence[LeadTrace],
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float64]]:
    """Bring all leads to `COLUMNS` columns, gaps bridged, and leave out `BORDER` at either end.

    Returns
    -------
    centre, height : ndarray of float32, shape (leads, COLUMNS - 2 * BORDER)
        mV; the median of a lead's centre is zero. Zero where a lead has no trace.
    seen : ndarray of float64, shape (leads,)
        Share of a lead's columns in which there is a trace.
    """
    empty = np.zeros((len(leads), COLUMNS - 2 * BORDER), dtype=np.float32)
    seen = np.array(coverages(leads))
    lines = Lines([lead.centre for lead in leads])
    if not lines.counts.any():
        return empty, empty, seen
    top = np.concatenate([lead.top for lead in leads])[lines.places]
    bottom = np.concatenate([lead.bottom for lead in leads])[lines.places]
    inked = np.isfinite(top)
    # The middle of top and bottom follows a steep line better than its thinned centre.
    middle = np.where(inked, (top + bottom) / 2, lines.values)
    where = (lines.sizes - 1)[:, None] * _even_places()
    centre = lines.at(where, middle)
    height = lines.at(where, np.where(inked, top - bottom, 0))
    traced = lines.counts[:, None] >= 2
    centre = np.where(traced, centre - medians(centre), 0)
    inner = np.s_[:, BORDER : COLUMNS - BORDER]
    return (
        centre[inner].astype(np.float32),
        np.where(traced, height, 0)[inner].astype(np.float32),
        seen,
    )


@cache
def _even_places() -> NDArray[np.float64]:
    """Return the places of the `COLUMNS` columns, from 0 to 1."""
    return np.linspace(0, 1, COLUMNS)


def _residuals(curves: dict[str, NDArray[np.float32]], *groups: _Laws) -> list[float]:
    """Return what some groups of laws leave over, over what is in them, each 0 to about 1."""
    known = [[law for law in laws if all(name in curves for name, _ in law)] for laws in groups]
    laws = [law for group in known for law in group]
    if not laws:
        return [1.0] * len(groups)
    terms = np.stack([sign * curves[name] for law in laws for name, sign in law])
    terms = terms.reshape(len(laws), 3, -1)
    total = terms.sum(axis=1)
    total -= row_quantiles(total.astype(np.float64), 0.5)[0][:, None].astype(np.float32)
    left_over = np.square(total).mean(axis=1).tolist()
    within = (3 * np.square(terms).reshape(len(laws), -1).mean(axis=1).astype(np.float64)).tolist()
    found, first = [], 0
    for group in known:
        own = slice(first, first + len(group))
        first = own.stop
        whole = sum(within[own])
        found.append(math.sqrt(sum(left_over[own]) / whole) if whole > 0 else 1.0)
    return found


def _synchrony(leads: Sequence[LeadTrace], activity: NDArray[np.float32]) -> float:
    """Return the mean correlation of the rows of leads that begin at the same time."""
    change = activity - activity.mean(axis=1, keepdims=True)
    size = np.sqrt(np.square(change).sum(axis=1))
    moving = indices(size > 1e-6 * np.sqrt(activity.shape[1]))
    unit = change[moving] / size[moving, None]
    starts = np.array([leads[row].start_s for row in moving.tolist()])
    values = []
    for start in sorted(set(starts.tolist())):  # np.unique would load numpy.ma, 6 ms at first
        rows = unit[starts == start]
        if len(rows) > 1:
            total = rows.sum(axis=0)  # its square is the sum of all correlations, own ones too
            values.append((float(total @ total) - len(rows)) / (len(rows) * (len(rows) - 1)))
    return float(np.add.reduce(values)) / len(values) if values else 0.0


def margin_mm(page: Page, panel: Panel) -> float:
    """Return how far the leads end from the left and right edge of the picture, mm; the smaller.

    Parameters
    ----------
    page : Page
    panel : Panel
        With leads and a scale.
    """
    corners = np.concatenate([lead.box for lead in panel.leads])
    along = 0 if panel.rotation in (0, 180) else 1
    end = page.original_size[along]
    gap = min(float(corners[:, along].min()), end - float(corners[:, along].max()))
    return gap / (panel.px_per_mm or 1.0)


def sides_mm(page: Page, panel: Panel) -> tuple[float, float, float, float]:
    """Return how far an upright panel is from the edges of the picture, mm.

    Parameters
    ----------
    page : Page
    panel : Panel
        With a scale.

    Returns
    -------
    left, above, right, below : float
    """
    (left, above), (right, below) = panel.quad.min(axis=0), panel.quad.max(axis=0)
    width, height = page.original_size
    gaps = [float(gap) for gap in (left, above, width - right, height - below)]
    turn = panel.rotation // 90  # clockwise: what was above is at the right
    turned = gaps[turn:] + gaps[:turn]
    scale = panel.px_per_mm or 1.0
    return turned[0] / scale, turned[1] / scale, turned[2] / scale, turned[3] / scale


def row_seconds(panel: Panel) -> float:
    """Return how long the rows of leads last, s; 10 on a whole page."""
    usual = median(np.array([lead.seconds for lead in panel.leads]))
    return ARRANGEMENTS[panel.layout].columns * usual


def sharpness(page: Page, panel: Panel) -> float:
    """Measure the steepest edges inside the panel, as a share of its contrast a millimetre.

    Parameters
    ----------
    page : Page
    panel : Panel
        With a scale.

    Returns
    -------
    float
        A line blurred with a standard deviation of s mm gives at most 0.4 / s.
    """
    height, width = page.grey.shape
    corners = panel.quad * page.scale
    left, top = corners.min(axis=0).tolist()
    left, top = int(min(max(left, 0), width - 1)), int(min(max(top, 0), height - 1))
    right, bottom = corners.max(axis=0).tolist()
    right, bottom = int(min(max(right, left + 1), width)), int(min(max(bottom, top + 1), height))
    grey = page.grey[top:bottom, left:right]
    # Every sixth row and the one below it: rows lie together in memory, and traces cross them all.
    lower = grey[1::6]
    upper = grey[: -1 if len(grey) > 1 else 0 : 6][: len(lower)]
    edges = np.maximum(upper, lower) - np.minimum(upper, lower)
    steepest = float(grey_ceiling(edges, 0.997))
    dark, bright = grey_quantile(grey[::8, ::4], 0.005, 0.9)
    px_per_mm = (panel.px_per_mm or 0.0) * page.scale
    return steepest * px_per_mm / max(float(bright - dark), 1.0)
