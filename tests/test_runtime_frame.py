"""A thin frame outlines the panel where the grid has faded; rules and letters do not."""

from __future__ import annotations

import numpy as np
import pytest

from runtime.frame import frame_around

MM = 4.0
EXTENT = (100.0, 120.0, 1000.0, 560.0)
FRAME = (60, 80, 1040, 610)


def page(*, without: str = "", dark: int = 20, lean: int = 0) -> np.ndarray:
    """Draw a page's darkness: noise, a header's rule, letters, and a frame round the traces."""
    rng = np.random.default_rng(5)
    darkness = rng.integers(0, 7, (800, 1150), dtype=np.uint8)
    darkness[10:13, 30:1100] = 200  # more than 25 mm above the traces
    for x in range(100, 500, 14):
        darkness[640:652, x : x + 8] = 180
    left, top, right, bottom = FRAME
    for x in range(left, right + 1):
        drop = lean * (x - left) // (right - left)
        if without != "top":
            darkness[top + drop : top + drop + 2, x] += np.uint8(dark)
        if without != "bottom":
            darkness[bottom + drop : bottom + drop + 2, x] += np.uint8(dark)
    if without != "left":
        darkness[top : bottom + 2, left : left + 2] += np.uint8(dark)
    if without != "right":
        darkness[top : bottom + 2, right : right + 2] += np.uint8(dark)
    return darkness


@pytest.mark.parametrize("lean", [0, 3])
def test_a_faint_frame_is_found_to_a_pixel(lean: int) -> None:
    found = frame_around(page(lean=lean), EXTENT, MM)
    assert found is not None
    left, top, right, bottom = FRAME  # lines two pixels wide
    middles = (left + 1, top + 1 + lean / 2, right + 1, bottom + 1 + lean / 2)
    np.testing.assert_allclose(found, middles, atol=2)


@pytest.mark.parametrize("without", ["top", "bottom", "left", "right"])
def test_three_lines_are_no_frame(without: str) -> None:
    assert frame_around(page(without=without), EXTENT, MM) is None


def test_noise_and_letters_are_no_frame() -> None:
    assert frame_around(page(dark=0), EXTENT, MM) is None


def test_traces_at_the_edge_of_a_picture_have_no_frame() -> None:
    assert frame_around(page(), (0.0, 0.0, 1150.0, 800.0), MM) is None
