"""Finds the ECG panel on a page: where it lies, how it is turned, its scale, layout and leads."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from runtime.ink import darkness_of
from runtime.layout import ARRANGEMENTS, LAYOUTS
from runtime.reading import read_upright
from runtime.trace import LeadTrace

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from runtime.page import Page

__all__ = ["LAYOUTS", "LeadTrace", "Panel", "find_panel"]


@dataclass(frozen=True)
class Panel:
    """The ECG panel of a page.

    Attributes
    ----------
    quad : ndarray of float32, shape (4, 2)
        Corners in ORIGINAL page px: top left, top right, bottom right, bottom left of the upright
        panel.
    rotation : int
        0, 90, 180 or 270: degrees by which the page is turned clockwise.
    skew_deg : float
        Remaining turn, degrees.
    layout : str
        One of `LAYOUTS`.
    px_per_mm : float or None
        Original px per mm of paper.
    scale_source : str
        ``"grid"``, ``"pulse"`` or ``"assumed"`` (10 s across).
    leads : tuple of LeadTrace
        The leads that were read; empty where the layout is unknown.
    reasons : tuple of str
        What could not be told, in plain words.
    """

    quad: NDArray[np.float32]
    rotation: int
    skew_deg: float
    layout: str
    px_per_mm: float | None
    scale_source: str
    leads: tuple[LeadTrace, ...]
    reasons: tuple[str, ...]


def find_panel(page: Page) -> Panel:
    """Find the panel of a page and read its leads.

    Parameters
    ----------
    page : Page

    Returns
    -------
    Panel
        Always; where nothing is found, with layout ``"unknown"``, no leads and the reason.
    """
    darkness = darkness_of(page.grey)
    reading = read_upright(darkness)
    if reading is None:
        height, width = page.grey.shape
        whole = _rectangle(0, 0, width, height) / np.float32(page.scale)
        return Panel(whole, 0, 0.0, "unknown", None, "assumed", (), ("no ECG trace found",))
    reasons = [] if reading.layout in ARRANGEMENTS else ["layout not recognised"]
    area = reading.area
    quad = _rectangle(area.left, area.top, area.right, area.bottom)
    leads = tuple(replace(lead, box=lead.box / np.float32(page.scale)) for lead in reading.leads)
    return Panel(
        quad=quad / np.float32(page.scale),
        rotation=0,
        skew_deg=0.0,
        layout=reading.layout,
        px_per_mm=reading.px_per_mm / page.scale,
        scale_source=reading.scale_source,
        leads=leads,
        reasons=tuple(reasons),
    )


def _rectangle(left: float, top: float, right: float, bottom: float) -> NDArray[np.float32]:
    return np.array([[left, top], [right, top], [right, bottom], [left, bottom]], dtype=np.float32)
