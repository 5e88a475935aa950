"""Grid lines are followed to where they end, whatever is printed beside them."""

from __future__ import annotations

import numpy as np
import pytest

from runtime.extent import extent_of_lines

MM = 5.0
TOP, BOTTOM = 240, 840


def sheet(*, grid: bool, slope: float = 0.0) -> np.ndarray:
    """Draw noisy paper with lines of print above and, where wanted, a grid; darkness [h, w]."""
    rng = np.random.default_rng(3)
    height, width = 1000, 1200
    darkness = rng.normal(3, 3, (height, width))
    for line in range(40, 220, 25):  # words, 5 mm from line to line as the grid's bold lines
        darkness[line : line + 8] += 60 * (rng.random(width) < 0.3)
    if grid:
        y, x = np.mgrid[TOP:BOTTOM, 0:width]
        across = (x - slope * (y - TOP)) % (5 * MM)
        darkness[TOP:BOTTOM] += np.where((across < 1.5) | ((y - TOP) % (5 * MM) < 1.5), 14, 0)
    return np.clip(darkness, 0, 255).astype(np.uint8)


def extent(darkness: np.ndarray) -> tuple[float, float] | None:
    return extent_of_lines(darkness, darkness >= 90, (TOP + 60, BOTTOM - 60), MM)


@pytest.mark.parametrize("slope", [0.0, 0.002])
def test_a_faint_grid_ends_where_its_lines_end(slope: float) -> None:
    found = extent(sheet(grid=True, slope=slope))
    assert found is not None
    assert found[0] == pytest.approx(TOP, abs=2 * MM)
    assert found[1] == pytest.approx(BOTTOM, abs=2 * MM)


def test_a_line_of_print_taken_for_a_row_does_not_move_the_end() -> None:
    darkness = sheet(grid=True)
    found = extent_of_lines(darkness, darkness >= 90, (60, BOTTOM - 60), MM)
    assert found is not None
    assert found[0] == pytest.approx(TOP, abs=2 * MM)


def test_noise_and_print_are_no_grid() -> None:
    assert extent(sheet(grid=False)) is None


def test_a_picture_too_low_for_a_grid_has_none() -> None:
    assert (
        extent_of_lines(np.zeros((30, 400), np.uint8), np.zeros((30, 400), bool), (5, 20), MM)
        is None
    )
