"""What is thicker than a pen's line is left out, and a dark grid; a noisy trace is not."""

from __future__ import annotations

import numpy as np
import pytest

from runtime.ink import above_grid, bare_paper, darkness_of, ink_of, ink_threshold


def page(width: int) -> np.ndarray:
    """Darkness of a page with a noisy trace, 18 px high."""
    rng = np.random.default_rng(1)
    darkness = np.zeros((width // 2, width), np.uint8)
    for x in range(100, width - 100):
        middle = width // 4 + int(rng.integers(-5, 6))
        darkness[middle - 9 : middle + 9, x] = 255
    return darkness


def test_a_noisy_trace_of_a_large_page_is_no_blot() -> None:
    darkness = page(1750)
    mask, runs = ink_of(darkness, 100)
    np.testing.assert_array_equal(mask, darkness > 0)
    assert int((runs.bottom - runs.top).sum()) == np.count_nonzero(darkness)


@pytest.mark.parametrize("captured", [False, True])
@pytest.mark.parametrize("width", [900, 1750])
def test_a_blot_is_left_out(width: int, captured: bool) -> None:
    darkness = np.zeros((width // 2, width), np.uint8)
    darkness[100:200, 200:400] = 255
    mask, runs = ink_of(darkness, 100, captured=captured)
    assert not mask.any()
    assert len(runs.x) == 0


def test_bare_paper_is_the_darkness_without_ink() -> None:
    rng = np.random.default_rng(2)
    darkness = rng.integers(0, 256, (40, 70), dtype=np.uint8)
    mask = darkness > 90
    expected = np.where(mask, 0, darkness)
    np.testing.assert_array_equal(bare_paper(darkness, mask), expected)
    columns = np.s_[:, 3:60:5]
    np.testing.assert_array_equal(bare_paper(darkness[columns], mask[columns]), expected[columns])


def shaded(grid: int, trace: int = 224) -> np.ndarray:
    """A grid of one shade, bold lines every 28 px, under a trace whose edges are of all shades."""
    dark = np.zeros((400, 600), np.uint8)
    dark[::28] = dark[:, ::28] = grid
    for x in range(600):
        y = 200 + round(60 * np.sin(x / 30))
        dark[y - 1 : y + 2, x] = trace
        dark[y + 2, x] = x * 7 % trace
    return dark


@pytest.mark.parametrize("grid", [92, 120, 150])
def test_a_threshold_is_raised_above_a_grid_as_dark_as_ink(grid: int) -> None:
    dark = shaded(grid)
    threshold = ink_threshold(dark)
    assert threshold <= grid
    assert grid < above_grid(dark, threshold) < 200


@pytest.mark.parametrize("grid", [0, 60, 84])
def test_a_threshold_above_the_grid_stays(grid: int) -> None:
    dark = shaded(grid)
    assert above_grid(dark, ink_threshold(dark)) == ink_threshold(dark)


@pytest.mark.parametrize("paper", [255, 250, 225])
@pytest.mark.parametrize("side", [0, 1, 2, 3])
def test_the_lid_beside_a_slanted_sheet_is_left_out(paper: int, side: int) -> None:
    """A wedge so thin that the paper counts as even; a trace's own end at the edge stays."""
    grey = np.full((700, 900), paper, np.uint8)
    grey[300:303, :600] = 100
    lid = np.rot90(grey, side)
    for x in range(lid.shape[1] // 2):
        lid[: 9 - x // 60, x] = 20
    darkness = darkness_of(grey)
    assert np.rot90(darkness, side)[:10].max(initial=0) < 160
    assert darkness[301, 30:590].min() > 100
    assert ink_threshold(darkness) < 80
