"""Each row keeps its own line, also where waves of two rows meet."""

from __future__ import annotations

import numpy as np
import pytest
from drawn_lines import WIDTH, ink, level_rows, picture_of, spiky

from runtime.ink import darkness_of, ink_threshold, runs_of
from runtime.page import page_from_image
from runtime.panel import find_panel
from runtime.pen import thin_line
from runtime.strokes import neighbours, stroke_labels
from runtime.trace import follow_rows
from train.draw import Heart, draw_page, synthesise


def read(grey: np.ndarray, *levels: float) -> np.ndarray:
    """Signal of each row, px below the picture's top."""
    return thin_line(follow_rows(*ink(grey), level_rows(*levels), 4.0))[2]


def test_a_line_is_followed_to_half_a_pixel() -> None:
    line = 100 + 20 * np.sin(np.arange(WIDTH) / 30)
    signal = read(picture_of(line), 100.0)[0]
    inner = slice(5, WIDTH - 5)
    assert np.nanmax(np.abs(signal[inner] - line[inner] - 1.0)) < 1.6
    assert np.isfinite(signal[inner]).all()


def test_a_wave_that_passes_the_next_row_stays_with_its_own() -> None:
    upper, lower = spiky(60, 0, 200), spiky(160, 130, 200)
    signal = read(picture_of(upper, lower), 60.0, 160.0)
    assert np.nanmin(signal[1, 190:211]) < 50  # the tip, above the upper row
    assert np.nanmin(signal[0, 190:211]) > 50  # the upper row has no wave there


def test_a_flank_of_which_only_parts_are_dark_enough_is_followed_to_its_end() -> None:
    grey = picture_of(np.full(WIDTH, 120.0))
    grey[40:122, 200:202] = 0  # a wave as wide as the pen ...
    for first, last in ((50, 53), (70, 71), (90, 112)):
        grey[first:last, 202] = 0  # ... which covers the next column by less than half
    darkness = darkness_of(grey)
    runs = runs_of(darkness >= ink_threshold(darkness))
    traces = follow_rows(darkness, runs, np.full((1, WIDTH), 121.0), 4.0)
    assert (traces.top[0, 202], traces.bottom[0, 202]) == (50, 122)
    assert traces.top[0, 203] == 120


def test_a_letter_that_all_but_touches_a_trace_is_no_flank() -> None:
    grey = picture_of(np.full(WIDTH, 120.0))
    grey[100:119, 200:202] = 0  # one row of white above the trace
    darkness = darkness_of(grey)
    runs = runs_of(darkness >= ink_threshold(darkness))
    traces = follow_rows(darkness, runs, np.full((1, WIDTH), 121.0), 4.0)
    assert np.nanmin(traces.top) == 120


def test_letters_beside_a_trace_are_not_read() -> None:
    grey = picture_of(np.full(WIDTH, 120.0))
    plain = read(grey, 120.0)
    grey[96:108, 50:53] = 0
    grey[96:108, 58:61] = 0
    grey[101:103, 50:61] = 0
    np.testing.assert_array_equal(read(grey, 120.0), plain)


def test_strokes_join_what_touches_diagonally_and_nothing_else() -> None:
    mask = np.zeros((10, 8), dtype=bool)
    mask[2, :4] = True
    mask[3, 4:] = True
    mask[7, :] = True
    runs = runs_of(mask)
    labels = stroke_labels(len(runs.x), *neighbours(runs))
    assert len(set(labels)) == 2
    assert len(set(labels[runs.top < 5])) == 1


def test_drawn_leads_follow_their_signal() -> None:
    recording = synthesise(Heart(), 12)
    page, truth = draw_page(recording, "strip-wide", 6, layout="3x4", interpretation=None)
    panel = find_panel(page_from_image(page))
    boxes = {box.name: box for box in truth.leads}
    for lead in panel.leads:
        box = boxes[lead.name]
        times = lead.start_s + (np.arange(len(lead.centre)) + 0.5) / len(lead.centre) * lead.seconds
        signal = recording.lead(lead.name)
        known = np.isfinite(lead.centre)
        assert known.mean() > 0.95
        fits = []
        for shift in (-0.02, -0.01, 0.0, 0.01, 0.02):
            shown = np.interp(times + shift, np.arange(len(signal)) / 500, signal)
            fits.append(np.corrcoef(shown[known], lead.centre[known])[0, 1])
        assert max(fits) > 0.94
        assert np.ptp(lead.centre[known]) == pytest.approx(np.ptp(shown), rel=0.15, abs=0.08)
        assert lead.start_s == pytest.approx(box.start_s, abs=0.05)


def test_lead_boxes_lie_on_the_leads() -> None:
    recording = synthesise(Heart(), 12)
    page, truth = draw_page(recording, "boston", 6, layout="6x2", interpretation=None)
    panel = find_panel(page_from_image(page))
    boxes = {box.name: box.quad for box in truth.leads}
    for lead in panel.leads:
        drawn = boxes[lead.name]
        assert np.abs(lead.box[:, 0] - drawn[:, 0]).max() < 3 * truth.px_per_mm
        assert abs(lead.box[:, 1].mean() - drawn[:, 1].mean()) < 6 * truth.px_per_mm
