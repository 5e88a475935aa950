"""What is thicker than a pen's line is left out; a noisy trace of a large page is not."""

from __future__ import annotations

import numpy as np
import pytest

from runtime.ink import bare_paper, ink_of


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
