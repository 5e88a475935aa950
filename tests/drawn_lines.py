"""Pictures of lines, for tests of how rows are followed."""

from __future__ import annotations

import numpy as np

from runtime.ink import Runs, darkness_of, ink_of, ink_threshold

WIDTH, HEIGHT = 400, 240


def picture_of(*lines: np.ndarray, pen: int = 2) -> np.ndarray:
    """Draw polylines (heights in px, one a column) black on white."""
    grey = np.full((HEIGHT, WIDTH), 255, dtype=np.uint8)
    for line in lines:
        for x in range(WIDTH - 1):
            low, high = sorted((int(line[x]), int(line[x + 1])))
            grey[max(0, low) : high + pen, x : x + pen] = 0
    return grey


def spiky(level: float, height: float, at: int) -> np.ndarray:
    """A flat line with one spike of some columns."""
    line = np.full(WIDTH, float(level))
    line[at - 3 : at + 4] -= height * np.array([0.2, 0.5, 0.8, 1.0, 0.8, 0.5, 0.2])
    return line


def ink(grey: np.ndarray) -> tuple[np.ndarray, Runs]:
    """Darkness of a picture, and its ink."""
    darkness = darkness_of(grey)
    return darkness, ink_of(darkness, ink_threshold(darkness))[1]


def level_rows(*levels: float) -> np.ndarray:
    """Baselines of rows that are level."""
    return np.repeat(np.array(levels)[:, None], WIDTH, axis=1)
