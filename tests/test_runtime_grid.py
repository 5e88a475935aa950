"""The grid's scale is told by its bold lines, also on a page that was cut off."""

from __future__ import annotations

import numpy as np
import pytest

from runtime import grid
from runtime.grid import grid_scale


def paper(px_per_mm: float, size: tuple[int, int], *, fine: int) -> np.ndarray:
    """Darkness of paper with bold lines every 5 mm and fine ones, as dark as told, every 1 mm."""
    rng = np.random.default_rng(4)
    light = rng.integers(0, 3, size).astype(np.float64)
    for axis, count in enumerate(size):
        lines = np.zeros(count)
        for number in range(int(count / px_per_mm)):
            place = number * px_per_mm
            share = place % 1.0
            level = 60 if number % 5 == 0 else fine
            lines[int(place)] += level * (1 - share)
            lines[min(int(place) + 1, count - 1)] += level * share
        light += lines[:, None] if axis == 0 else lines[None]
    return np.clip(light, 0, 255).astype(np.uint8)


@pytest.mark.parametrize("fine", [0, 15, 30])
@pytest.mark.parametrize("px_per_mm", [3.94, 5.2])
def test_the_scale_of_a_whole_page(px_per_mm: float, fine: int) -> None:
    light = paper(px_per_mm, (round(120 * px_per_mm), round(250 * px_per_mm)), fine=fine)
    for assumed in (0.9, 1.0, 1.15):
        found = grid_scale(light, assumed * px_per_mm)
        assert found == pytest.approx((px_per_mm, px_per_mm), rel=0.01)


@pytest.mark.parametrize(
    ("shown", "fine"),
    [(0.5, 0), (0.45, 0), (0.4, 20), (0.6, 20)],  # of the row; two or three fine lines pass for 5
)
def test_the_scale_of_a_page_that_was_cut_off(shown: float, fine: int) -> None:
    px_per_mm = 5.2
    light = paper(px_per_mm, (700, round(shown * 250 * px_per_mm)), fine=fine)
    found = grid_scale(light, shown * px_per_mm)
    assert found == pytest.approx((px_per_mm, px_per_mm), rel=0.01)


def test_a_page_that_shows_no_cut_is_taken_for_cut_on_better_grounds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Bold lines 2.5 times as far apart, not much above what chance gives."""
    faint = grid._Pitch(4.0, 50.0, (5.0, 0.0, 0.0))
    monkeypatch.setattr(grid, "_pitch", lambda *_: faint)
    light = paper(4.0, (400, 1000), fine=0)
    assert grid_scale(light, 4.0, cut=True) == (10.0, 10.0)
    assert grid_scale(light, 4.0, cut=False) == (4.0, 4.0)


def test_noise_has_no_scale() -> None:
    light = np.random.default_rng(5).integers(0, 30, (600, 1200)).astype(np.uint8)
    assert grid_scale(light, 4.0) is None
