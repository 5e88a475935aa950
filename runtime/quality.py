"""Says what is not a readable 12-lead ECG, and why, in words a nurse understands.

Three looks, from cheap to dear: at the page (size, contrast), at the panel found on it (layout,
leads complete, leads that fit together as the leads of one heart do), and at the model's features.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from runtime.errors import BundleError
from runtime.labels import LEADS
from runtime.plausibility import (
    Plausibility,
    margin_mm,
    measure_leads,
    row_seconds,
    sharpness,
    sides_mm,
)
from runtime.quantile import grey_quantile
from runtime.record import Record

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from runtime.page import Page
    from runtime.panel import Panel

__all__ = ["QualityLimits", "check_page", "check_panel", "out_of_distribution"]

#: Share of a page's pixels that are ink at least: thin traces on a sheet four times their size.
DARKEST = 0.001
#: Share of its pixels that are no lighter than the paper.
PAPER = 0.9
#: The middle of the grey levels.
MIDDLE = 128
#: Limb leads in the places of chest leads leave at most this much more over than those beside them.
CHEST_TO_LIMB = 3.0

_NO_ECG = "no 12-lead ECG was found on this page"
_SHARPER = "scan it again, or hold the camera still"
_WHOLE = "give the whole page with its margins"


class QualityLimits(Record):
    """Limits beyond which a page is rejected.

    The defaults were set on ecg5, on drawn pages and on the part ``limits`` of
    :mod:`train.negatives`; ``python -m train.negatives`` measures them on the part ``measure``.

    Attributes
    ----------
    min_short_side, min_long_side : float
        Smallest page, original px.
    max_aspect : float
        Longest side over shortest side.
    min_contrast : float
        Grey levels between paper and darkest ink.
    min_px_per_mm : float
        Coarsest working picture of the panel, px/mm: below it a small square has one pixel.
    min_sharpness : float
        Steepest edges, share of the contrast a mm; see :func:`runtime.plausibility.sharpness`.
    min_margin_mm : float
        Paper to be seen left and right of the leads, mm.
    min_above_mm, min_beside_mm : float
        A panel with less above it (mm) than this, and more on either side than that, was cut.
    min_row_s : float
        Shortest row of leads, s; carts print 10 s.
    min_coverage : float
        Share of the leads' length on which there is a trace.
    min_amplitude_mv, max_amplitude_mv : float
        Height of the usual lead, mV. That of a heart of low voltage may be half a small square.
    max_steep : float
        Share of the time in which the trace is steep; an ECG's is steep in the QRS complex only.
    min_roughness : float
        A trace that moves less from column to column was ruled, not recorded.
    max_limb_residual, min_synchrony : float
        How badly the limb leads may fit each other, and how little the leads of a column may beat
        together; see :class:`runtime.plausibility.Plausibility`.
    sharp, max_limb_residual_blurred, min_coverage_blurred : float
        Below this sharpness the limb leads must fit this well, and so much of the traces be seen:
        of a preview that was blown up some is missing.
    low, max_limb_residual_low : float
        So they must where the usual lead is lower than this, mV.
    wide, max_limb_residual_wide : float
        So they must where the picture is so many times as wide as it is high: carts print no such
        sheets, so it may be a part of one.
    min_chest_residual : float
        On pages of six rows: less means that limb leads stand where chest leads should, unless
        the limb leads beside them fit `CHEST_TO_LIMB` times as well.
    """

    min_short_side: float = 200
    min_long_side: float = 300
    max_aspect: float = 4.0
    min_contrast: float = 40.0
    min_px_per_mm: float = 1.3
    min_sharpness: float = 0.65
    min_margin_mm: float = 5.0
    min_above_mm: float = 0.8
    min_beside_mm: float = 2.0
    min_row_s: float = 8.0
    min_coverage: float = 0.7
    min_amplitude_mv: float = 0.04
    max_amplitude_mv: float = 6.0
    max_steep: float = 0.45
    min_roughness: float = 0.002
    max_limb_residual: float = 0.7
    min_synchrony: float = 0.25
    min_chest_residual: float = 0.35
    sharp: float = 1.25
    max_limb_residual_blurred: float = 0.35
    min_coverage_blurred: float = 0.97
    low: float = 0.1
    max_limb_residual_low: float = 0.5
    wide: float = 2.2
    max_limb_residual_wide: float = 0.2

    def to_manifest(self) -> dict[str, float]:
        """Return the limits as a JSON object."""
        return self._asdict()

    @classmethod
    def from_manifest(cls, values: Mapping[str, Any]) -> QualityLimits:
        """Read the limits of a bundle; those that it does not name keep their defaults.

        Raises
        ------
        BundleError
            If a limit is not known or not a number.
        """
        known = set(cls._fields)
        for name, value in values.items():
            if name not in known:
                raise BundleError(f"unknown quality limit {name!r}", "update ecg-edge")
            if isinstance(value, bool) or not isinstance(value, (int, float)):
                raise BundleError(f"quality limit {name!r} is not a number", "export it again")
        return cls(**values)


def check_page(page: Page, limits: QualityLimits) -> tuple[str, ...]:
    """Say why a page cannot be a readable ECG, before anything is searched on it.

    Parameters
    ----------
    page : Page
    limits : QualityLimits

    Returns
    -------
    tuple of str
        Reasons with their remedy; empty where there is none.
    """
    width, height = page.original_size
    short, long = min(width, height), max(width, height)
    if short < limits.min_short_side or long < limits.min_long_side:
        return (f"the picture is too small ({width} x {height} pixels): scan at 150 dpi or more",)
    if long > limits.max_aspect * short:
        return (f"the picture is a narrow strip ({width} x {height} pixels): give the whole page",)
    sample = np.ascontiguousarray(page.grey[::4, ::4])
    if not _has_contrast(sample, limits.min_contrast):
        return ("the page is blank or too pale to read: scan it again with more contrast",)
    return ()


def _has_contrast(grey: NDArray[np.uint8], least: float) -> bool:
    """Tell whether the darkest pixels are so many grey levels (`least`) darker than the paper."""
    last = grey.size - 1
    # Most pages have ink darker than grey and paper well lighter, which is sooner told.
    ink = np.count_nonzero(grey < MIDDLE)
    paper = np.count_nonzero(grey >= MIDDLE + math.ceil(least))
    if ink > DARKEST * last + 1 and paper >= grey.size - int(PAPER * last):
        return True
    dark, bright = grey_quantile(grey, DARKEST, PAPER)
    return bright - dark >= least


def check_panel(page: Page, panel: Panel, limits: QualityLimits) -> tuple[str, ...]:
    """Say why what was found on a page is not a readable 12-lead ECG.

    Parameters
    ----------
    page : Page
    panel : Panel
    limits : QualityLimits

    Returns
    -------
    tuple of str
        Reasons with their remedy; empty where there is none.
    """
    if panel.layout == "single":
        return ("only one lead was found: give the page with all 12 leads",)
    if len(panel.leads) < len(LEADS) or not panel.px_per_mm:
        return (f"{_NO_ECG}: give an ECG page, flat, whole and sharp",)
    if panel.px_per_mm * page.scale < limits.min_px_per_mm:
        return ("the ECG is too small on the picture: scan it at 150 dpi, or go closer",)
    sharp = sharpness(page, panel)
    if sharp < limits.min_sharpness:
        return (f"the picture is too blurred to read: {_SHARPER}",)
    if (
        margin_mm(page, panel) < limits.min_margin_mm
        or _cut_above(page, panel, limits)
        or row_seconds(panel) < limits.min_row_s
    ):
        return (f"the ECG runs over the edge of the picture: {_WHOLE}",)
    found = measure_leads(panel.leads)
    if sharp < limits.sharp and (
        found.limb_residual > limits.max_limb_residual_blurred
        or found.coverage < limits.min_coverage_blurred
    ):
        return (f"the picture is too blurred to tell the leads: {_SHARPER}",)
    width, height = page.original_size if panel.rotation % 180 == 0 else page.original_size[::-1]
    wide = width > limits.wide * height
    if wide and found.limb_residual > limits.max_limb_residual_wide:
        return (f"the picture may show a part of the ECG only: {_WHOLE}",)
    return _check_leads(panel, found, limits)


def _cut_above(page: Page, panel: Panel, limits: QualityLimits) -> bool:
    """Tell whether the panel goes on above the picture; its grid may fill all of the sheet."""
    left, above, right, _ = sides_mm(page, panel)
    return above < limits.min_above_mm and min(left, right) > limits.min_beside_mm


def _check_leads(panel: Panel, found: Plausibility, limits: QualityLimits) -> tuple[str, ...]:
    """Say why twelve traces are not the leads of one heart."""
    if found.coverage < limits.min_coverage:
        return (
            f"only {found.coverage:.0%} of the traces can be followed: give the page flat, whole "
            "and sharp",
        )
    amplitude_fits = limits.min_amplitude_mv <= found.amplitude_mv <= limits.max_amplitude_mv
    drawn = found.steep > limits.max_steep or found.roughness < limits.min_roughness
    if not amplitude_fits or drawn:
        return (f"{_NO_ECG}: the lines on it are not those of an ECG; give an ECG page",)
    low = found.amplitude_mv < limits.low
    if (
        found.limb_residual > (limits.max_limb_residual_low if low else limits.max_limb_residual)
        or found.synchrony < limits.min_synchrony
        or (panel.layout.startswith("6x2") and _limb_leads_twice(found, limits))
    ):
        return (
            "the traces do not fit together as the 12 leads of one heart: give the whole page, and "
            "one recording only",
        )
    return ()


def _limb_leads_twice(found: Plausibility, limits: QualityLimits) -> bool:
    """Tell whether limb leads stand where chest leads should: those obey the limb leads' laws.

    They obey them as well as the limb leads beside them do, which were read no worse. Some hearts'
    chest leads come near the laws by chance, but not that near.
    """
    near = CHEST_TO_LIMB * found.limb_residual
    return found.chest_residual < min(limits.min_chest_residual, near)


def out_of_distribution(
    features: NDArray[np.float32], parameters: Mapping[str, Any]
) -> tuple[float, float]:
    """Return how far a page lies from the pages that the model was trained on, and the limit.

    The squared distance to the nearest class mean, each feature divided by its spread within the
    classes (a Mahalanobis distance with shared diagonal covariance; Lee et al., 2018,
    arXiv:1807.03888), a feature on average.

    Parameters
    ----------
    features : ndarray of float32, shape (1, C) or (C,)
        Pooled features of one page.
    parameters : mapping
        ``means`` [classes][C], ``scale`` [C] (all > 0), ``limit``.

    Returns
    -------
    score, limit : float
        The page is unlike the training pages where score > limit.
    """
    means = np.asarray(parameters["means"], np.float32)
    scale = np.asarray(parameters["scale"], np.float32)
    steps = (np.ravel(features)[None] - means) / scale
    return float(np.min(np.mean(steps * steps, axis=1))), float(parameters["limit"])
