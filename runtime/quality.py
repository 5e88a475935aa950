"""Says what is not a readable 12-lead ECG, and why, in words a nurse understands.

Three looks, from cheap to dear: at the page (size, contrast), at the panel found on it (layout,
leads complete, leads that fit together as the leads of one heart do), and at the model's features.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np

from runtime.errors import BundleError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from runtime.page import Page
    from runtime.panel import Panel

__all__ = ["QualityLimits", "check_page", "check_panel", "out_of_distribution"]


@dataclass(frozen=True)
class QualityLimits:
    """Limits beyond which a page is rejected.

    Attributes
    ----------
    min_short_side, min_long_side : int
        Smallest page, original px.
    max_aspect : float
        Longest side over shortest side.
    min_contrast : float
        Grey levels between paper and darkest ink.
    """

    min_short_side: int = 200
    min_long_side: int = 300
    max_aspect: float = 4.0
    min_contrast: float = 40.0

    def to_manifest(self) -> dict[str, float]:
        """Return the limits as a JSON object."""
        return asdict(self)

    @classmethod
    def from_manifest(cls, values: Mapping[str, Any]) -> QualityLimits:
        """Read the limits of a bundle; those that it does not name keep their defaults.

        Raises
        ------
        BundleError
            If a limit is not known or not a number.
        """
        known = {field.name for field in fields(cls)}
        for name, value in values.items():
            if name not in known:
                raise BundleError(f"unknown quality limit {name!r}", "update ecg-edge")
            if isinstance(value, bool) or not isinstance(value, (int, float)):
                raise BundleError(f"quality limit {name!r} is not a number", "rebuild the bundle")
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
    sample = page.grey[::4, ::4]
    dark, bright = np.percentile(sample, (0.5, 90))
    if bright - dark < limits.min_contrast:
        return ("the page is blank or too pale to read: scan it again with more contrast",)
    return ()


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
    if len(panel.leads) < 12:
        return ("no 12-lead ECG was found on this page: give an ECG page, flat and whole",)
    return ()


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
