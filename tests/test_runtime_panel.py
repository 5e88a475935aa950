"""The panel is found wherever and however a page lies, and nothing beside it is read."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

from runtime.ink import runs_of
from runtime.page import Page, open_document, page_from_image
from runtime.panel import LAYOUTS, Panel, find_panel
from runtime.plausibility import margin_mm, measure_leads
from runtime.preprocess import Preprocess
from runtime.rows import find_rows, go_on, long_strokes, refine_rows
from runtime.strokes import strokes_of
from train.draw import (
    Heart,
    Recording,
    Truth,
    draw_page,
    encode_page,
    heart_of_class,
    synthesise,
)
from train.reading.geometry import overlap


@cache
def recording() -> Recording:
    return synthesise(Heart(), 5)


@cache
def drawn(style: str, layout: str, capture: str = "clean") -> tuple[Image.Image, Truth]:
    return draw_page(recording(), style, 3, layout=layout, capture=capture, interpretation=None)


@cache
def found(style: str, layout: str, capture: str = "clean") -> tuple[Panel, Truth]:
    page, truth = drawn(style, layout, capture)
    return find_panel(page_from_image(page)), truth


def worst_corner(panel: Panel, truth: Truth) -> float:
    """Largest distance of a corner from the truth, in mm of the paper."""
    return float(np.abs(panel.quad - truth.panel).max() / truth.px_per_mm)


@pytest.mark.parametrize("style", ["report", "strip-wide", "azure", "plain"])
def test_panel_of_a_clean_page_is_found_to_the_millimetre(style: str) -> None:
    panel, truth = found(style, "3x4+1")
    assert worst_corner(panel, truth) < 8.0
    assert panel.rotation == 0
    assert abs(panel.skew_deg) < 0.3


@pytest.mark.parametrize("style", ["report", "verde", "coarse"])
def test_scale_is_read_from_the_grid(style: str) -> None:
    panel, truth = found(style, "3x4+1")
    assert panel.scale_source == "grid"
    assert panel.px_per_mm == pytest.approx(truth.px_per_mm, rel=0.01)


def test_scale_is_told_as_assumed_or_from_a_pulse_without_grid() -> None:
    panel, truth = found("plain", "3x4+1")
    assert panel.scale_source in ("assumed", "pulse")
    assert panel.px_per_mm == pytest.approx(truth.px_per_mm, rel=0.03)


@pytest.mark.parametrize("gain", [5.0, 10.0, 20.0])
def test_gain_is_read_from_the_calibration_pulse(gain: float) -> None:
    page, _ = draw_page(recording(), "strip-wide", 3, layout="3x4", gain_mm_mv=gain)
    panel = find_panel(page_from_image(page))
    lead = next(lead for lead in panel.leads if lead.name == "I")
    shown = recording().lead("I")[:1250]
    height = np.nanmax(lead.top) - np.nanmin(lead.bottom)
    assert height == pytest.approx(np.ptp(shown), rel=0.15)


@pytest.mark.parametrize("turn", [90, 180, 270])
def test_turned_page_is_set_upright(turn: int) -> None:
    page, truth = drawn("strip-wide", "3x4+1")
    panel = find_panel(page_from_image(page.rotate(-turn, expand=True)))
    assert panel.rotation == turn
    assert panel.layout == truth.layout
    assert len(panel.leads) == 12


def test_slant_is_measured_and_taken_out() -> None:
    page, truth = drawn("boston", "3x4+1")
    slanted = page.rotate(-4.0, expand=True, fillcolor="white", resample=Image.Resampling.BICUBIC)
    panel = find_panel(page_from_image(slanted))
    assert panel.skew_deg == pytest.approx(4.0, abs=0.3)
    assert panel.layout == truth.layout
    assert panel.px_per_mm == pytest.approx(truth.px_per_mm, rel=0.02)


def test_photo_with_perspective_and_shadow_is_read() -> None:
    panel, truth = found("boston", "3x4", "photo")
    assert panel.layout == "3x4"
    assert panel.rotation == truth.orientation
    assert panel.px_per_mm == pytest.approx(truth.px_per_mm, rel=0.03)


@pytest.mark.parametrize("style", ["plain", "report-plain"])
@pytest.mark.parametrize("level", [253, 244])
def test_off_white_paper_is_not_taken_for_a_grid(style: str, level: int) -> None:
    page, truth = drawn(style, "6x2+1")
    panel = find_panel(page_from_image(page.convert("L").point(lambda v: v * level // 255)))
    assert panel.layout == "6x2+1"
    assert overlap(panel.quad, truth.panel) >= 0.9
    assert panel.px_per_mm == pytest.approx(truth.px_per_mm, rel=0.01)


@pytest.mark.parametrize("style", ["coarse", "strip-tall", "swift"])
def test_photographed_panel_ends_where_its_grid_does(style: str) -> None:
    """Header, blank sheet and noise beside a faint grid move its outline by no more than this."""
    panel, truth = found(style, "3x4+1", "photo")
    assert overlap(panel.quad, truth.panel) >= 0.95


def test_flat_lead_counts_as_a_row() -> None:
    """A lead I that shows its beats alone looks like a printed rule between them."""
    values = recording().values.copy()
    values[0] = np.where(np.abs(values[0]) > 0.3 * np.abs(values[0]).max(), values[0], 0)
    page, _ = draw_page(replace(recording(), values=values), "strip-wide", 3, layout="12x1")
    assert find_panel(page_from_image(page)).layout == "12x1"


def test_leads_as_flat_as_a_printed_rule_are_read() -> None:
    """A heart of low voltage in the limb leads: 0.1 mV, a millimetre of paper."""
    values = recording().values.copy()
    values[:6] *= 0.1 / np.ptp(values[:6], axis=1).max()
    page, _ = draw_page(replace(recording(), values=values), "swift", 3, layout="12x1")
    panel = find_panel(page_from_image(page))
    assert (panel.layout, panel.rotation) == ("12x1", 0)


def test_flat_rows_below_the_others_are_not_left_out() -> None:
    """What is above them would fit as six rows of two leads and a rhythm strip."""
    values = recording().values.copy()
    values[10:] *= 0.05 / np.ptp(values[10:], axis=1).max()
    page, _ = draw_page(replace(recording(), values=values), "azure", 3, layout="12x1")
    assert find_panel(page_from_image(page)).layout == "12x1"


def test_specks_of_a_broken_line_are_joined() -> None:
    """A fax leaves every third pixel of a thin line."""
    page, truth = drawn("plain", "3x4")
    grey = np.array(page.convert("L"))
    y, x = np.indices(grey.shape)
    panel = find_panel(page_from_image(Image.fromarray(np.where((x + y) % 3 == 0, grey, 255))))
    assert panel.layout == truth.layout
    assert len(panel.leads) == 12


def faxed(style: str, number: int, layout: str) -> tuple[Page, Panel]:
    """A page as the fax machine gives it, and its panel."""
    page = draw_page(recording(), style, number, layout=layout, capture="fax", interpretation=None)
    with open_document(encode_page(*page)[0]) as document:
        read = document.read(1)
    return read, find_panel(read)


def test_waves_that_tangle_on_six_rows_are_told_apart() -> None:
    """R waves of 5 mV go through two other rows."""
    heart = synthesise(heart_of_class("myocardial_infarction", 1), 1)
    large = replace(heart, values=3 * heart.values)
    page, _ = draw_page(large, "report", 3, layout="6x2+1", interpretation=None)
    assert find_panel(page_from_image(page)).layout == "6x2+1"


def test_rows_that_begin_along_a_slanted_line_are_read_as_of_one_time() -> None:
    """A fax without grid: nothing but the leads' laws tells that it is a little turned."""
    _, panel = faxed("plain", 1, "3x4")
    assert panel.layout == "3x4"
    assert measure_leads(panel.leads).limb_residual < 0.5


