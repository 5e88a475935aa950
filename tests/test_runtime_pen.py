"""What the pen followed: narrow waves keep their area, whatever the pen and its place."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageDraw

from runtime.ink import darkness_of, ink_of, ink_threshold
from runtime.pen import thin_line
from runtime.trace import RowTraces, follow_rows

WIDTH, HEIGHT, LEVEL, FINE = 200, 160, 100.0, 8


def drawn(wave: list[tuple[float, float]], pen: float) -> np.ndarray:
    """Draw a level line with a wave, points (px right, px up), with a round pen; smooth edges."""
    points = [(0.0, 0.0), *wave, (float(WIDTH), 0.0)]
    picture = Image.new("L", (WIDTH * FINE, HEIGHT * FINE), 255)
    line = [(x * FINE, (LEVEL - y) * FINE) for x, y in points]
    ImageDraw.Draw(picture).line(line, 0, round(pen * FINE), joint="curve")
    return np.asarray(picture.reduce(FINE))


def signal_of(grey: np.ndarray) -> np.ndarray:
    """Height above the level line in each column, px."""
    darkness = darkness_of(grey)
    _, runs = ink_of(darkness, ink_threshold(darkness))
    traces = follow_rows(darkness, runs, np.full((1, WIDTH), LEVEL), 4.0)
    return np.asarray(LEVEL - thin_line(traces)[2][0])


@pytest.mark.parametrize("pen", [1.2, 2.0, 3.0])
@pytest.mark.parametrize("place", [80.0, 80.4, 80.8])
def test_a_wave_keeps_its_area_whatever_the_pen_and_the_pixels(pen: float, place: float) -> None:
    wave = [(place, 0.0), (place + 4, 48.0), (place + 8, 0.0)]
    signal = signal_of(drawn(wave, pen))
    assert signal[70:100].sum() == pytest.approx(4 * 48, rel=0.25)


def test_a_flank_is_followed_in_the_middle_of_its_ink() -> None:
    rise = [(60.0, 0.0), (100.0, 40.0), (140.0, 0.0)]
    signal = signal_of(drawn(rise, 2.4))
    np.testing.assert_allclose(signal[65:95], np.arange(65, 95) + 0.5 - 60, atol=0.6)


def test_a_small_wave_before_a_deep_one_is_not_swallowed() -> None:
    wave = [(80.0, 0.0), (82.5, 15.0), (85.0, 0.0), (88.0, -50.0), (91.0, 0.0)]
    signal = signal_of(drawn(wave, 2.4))
    assert signal[78:86].max() > 6
    assert signal[84:94].min() < -30


def test_a_gap_stays_a_gap_and_its_edges_are_kept() -> None:
    top = np.full((1, 12), 9.0, np.float32)
    top[0, 5:7] = np.nan
    upper, lower, signal = thin_line(RowTraces(top, top + 2, 2.0))
    assert np.isnan(signal[0, 5:7]).all()
    known = np.r_[0:5, 7:12]
    np.testing.assert_allclose(signal[0, known], 10.0)
    np.testing.assert_allclose(upper[0, known], lower[0, known])
