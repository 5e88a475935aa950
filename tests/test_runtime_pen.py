"""What the pen followed: narrow waves keep their area, whatever the pen and its place."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageDraw

from runtime.flanks import even_flanks
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
    return np.asarray(LEVEL - thin_line(even_flanks(traces, darkness))[2][0])


@pytest.mark.parametrize("pen", [1.2, 2.0, 3.0])
@pytest.mark.parametrize("place", [80.0, 80.4, 80.8])
def test_a_wave_keeps_its_area_whatever_the_pen_and_the_pixels(pen: float, place: float) -> None:
    wave = [(place, 0.0), (place + 4, 48.0), (place + 8, 0.0)]
    signal = signal_of(drawn(wave, pen))
    assert signal[70:100].sum() == pytest.approx(4 * 48, rel=0.25)


@pytest.mark.parametrize("pen", [1.2, 2.0])
@pytest.mark.parametrize("way", [1.0, -1.0])
def test_a_wave_no_wider_than_the_pen_keeps_its_area_wherever_its_pixels_lie(
    pen: float, way: float
) -> None:
    areas = []
    for place in np.arange(80.0, 81.0, 0.125):
        wave = [(place, 0.0), (place + 1.5, way * 48.0), (place + 3.0, 0.0)]
        areas.append(way * signal_of(drawn(wave, pen))[70:100].sum())
    assert np.ptp(areas) < 0.08 * np.mean(areas)  # without `even_flanks` 0.1 and more


def test_a_flank_against_another_wave_is_left_alone() -> None:
    top = np.full((1, 40), 30.0, np.float32)
    top[0, 20:] = 10.0
    traces = RowTraces(top, np.full((1, 40), 32.0, np.float32), 2.0)
    darkness = np.zeros((60, 40), np.uint8)
    darkness[30:32] = darkness[10:32, 20:] = 200
    darkness[10:30, 19] = 50  # a quarter of the column before is covered
    evened = even_flanks(traces, darkness).top[0]
    np.testing.assert_allclose(evened[[18, 19, 20, 21]], [30.0, 25.0, 10.0, 10.0], atol=0.01)
    darkness[10:30, 17:20] = 250  # there is another wave
    np.testing.assert_array_equal(even_flanks(traces, darkness).top, traces.top)


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