def test_a_grid_that_is_lost_among_the_traces_does_not_end_them() -> None:
    page, panel = faxed("coarse", 8, "6x2")
    assert panel.layout == "6x2"
    assert margin_mm(page, panel) > 15.0


def levels_found(levels: Sequence[int], height: int = 1000) -> list[float]:
    """Baselines of the rows that are found where wavy lines lie on these levels."""
    mask = np.zeros((height, 800), dtype=bool)
    x = np.arange(40, 760)
    for level in levels:
        y = (level + 6 * np.sin(x / 9)).astype(int)
        mask[y, x] = mask[y + 1, x] = True
    rows = find_rows(runs_of(mask), mm=3.0)
    assert rows is not None
    return rows.levels.tolist()


def test_a_line_far_below_the_rows_is_none_of_them() -> None:
    """The edge of a sheet looks like one more trace."""
    found = levels_found([60, 120, 180, 240, 300, 360, 900])
    assert found == pytest.approx([60, 120, 180, 240, 300, 360], abs=8)


@pytest.mark.parametrize("hidden", [(5,), (3, 8)])
def test_rows_that_waves_hide_are_where_twelve_even_rows_lack_them(hidden: tuple[int, ...]) -> None:
    levels = np.arange(60, 780, 60)
    found = levels_found(np.delete(levels, hidden).tolist(), height=800)
    assert found == pytest.approx(levels.tolist(), abs=8)


