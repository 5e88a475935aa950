"""Drawn pages show what their truth says, whatever the style, layout and way in."""

from __future__ import annotations

import hashlib
import json

import numpy as np
import pytest
from PIL import Image

from runtime.labels import LEADS
from train.draw import CAPTURES, LAYOUTS, STYLES, Recording, Truth, draw_page, encode_page
from train.draw.capture import Fax, Photo, Scan
from train.draw.layout import cells_of
from train.draw.pen import Ink
from train.draw.synthesis import heart_of_class, synthesise


@pytest.fixture(scope="module")
def recording() -> Recording:
    return synthesise(heart_of_class("normal", 11), 11)


@pytest.mark.parametrize("layout", [name for name in LAYOUTS if name != "single"])
def test_every_layout_shows_all_twelve_leads(layout: str) -> None:
    cells = [cell for cell in cells_of(layout) if not cell.rhythm]
    assert sorted(cell.lead for cell in cells) == sorted(LEADS)


def test_columns_show_consecutive_stretches_of_time() -> None:
    starts = {cell.lead: cell.start_s for cell in cells_of("3x4") if not cell.rhythm}
    assert [starts[lead] for lead in ("I", "aVR", "V1", "V4")] == [0.0, 2.5, 5.0, 7.5]
    starts = {cell.lead: cell.start_s for cell in cells_of("6x2+1")}
    assert (starts["I"], starts["V1"]) == (0.0, 5.0)
    assert cells_of("6x2", speed_mm_s=50.0)[0].seconds == 2.5


def test_single_strip_shows_one_lead() -> None:
    assert len(cells_of("single")) == 1


@pytest.mark.parametrize("style", list(STYLES))
def test_ink_of_a_lead_lies_where_the_truth_puts_it(style: str) -> None:
    """A step of 1 mV at a known moment stands gain mm high, at its second, on its row."""
    values = np.zeros((12, 5000), np.float32)
    values[LEADS.index("II"), 600:650] = 0.5  # 1.2 s to 1.3 s
    page, truth = draw_page(values, style, 1, layout="3x4", interpretation=None)
    box = next(box for box in truth.leads if box.name == "II")
    assert (box.row, box.column) == (1, 0)
    left, top = box.quad[0]
    right, bottom = box.quad[2]
    middle = (top + bottom) / 2
    x = left + (right - left) * (1.25 - box.start_s) / box.seconds
    y = middle - 0.5 * truth.gain_mm_mv * truth.px_per_mm
    grey = np.asarray(page.convert("L")).astype(int)
    paper = int(np.median(grey))
    near = grey[round(y) - 3 : round(y) + 4, round(x) - 1 : round(x) + 2]
    assert near.min() < paper - 90
    assert truth.px_per_mm == pytest.approx(STYLES[style].px_per_mm, rel=0.01)


@pytest.mark.parametrize("style", list(STYLES))
def test_panel_lies_on_the_page_and_holds_all_leads(style: str, recording: Recording) -> None:
    page, truth = draw_page(recording, style, 2)
    assert truth.size == page.size
    assert truth.panel.min() >= 0
    assert (truth.panel.max(axis=0) <= page.size).all()
    for box in truth.leads:
        assert box.quad[0][0] >= truth.panel[0][0] - 1
        assert box.quad[1][0] <= truth.panel[1][0] + 1


def test_page_without_grid_has_its_panel_tight_around_the_ink(recording: Recording) -> None:
    _, truth = draw_page(recording, "report-plain", 2)
    assert truth.panel_source == "traces"
    np.testing.assert_array_equal(truth.panel, truth.traces)


@pytest.mark.parametrize("capture", CAPTURES)
def test_same_seed_gives_the_same_picture_byte_for_byte(capture: str, recording: Recording) -> None:
    digests = {
        hashlib.sha256(
            encode_page(*draw_page(recording, "strip-wide", 4, capture=capture))[0]
        ).hexdigest()
        for _ in range(2)
    }
    assert len(digests) == 1


_WAYS = {
    "turned-90": Scan(90, 2.0, 1.0, 0.0, 0.0, 1.0, 1.0, 255, False, 90),
    "upside-down": Scan(180, -3.0, 0.8, 0.0, 0.0, 1.0, 1.0, 255, True, 90),
    "fax-270": Fax(270, 1.0, 0.9, 150, False, 0.0),
    "photo": Photo(
        0, 5.0, 12.0, -10.0, 2.0, 1600, 0.9, (40, 40, 45), 1.0, 0.0, 0.5, 0.0,
        (1.0, 1.0, 1.0), (), 0.0, 0.0, 95,
    ),
}  # fmt: skip


