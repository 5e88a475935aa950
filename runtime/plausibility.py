"""Measures how far twelve traces look like the leads of one heart, from what every ECG obeys.

Limb leads that were recorded together fulfil II = I + III (Einthoven) and aVR + aVL + aVF = 0
(Goldberger); all leads of a column show the same beats at the same time; and a trace is a thin line
that is steep for a small part of the time only. Text, charts and photographs do none of this.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from runtime.quantile import grey_quantile, median, medians, quantile
from runtime.record import Record

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from runtime.page import Page
    from runtime.panel import LeadTrace, Panel

__all__ = ["Plausibility", "margin_mm", "measure_leads", "sharpness"]

#: Columns that each lead is brought to before leads are compared.
COLUMNS = 128
#: Columns left out at either end of a lead, where the next lead or a printed border may reach in.
BORDER = 5
#: Height (mV) from which a column counts as steep: no P or T wave rises so much within 20 ms.
STEEP_MV = 0.25
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
    seen = {lead.name: float(np.isfinite(lead.top).mean()) for lead in leads}
    inner = slice(BORDER, COLUMNS - BORDER)
    curves = {lead.name: tuple(c[inner] for c in _resampled(lead)) for lead in leads}
    centre = np.stack([curve[0] for curve in curves.values()])
    height = np.stack([curve[1] for curve in curves.values()])
    change = np.abs(np.diff(centre, axis=1, prepend=centre[:, :1]))
    activity = np.maximum(height, change)
    amplitude = np.maximum([quantile(row, 0.99) - quantile(row, 0.01) for row in centre], 0.02)
    return Plausibility(
        coverage=float(np.mean(list(seen.values()))),
        weakest_coverage=sorted(seen.values())[2] if len(seen) > 2 else 0.0,
        amplitude_mv=median(amplitude),
        steep=float((activity > STEEP_MV).mean()),
        roughness=median(medians(change)[:, 0] / amplitude),
        limb_residual=_residual({name: curve[0] for name, curve in curves.items()}, _LIMB_LAWS),
        chest_residual=_residual({name: curve[0] for name, curve in curves.items()}, _CHEST_LAWS),
        synchrony=_synchrony(leads, activity),
    )


def _resampled(lead: LeadTrace) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Bring centre and height of a lead to `COLUMNS` columns, gaps bridged, median at zero."""
    good = np.flatnonzero(np.isfinite(lead.centre))
    if good.size < 2:
        return np.zeros(COLUMNS, np.float32), np.zeros(COLUMNS, np.float32)
    at = np.linspace(0, lead.centre.size - 1, COLUMNS)
    # The middle of top and bottom follows a steep line better than its thinned centre.
    inked = np.isfinite(lead.top[good])
    middle = np.where(inked, ((lead.top + lead.bottom) / 2)[good], lead.centre[good])
    centre = np.interp(at, good, middle)
    height = np.interp(at, good, np.where(inked, (lead.top - lead.bottom)[good], 0))
    return (centre - median(centre)).astype(np.float32), height.astype(np.float32)


def _residual(
    curves: dict[str, NDArray[np.float32]], laws: tuple[tuple[tuple[str, int], ...], ...]
) -> float:
    left_over = within = 0.0
    for law in laws:
        if all(name in curves for name, _ in law):
            total = np.sum([sign * curves[name] for name, sign in law], axis=0)
            total -= median(total)
            left_over += float(np.mean(np.square(total)))
            within += sum(float(np.mean(np.square(curves[name]))) for name, _ in law)
    return float(np.sqrt(left_over / within)) if within > 0 else 1.0


def _synchrony(leads: Sequence[LeadTrace], activity: NDArray[np.float32]) -> float:
    starts = np.array([lead.start_s for lead in leads])
    values = []
    for start in sorted(set(starts.tolist())):  # np.unique would load numpy.ma, 6 ms at first
        rows = activity[starts == start]
        rows = rows[rows.std(axis=1) > 1e-6]
        if len(rows) > 1:
            table = np.corrcoef(rows)
            values.append((table.sum() - len(rows)) / (len(rows) * (len(rows) - 1)))
    return float(np.mean(values)) if values else 0.0


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
    left, top = np.clip(corners.min(axis=0), 0, (width - 1, height - 1)).astype(int)
    right, bottom = np.clip(corners.max(axis=0), (left + 1, top + 1), (width, height)).astype(int)
    grey = page.grey[top:bottom, left:right]
    # Every sixth row and the one below it: rows lie together in memory, and traces cross them all.
    lower = grey[1::6]
    upper = grey[: -1 if len(grey) > 1 else 0 : 6][: len(lower)]
    edges = np.maximum(upper, lower) - np.minimum(upper, lower)
    counts = np.bincount(edges.ravel(), minlength=256)
    steepest = float(np.searchsorted(np.cumsum(counts), 0.997 * edges.size))
    dark, bright = grey_quantile(grey[::8, ::4], 0.005, 0.9)
    px_per_mm = (panel.px_per_mm or 0.0) * page.scale
    return steepest * px_per_mm / max(float(bright - dark), 1.0)