def test_a_fold_between_two_rows_is_none_of_them() -> None:
    """Five rows are no layout; four evenly spaced ones are."""
    rows = [200, 330, 460, 590]
    assert levels_found([*rows[:3], 540, rows[3]]) == pytest.approx(rows, abs=8)


def test_many_more_rows_than_carts_print_are_left_as_they_are() -> None:
    rows = [100, 130, *range(160, 160 + 13 * 60, 60)]
    assert len(levels_found(rows)) == len(rows)


def test_a_number_of_rows_that_carts_print_is_left_as_it_is() -> None:
    rows = [200, 330, 460, 540, 590, 720]
    assert levels_found(rows) == pytest.approx(rows, abs=8)


def test_rows_that_make_no_twelve_are_left_as_they_are() -> None:
    levels = [60, 120, 180, 240, 360, 420, 480, 540, 600, 660]  # one gap of two: eleven rows
    assert levels_found(levels, height=800) == pytest.approx(levels, abs=8)


def test_light_traces_on_a_dark_ground_are_read() -> None:
    page, truth = drawn("plain", "3x4+1")
    inverted = Image.fromarray(255 - np.asarray(page.convert("L")))
    panel = find_panel(page_from_image(inverted))
    assert panel.layout == truth.layout
    assert len(panel.leads) == 12


def test_blank_header_and_footer_change_no_tensor() -> None:
    page, _ = drawn("report", "3x4+1")
    stream = io.BytesIO()
    page.save(stream, "PNG")
    with open_document(stream.getvalue()) as document:
        whole = document.read(1)
    panel = find_panel(whole)
    top, bottom = panel.quad[:, 1].min() * whole.scale, panel.quad[:, 1].max() * whole.scale
    grey = whole.grey.copy()
    assert (grey[: int(top) - 2] < 128).any()  # there is print to blank
    grey[: int(top) - 2] = 255
    grey[int(bottom) + 3 :] = 255
    preprocess = Preprocess()
    blanked = preprocess.tensor(find_panel(whole._replace(grey=grey)))
    assert np.abs(preprocess.tensor(panel) - blanked).max() <= 1 / 255


@pytest.mark.parametrize("level", [0, 128, 255])
def test_blank_page_is_told_as_such(level: int) -> None:
    page = Page(np.full((700, 1000), level, dtype=np.uint8), 1.0, (1000, 700))
    panel = find_panel(page)
    assert panel.layout == "unknown"
    assert panel.leads == ()
    assert panel.reasons == ("no ECG trace found",)
    assert panel.quad.shape == (4, 2)


def test_single_strip_is_no_twelve_lead_page() -> None:
    panel, _ = found("strip-wide", "single")
    assert panel.layout in ("single", "unknown")
    assert panel.leads == ()
    assert panel.reasons


@given(
    arrays.arrays(
        np.uint8,
        st.tuples(st.integers(1, 48), st.integers(1, 48)),
        elements=st.integers(0, 255),
    )
)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_no_small_picture_crashes_the_reading(grey: np.ndarray) -> None:
    height, width = grey.shape
    panel = find_panel(Page(grey, 1.0, (width, height)))
    assert panel.layout in LAYOUTS
    tensor = Preprocess().tensor(panel)
    assert np.isfinite(tensor).all()