@pytest.mark.parametrize("way", list(_WAYS))
def test_capture_carries_the_boxes_to_where_the_ink_has_gone(way: str) -> None:
    """A flat lead is a line through the middle of its box, wherever the capture put both."""
    values = np.zeros((12, 5000), np.float32)
    how = _WAYS[way]
    page, truth = draw_page(values, "plain", 3, capture=how, layout="3x4", interpretation=None)
    assert truth.orientation == how.turn
    if not isinstance(how, Photo):
        assert truth.skew_deg == pytest.approx(how.skew_deg, abs=0.1)
    grey = np.asarray(page.convert("L")).astype(int)
    paper = int(np.median(grey[grey > 120]))
    for box in truth.leads:
        for share in (0.55, 0.75):  # right of the label
            upper = box.quad[0] * (1 - share) + box.quad[1] * share
            lower = box.quad[3] * (1 - share) + box.quad[2] * share
            x, y = (upper + lower) / 2
            near = grey[round(y) - 3 : round(y) + 4, round(x) - 3 : round(x) + 4]
            assert near.min() < paper - 60, (box.name, share)


def test_scan_at_half_size_halves_the_scale(recording: Recording) -> None:
    half = Scan(0, 0.0, 0.5, 0.0, 0.0, 1.0, 1.0, 255, False, 90)
    _, clean = draw_page(recording, "report", 3)
    page, truth = draw_page(recording, "report", 3, capture=half)
    assert truth.px_per_mm == pytest.approx(clean.px_per_mm / 2, rel=0.005)
    assert page.width == pytest.approx(clean.size[0] / 2, abs=2)


def test_fax_threshold_that_wipes_the_grid_leaves_the_traces_as_panel(
    recording: Recording,
) -> None:
    page, truth = draw_page(recording, "boston", 3, capture=Fax(0, 0.0, 1.0, 120, False, 0.0))
    assert page.mode == "1"
    assert (truth.grid, truth.panel_source) == ("none", "traces")


def test_truth_survives_the_round_trip_through_its_file(recording: Recording) -> None:
    _, truth = draw_page(recording, "azure", 9, capture="photo")
    again = Truth.from_record(json.loads(json.dumps(truth.to_record())))
    assert again.layout == truth.layout
    assert again.px_per_mm == pytest.approx(truth.px_per_mm, rel=1e-3)
    np.testing.assert_allclose(again.panel, truth.panel, atol=0.01)
    np.testing.assert_allclose(again.leads[3].quad, truth.leads[3].quad, atol=0.01)
    with pytest.raises(ValueError, match="schema"):
        Truth.from_record({"schema": "something/else"})


def test_short_recording_leaves_paper_empty_instead_of_failing() -> None:
    page, truth = draw_page(np.zeros((12, 1000), np.float32), "report", 1, layout="12x1")
    assert isinstance(page, Image.Image)
    assert len(truth.leads) == 12


def test_printed_interpretation_tells_nothing_about_the_class(recording: Recording) -> None:
    printed = {draw_page(recording, "strip-tall", s)[1].interpretation for s in range(3)}
    assert printed == {None}  # strips have no header
    printed = {draw_page(recording, "plain", s, layout="3x4")[1].interpretation for s in range(14)}
    assert len(printed) > 2


def test_unknown_layout_and_capture_are_refused(recording: Recording) -> None:
    with pytest.raises(ValueError, match="unknown layout"):
        draw_page(recording, "report", 1, layout="4x3")
    with pytest.raises(ValueError, match="unknown capture"):
        draw_page(recording, "report", 1, capture="microfilm")


def test_ink_of_a_flat_line_is_as_wide_as_the_pen() -> None:
    ink = Ink((100, 40), 4.0)
    ink.add_polyline(np.array([[10.0, 20.0], [90.0, 20.0]]))
    cover = np.asarray(ink.mask(smooth=True)).astype(float) / 255
    assert cover[:, 50].sum() == pytest.approx(4.0, abs=0.1)
    assert cover[:, 2].sum() == 0


@pytest.mark.parametrize("width", [1.1, 1.6, 2.0, 2.4, 3.0, 3.7, 5.0])
def test_ink_of_an_upright_line_is_as_wide_as_the_pen(width: float) -> None:
    ink = Ink((100, 80), width)
    ink.add_polyline(np.array([[50.5, 10.0], [50.5, 70.0]]))
    cover = np.asarray(ink.mask(smooth=True)).astype(float) / 255
    assert cover[40].sum() == pytest.approx(width, abs=0.3)
    assert cover[:, 50].sum() == pytest.approx(60.0 + width, abs=1.0)


def test_page_of_no_named_style_is_never_quite_like_another_cart(recording: Recording) -> None:
    pages = [draw_page(recording, None, seed) for seed in range(12)]
    papers = {page.getpixel((1, 1)) for page, _ in pages}
    assert len(papers) > 9
    assert {truth.style for _, truth in pages} <= set(STYLES)
    assert len({truth.style for _, truth in pages}) > 3
