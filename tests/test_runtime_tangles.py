"""Rows are told apart where their waves run into each other."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from drawn_lines import HEIGHT, WIDTH, ink, level_rows, picture_of, spiky
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime import reading
from runtime.ink import runs_of
from runtime.page import page_from_image
from runtime.panel import find_panel
from runtime.pen import thin_line
from runtime.strokes import neighbours
from runtime.tangles import untangle
from runtime.trace import RowTraces, follow_rows
from train.draw import Heart, draw_page, synthesise

MM = 4.0
LEVELS = (70.0, 118.0, 166.0)


def followed(grey: np.ndarray, *levels: float) -> tuple[RowTraces, RowTraces]:
    """The rows of a picture as they are followed run by run, and untangled."""
    darkness, runs = ink(grey)
    traces = follow_rows(darkness, runs, level_rows(*levels), MM)
    touching = neighbours(runs, 1)
    return traces, untangle(darkness, runs, touching, level_rows(*levels), traces, MM)


def heights(traces: RowTraces, levels: tuple[float, ...]) -> list[float]:
    """How far each row goes from its baseline within the tangle, px; up is positive."""
    signal = thin_line(traces)[2][:, 185:216]
    away = np.array(levels)[:, None] + 1 - signal
    return [float(row[np.nanargmax(np.abs(row))]) for row in away]


@pytest.mark.parametrize(
    "waves",
    [
        (45, 60, 45),  # tips reach past the row above, whose own wave begins there
        (60, 60, 60),
        (0, 70, 0),  # the wave passes a row that goes on
        (0, -70, 0),
        (-40, -60, -50),
    ],
)
def test_each_row_keeps_its_wave(waves: tuple[float, ...]) -> None:
    lines = [spiky(level, wave, 200) for level, wave in zip(LEVELS, waves, strict=True)]
    _, told = followed(picture_of(*lines), *LEVELS)
    assert heights(told, LEVELS) == pytest.approx(waves, abs=8)


def test_waves_that_cross_go_on_as_they_came() -> None:
    lines = spiky(LEVELS[0], -65, 199), spiky(LEVELS[1], 65, 203)
    _, told = followed(picture_of(*lines), *LEVELS[:2])
    assert heights(told, LEVELS[:2]) == pytest.approx((-65, 65), abs=8)


def test_rows_that_do_not_meet_stay_as_they_were_followed() -> None:
    before, after = followed(picture_of(*(spiky(y, 30, 200) for y in LEVELS)), *LEVELS)
    assert after is before


def test_what_is_wider_than_a_wave_is_left_alone() -> None:
    grey = picture_of(*(np.full(WIDTH, y) for y in LEVELS))
    grey[60:130, 180:230] = 0  # 12 mm wide
    before, after = followed(grey, *LEVELS)
    assert after is before


def test_a_page_without_ink_is_left_alone() -> None:
    before, after = followed(np.full((HEIGHT, WIDTH), 255, np.uint8), *LEVELS)
    assert after is before


@pytest.mark.parametrize(("pitch", "width"), [(40, 30), (36, 33), (3, 1), (4, 2)])
def test_a_page_of_bars_takes_bounded_memory(pitch: int, width: int) -> None:
    """Each bar crosses twelve rows: as many lines might go through it as through any wave."""
    dark = np.zeros((1500, 1600), dtype=np.uint8)
    for x in range(20, 1580, pitch):
        dark[40:1460, x : x + width] = 255
    levels = np.linspace(100, 1400, 12)
    for level in levels:
        dark[int(level) : int(level) + 2] = 255
    runs, baselines = runs_of(dark > 0), levels[:, None].repeat(1600, axis=1)
    traces = follow_rows(dark, runs, baselines, MM)
    tracemalloc.start()
    untangle(dark, runs, neighbours(runs, 1), baselines, traces, MM)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 300e6


@settings(max_examples=40, deadline=None)
@given(
    waves=st.lists(st.integers(-90, 90), min_size=3, max_size=3),
    places=st.lists(st.integers(196, 204), min_size=3, max_size=3),
    specks=st.integers(0, 2**32 - 1),
    share=st.sampled_from([0.0, 0.02, 0.3]),
)
def test_any_waves_leave_each_row_one_line_inside_the_picture(
    waves: list[int], places: list[int], specks: int, share: float
) -> None:
    lines = [spiky(*row) for row in zip(LEVELS, waves, places, strict=True)]
    grey = picture_of(*lines)
    grey[np.random.default_rng(specks).random(grey.shape) < share] = 0
    before, after = followed(grey, *LEVELS)
    known = np.isfinite(after.top)
    assert (known == np.isfinite(after.bottom)).all()
    assert (known >= np.isfinite(before.top)).all()
    assert (after.top[known] < after.bottom[known]).all()
    assert after.top[known].min() >= -1
    assert after.bottom[known].max() <= HEIGHT + 1
    if not share:  # no tangle but the waves
        away = np.abs(np.arange(WIDTH) - 200) > 20
        np.testing.assert_array_equal(after.top[:, away], before.top[:, away])


def test_tall_waves_on_a_page_of_twelve_rows_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    recording = synthesise(Heart(), 12)
    recording = replace(recording, values=recording.values * np.float32(2.0))
    page, _ = draw_page(recording, "report", 3, layout="12x1", interpretation=None)
    page = page_from_image(page)

    def right() -> int:
        leads = find_panel(page).leads
        return sum(_alike(lead.centre, recording.lead(lead.name)) > 0.9 for lead in leads)

    assert right() == 12
    monkeypatch.setattr(reading, "CROWDED", ())
    assert right() < 12


def _alike(read: np.ndarray, drawn: np.ndarray) -> float:
    """Correlation of a lead of the whole row with the signal that was drawn."""
    places = (np.arange(len(read)) + 0.5) / len(read) * 5000
    known = np.isfinite(read)
    shown = np.interp(places, np.arange(5000), drawn[:5000])
    return float(np.corrcoef(read[known], shown[known])[0, 1])