@pytest.mark.parametrize(
    "beside",
    [
        "nothing",
        "specks of a grid",
        "a frame",
        "a broken frame before them",
        "late pulses",
        "the desk",
    ],
)
def test_rows_end_with_their_traces(beside: str) -> None:
    levels, mm = np.array([40.0, 100.0, 160.0, 220.0]), 4.0
    mask = np.zeros((260, 400), dtype=bool)
    for level in levels.astype(int):
        for x in range(20, 321):
            y = level - round(20 * max(0.0, 1 - abs(x % 60 - 30) / 5))
            mask[y : y + 3, x] = True
            mask[y : level + 3, x] |= y < level - 2
        if beside == "specks of a grid":
            mask[level : level + 2, 324:380:4] = True
    if beside == "a frame":
        mask[10:250, 324:329] = True
    if beside == "a broken frame before them":
        for level in levels.astype(int):  # each piece crosses one baseline only
            mask[level - 20 : level + 30, 4:7] = True
            mask[level + 22 : level + 30, 4:80] = True  # with a bar below it
    if beside == "late pulses":  # across the quarter of the picture that is looked at first
        mask = np.pad(mask, ((0, 0), (100, 20)))
        mask[:, :121] = False
        for level in levels.astype(int):
            mask[level : level + 3, 112:118] = True
            mask[level - 40 : level + 3, [118, 119, 137, 138]] = True
            mask[level - 40 : level - 37, 118:139] = True
            mask[level : level + 3, 137:142] = True
            mask[level - 36 : level, 121:136] = False
            mask[level : level + 3, 120:137] = False
    if beside == "the desk":  # dark wood beside the sheet
        mask = np.pad(mask, ((0, 0), (0, 200)))
        mask[:, 420:600] = np.random.default_rng(1).random((260, 180)) < 0.5
    strokes = strokes_of(runs_of(mask))
    captured = beside == "the desk"
    rows = refine_rows(strokes, long_strokes(strokes, mm), levels, mm, captured=captured)
    late = beside == "late pulses"
    assert rows.left == pytest.approx(139.0 if late else 20.0, abs=3 if late else 0)
    assert rows.right == (421.0 if late else 321.0)


@pytest.mark.parametrize(
    ("begins", "ends", "goes_on"),
    [(20, 780, False), (70, 780, False), (20, 740, False), (20, 500, True), (360, 780, True)],
)
def test_rows_that_end_among_their_traces_go_on(begins: int, ends: int, goes_on: bool) -> None:
    """What is as short as a pulse before them, or as some letters behind them, is no trace."""
    mask = np.zeros((260, 1000), dtype=bool)
    x = np.arange(20, 780)
    for level in (40, 100, 160, 220):
        y = level + np.rint(6 * np.sin(x / 9)).astype(int)
        mask[y, x] = mask[y + 1, x] = x % 40 > 3  # in pieces
    strokes = strokes_of(runs_of(mask))
    levels = np.array([40.0, 100.0, 160.0, 220.0])
    rows = refine_rows(strokes, strokes.runs, levels, mm=4.0)
    assert go_on(strokes, rows._replace(left=begins, right=ends), mm=4.0) == goes_on


@pytest.mark.parametrize("desk", [0, 400])
def test_a_frame_below_the_last_row_is_not_its_baseline(desk: int) -> None:
    """On a photo the sheet fills a part of the picture."""
    levels, mm = np.array([60.0, 140.0]), 4.0
    mask = np.zeros((240, 640), dtype=bool)
    x = np.arange(40, 600)
    for level in levels:
        y = (level - 50 * np.maximum(0, 1 - np.abs(x % 80 - 40) / 9)).astype(int)
        for column, place in zip(x, y, strict=True):
            mask[place : place + 3, column] = True
    mask[176:182, 20:620] = True  # thicker than the trace: more ink in each strip
    mask[20:182, [20, 21, 618, 619]] = True
    mask = np.pad(mask, ((0, 0), (0, desk)))
    strokes = strokes_of(runs_of(mask))
    rows = refine_rows(strokes, long_strokes(strokes, mm), levels, mm)
    assert np.abs(rows.baselines[1, 60:580] - 141).max() < 6


def test_a_broken_frame_behind_the_traces_may_be_left_out() -> None:
    levels, mm = np.array([40.0, 100.0, 160.0, 220.0]), 4.0
    mask = np.zeros((260, 400), dtype=bool)
    for level in levels.astype(int):
        for x in range(20, 321):
            y = level - round(20 * max(0.0, 1 - abs(x % 60 - 30) / 5))
            mask[y : level + 3, x] = True
    mask[190:250, 340:343] = mask[240:250, 260:343] = True  # a piece of it crosses one baseline
    strokes = strokes_of(runs_of(mask))
    rows = refine_rows(strokes, long_strokes(strokes, mm), levels, mm)
    assert (rows.right, rows.right - rows.spare) == (343.0, 321.0)
