"""What is true of a drawn page: where the panel and each lead stand, and on what scale."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

__all__ = ["TRUTH_SCHEMA", "LeadBox", "Truth", "map_points", "quad_area", "rect_quad"]

TRUTH_SCHEMA: Final = "ecg-edge/page-truth/1"
"""Schema of a truth file."""


@dataclass(frozen=True)
class LeadBox:
    """One lead's place on the page.

    Parameters
    ----------
    name : str
        Lead name.
    row, column : int
        Place in the layout.
    start_s, seconds : float
        Part of the recording that is shown, s.
    rhythm : bool
        True for a rhythm strip.
    quad : ndarray of float32, shape [4, 2]
        Corners in px, TL TR BR BL of the upright page: from the lead's first to its last column,
        and as far above its baseline (0 mV) as below, half way to the nearest row. Tall waves
        leave it.
    """

    name: str
    row: int
    column: int
    start_s: float
    seconds: float
    rhythm: bool
    quad: NDArray[np.float32]


@dataclass(frozen=True)
class Truth:
    """What is true of one drawn page.

    The **panel** is what a finder can see of the traces' area, header and footer excluded:
    ``panel_source`` ``grid`` = the grid's own area (its frame's middle line), where the grid
    belongs to the traces alone; ``traces`` = the tight band around the ink of all traces,
    separators and calibration pulses, where there is no grid or the header is printed on it too.

    Parameters
    ----------
    signal : str
        Where the recording comes from.
    label : str or None
        Its class.
    altered_leads : tuple of str
        Leads that carry the finding.
    layout, style : str
        As drawn.
    speed_mm_s, gain_mm_mv : float
        Paper speed and gain.
    grid : str
        Kind of grid: ``none``, ``lines``, ``dots``, ``coarse``.
    pulse : bool
        Whether a calibration pulse stands on the page.
    interpretation : str or None
        Class whose interpretation the header prints, or None.
    seed : int
        Seed the page was drawn with.
    size : tuple of int
        Width and height of the picture, px.
    panel_mm : tuple of float
        Width and height of the panel, mm of ECG.
    panel : ndarray of float32, shape [4, 2]
        Corners in px, TL TR BR BL of the upright panel.
    panel_source : str
        ``grid`` or ``traces``.
    traces_mm : tuple of float
        Width and height of the tight band around the traces, mm of ECG.
    traces : ndarray of float32, shape [4, 2]
        Corners of that band in px, whatever ``panel_source`` is.
    leads : tuple of LeadBox
        Every lead's place.
    capture : dict
        What the scan or the phone did; ``{"kind": "clean"}`` for the page as printed.
    """

    signal: str
    label: str | None
    altered_leads: tuple[str, ...]
    layout: str
    style: str
    speed_mm_s: float
    gain_mm_mv: float
    grid: str
    pulse: bool
    interpretation: str | None
    seed: int
    size: tuple[int, int]
    panel_mm: tuple[float, float]
    panel: NDArray[np.float32]
    panel_source: str
    traces_mm: tuple[float, float]
    traces: NDArray[np.float32]
    leads: tuple[LeadBox, ...]
    capture: dict[str, Any] = field(default_factory=lambda: {"kind": "clean"})

    @property
    def px_per_mm(self) -> float:
        """Scale in px a mm of ECG: root of the panel's area in px over its area in mm."""
        return float(np.sqrt(quad_area(self.panel) / (self.panel_mm[0] * self.panel_mm[1])))

    @property
    def orientation(self) -> int:
        """Degrees (0, 90, 180, 270) the upright page was turned clockwise to be as it is."""
        return round(self._angle() / 90.0) % 4 * 90

    @property
    def skew_deg(self) -> float:
        """Degrees (clockwise positive) that remain of the panel's slant beside ``orientation``."""
        return (self._angle() - self.orientation + 180.0) % 360.0 - 180.0

    def _angle(self) -> float:
        right = (self.panel[1] - self.panel[0]) + (self.panel[2] - self.panel[3])
        return float(np.degrees(np.arctan2(right[1], right[0])))

    def mapped(
        self, matrix: NDArray[np.float64], size: tuple[int, int], capture: dict[str, Any]
    ) -> Truth:
        """Carry the truth through a projective map of the picture.

        Parameters
        ----------
        matrix : ndarray of float64, shape [3, 3]
            Old px to new px.
        size : tuple of int
            Width and height of the new picture, px.
        capture : dict
            What did it.

        Returns
        -------
        Truth
        """
        leads = tuple(replace(box, quad=map_points(matrix, box.quad)) for box in self.leads)
        panel, traces = map_points(matrix, self.panel), map_points(matrix, self.traces)
        return replace(self, size=size, panel=panel, traces=traces, leads=leads, capture=capture)

    def without_grid(self) -> Truth:
        """Return the truth of the same page once a threshold has wiped the grid away."""
        return replace(
            self, grid="none", panel=self.traces, panel_mm=self.traces_mm, panel_source="traces"
        )

    def to_record(self) -> dict[str, Any]:
        """Turn into what a truth file holds: plain numbers, lists and strings."""
        record = {"schema": TRUTH_SCHEMA, **asdict(self)}
        record["panel"], record["traces"] = _rounded(self.panel), _rounded(self.traces)
        record["leads"] = [{**asdict(b), "quad": _rounded(b.quad)} for b in self.leads]
        record["panel_mm"] = [round(v, 3) for v in self.panel_mm]
        record["traces_mm"] = [round(v, 3) for v in self.traces_mm]
        record |= {
            "px_per_mm": round(self.px_per_mm, 4),
            "orientation": self.orientation,
            "skew_deg": round(self.skew_deg, 3),
        }
        return record

    @classmethod
    def from_record(cls, record: dict[str, Any]) -> Truth:
        """Read what ``to_record`` wrote.

        Raises
        ------
        ValueError
            Where the schema is another.
        """
        if record.get("schema") != TRUTH_SCHEMA:
            raise ValueError(f"not a truth file of schema {TRUTH_SCHEMA}")
        derived = ("schema", "px_per_mm", "orientation", "skew_deg")
        fields = {key: value for key, value in record.items() if key not in derived}
        for key in ("panel", "traces"):
            fields[key] = np.asarray(record[key], dtype=np.float32)
        fields["leads"] = tuple(
            LeadBox(**{**box, "quad": np.asarray(box["quad"], dtype=np.float32)})
            for box in record["leads"]
        )
        for key in ("altered_leads", "size", "panel_mm", "traces_mm"):
            fields[key] = tuple(record[key])
        return cls(**fields)


def rect_quad(left: float, top: float, right: float, bottom: float) -> NDArray[np.float32]:
    """Corners of an upright rectangle, float32 [4, 2], TL TR BR BL."""
    corners = [[left, top], [right, top], [right, bottom], [left, bottom]]
    return np.array(corners, dtype=np.float32)


def quad_area(quad: NDArray[np.float32]) -> float:
    """Area of a simple polygon by the shoelace formula, in the square of its unit."""
    x, y = quad[:, 0].astype(np.float64), quad[:, 1].astype(np.float64)
    return float(abs(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))) / 2.0)


def map_points(matrix: NDArray[np.float64], points: NDArray[np.float32]) -> NDArray[np.float32]:
    """Carry points [n, 2] through a projective map [3, 3]; returns float32 [n, 2]."""
    flat = np.concatenate([points, np.ones((len(points), 1))], axis=1) @ matrix.T
    return np.asarray(flat[:, :2] / flat[:, 2:], dtype=np.float32)


def _rounded(points: NDArray[np.float32]) -> list[list[float]]:
    return [[round(float(x), 2), round(float(y), 2)] for x, y in points]
