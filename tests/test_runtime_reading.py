"""A reading is believed where it has reason to be, and what made it doubtful is looked at again."""

from __future__ import annotations

import math
from functools import cache

import numpy as np
import pytest

from runtime import area, panel, reading
from runtime.ink import darkness_of, ink_threshold
from runtime.page import page_from_image
from runtime.pulse import Pulse
from runtime.reading import Reading, _pulses_deny, _read_ink, _timed, read_upright
from runtime.rows import Rows
from train.draw import Heart, draw_page, synthesise


@cache
def darkness(layout: str) -> np.ndarray:
    page, _ = draw_page(synthesise(Heart(), 5), "report", 3, layout=layout, interpretation=None)
    return darkness_of(page_from_image(page).grey)


def read(layout: str) -> Reading:
    reading = read_upright(darkness(layout), captured=False)
    assert reading is not None
    return reading


def test_twelve_leads_that_agree_fit() -> None:
    reading = read("6x2")
    assert reading.fits
    assert reading.coverage > 0.95


@pytest.mark.parametrize(("captured", "layout"), [(True, "unknown"), (False, "6x2")])
def test_rows_of_a_scan_that_go_on_behind_their_ends_are_none(
    captured: bool, layout: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "go_on", lambda *_: True)
    found = read_upright(darkness("6x2"), captured=captured)
    assert found is not None
    assert found.layout == layout
    assert len(found.leads) == (0 if captured else 12)


def test_traces_too_small_for_a_page_do_not_fit() -> None:
    assert not read("6x2")._replace(px_per_mm=1.2).fits


def test_rows_that_are_too_long_may_begin_late_or_end_early() -> None:
    """By 7 mm: a frame beside them, or a noisy start."""
    rows, mm = read("6x2").rows, read("6x2").px_per_mm
    whole = rows.left, rows.left + 257 * mm
    late, early = _timed(rows._replace(left=whole[0], right=whole[1], pulses=()), mm)
    assert (late.left, late.right) == (pytest.approx(whole[1] - 250 * mm), whole[1])
    assert (early.left, early.right) == (whole[0], pytest.approx(whole[0] + 250 * mm))


@pytest.mark.parametrize("length", [230.0, 275.0])
def test_rows_whose_length_no_frame_explains_begin_late_or_early(length: float) -> None:
    """Half a page may fit by chance when its rows are cut where that suits them."""
    rows, mm = read("6x2").rows, read("6x2").px_per_mm
    (only,) = _timed(rows._replace(right=rows.left + length * mm, pulses=()), mm)
    assert only.right == rows.left + length * mm


@pytest.mark.parametrize("side", ["left", "right"])
def test_the_laws_tell_on_which_side_rows_are_too_long(
    side: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = read("3x4")
    grown = 7 * whole.px_per_mm * np.array([side == "left", side == "right"])
    refined = reading.refine_rows

    def longer(*args, **options):
        rows = refined(*args, **options)
        return rows._replace(left=rows.left - grown[0], right=rows.right + grown[1], pulses=())

    monkeypatch.setattr(reading, "refine_rows", longer)
    found = read("3x4")
    assert found.layout == "3x4"
    assert found.rows.left == pytest.approx(whole.rows.left, abs=1.5 * whole.px_per_mm)


def test_traces_of_a_page_on_its_side_do_not_fit() -> None:
    """They agree by chance, but much of them is missing."""
    reading = read("6x2")
    leads = []
    for lead in reading.leads:
        top = lead.top.copy()
        top[::4] = np.nan
        leads.append(lead._replace(top=top))
    assert not reading._replace(leads=tuple(leads)).fits


def test_rows_that_the_grids_lines_end_among_are_read_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Noise hides the lines of a scan; the layout that lacks its last row tells nothing."""
    levels = read("12x1").rows.levels
    followed = area.extent_of_lines

    def lost(dark, mask, core, mm):
        ends = followed(dark, mask, core, mm)
        down = dark.shape[0] == len(darkness("12x1"))
        return (ends[0], float(levels[-1]) - 5) if down and ends else ends

    monkeypatch.setattr(area, "extent_of_lines", lost)
    reading = read_upright(darkness("12x1"), captured=True)
    assert reading is not None
    assert reading.layout == "12x1"
    assert reading.area.bottom > levels[-1]


def test_the_first_reading_of_a_slanted_page_is_the_last_resort(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first = read("12x1")._replace(fit=0.4)  # not convincing; nothing later is
    readings = iter([first])
    monkeypatch.setattr(panel, "read_upright", lambda *_, **__: next(readings, None))
    slanted = np.zeros((400, 600), np.uint8)
    for x in range(600):
        slanted[100 + x // 20 :: 60, x][:4] = 200
    page = page_from_image(panel.Image.fromarray(255 - slanted))
    found = panel.find_panel(page)
    assert found.layout == "12x1"
    assert len(found.leads) == 12


def holey(reading: Reading) -> Reading:
    """A reading of which a third of the leads' columns has no ink."""
    gaps = (lead.top.copy() for lead in reading.leads)
    leads = []
    for lead, top in zip(reading.leads, gaps, strict=True):
        top[::3] = np.nan
        leads.append(lead._replace(top=top))
    return reading._replace(leads=tuple(leads))


@pytest.mark.parametrize(
    ("layout", "fit", "soft_fit", "looked_at_again", "taken"),
    [
        ("6x2", 0.2, 0.05, True, True),
        ("6x2", 0.2, 0.3, True, False),
        ("6x2", 0.2, math.nan, True, False),
        ("6x2", 0.05, 0.01, False, False),
        ("12x1", 0.2, 0.05, False, False),
    ],
)
def test_scans_whose_leads_hardly_fit_are_read_softened_too(
    layout: str,
    fit: float,
    soft_fit: float,
    looked_at_again: bool,
    taken: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sharp, soft = read(layout)._replace(fit=fit), read(layout)._replace(fit=soft_fit)
    pictures = []
    monkeypatch.setattr(
        panel, "read_upright", lambda picture, **_: pictures.append(picture) or soft
    )
    found = panel._joined(sharp, darkness(layout), flat=False)
    assert found is (soft if taken else sharp)
    assert len(pictures) == looked_at_again
    assert not any(np.array_equal(picture, darkness(layout)) for picture in pictures)


def test_a_late_look_keeps_to_the_layout_that_was_told() -> None:
    late, told = read("6x2")._replace(fit=0.2), read("12x1")._replace(fit=0.6)
    assert panel._believed(late, 0, [])
    assert panel._believed(late, 0, [told._replace(layout="6x2")])
    assert not panel._believed(late, 0, [told])
    assert not panel._believed(late, 90, [])
    assert not panel._believed(None, 0, [])


def test_a_late_look_that_is_certain_is_believed() -> None:
    """A heart of low voltage: its rows lie still, and the page on its side fits by chance."""
    late, told = read("6x2")._replace(fit=0.05), read("12x1")._replace(fit=0.6)
    assert panel._believed(late, 0, [told])
    assert panel._believed(late, 90, [told])
    assert not panel._believed(holey(late), 0, [told])


def test_what_is_full_of_gaps_tells_no_layout() -> None:
    late, told = read("6x2")._replace(fit=0.2), read("12x1")._replace(fit=0.05)
    assert panel._believed(late, 0, [holey(told)])


@pytest.mark.parametrize(
    ("layout", "convincing", "told"),
    [("12x1", 0.25, True), ("6x2", 0.25, False), ("6x2", 0.0, True)],
)
def test_a_limb_lead_that_is_hidden_is_told_on_crowded_or_doubtful_pages(
    layout: str, convincing: float, told: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On others that agree the leads stay as the models saw them."""
    monkeypatch.setattr("runtime.reading.CONVINCING_FIT", convincing)
    whole = read(layout)
    row, x = 4, int(whole.rows.left + 0.31 * (whole.rows.right - whole.rows.left))
    level = int(whole.rows.levels[row])
    blotted = darkness(layout).copy()
    reach = round(2 * whole.px_per_mm)
    blotted[level - reach : level + reach, x : x + 8] = 0
    reading = read_upright(blotted, captured=False)
    assert reading is not None
    lead = reading.leads[[one.name for one in reading.leads].index("aVL")]
    first = x - round(lead.box[0, 0])
    assert np.isnan(lead.top[first + 1 : first + 7]).all()
    assert np.isfinite(lead.centre[first + 1 : first + 7]).all() == told
    true = whole.leads[[one.name for one in whole.leads].index("aVL")].centre
    if told:
        seen = slice(first + 1, first + 7)
        assert lead.centre[seen] == pytest.approx(true[seen], abs=0.1)


def test_a_grid_that_the_calibration_pulses_deny_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of a JPEG repeat as a grid does; the pulses are 10 mm high at the assumed scale."""
    page, truth = draw_page(
        synthesise(Heart(), 5), "plain", 3, layout="6x2", speed_mm_s=25.0, gain_mm_mv=10.0
    )
    assert (truth.grid, truth.pulse) == ("none", True)
    dark = darkness_of(page_from_image(page).grey)
    honest = read_upright(dark, captured=False)
    assert honest is not None
    assert honest.scale_source == "assumed"
    wrong = 1.23 * honest.px_per_mm
    monkeypatch.setattr(reading, "_grid_scale", lambda *_: (wrong, wrong))
    misled = read_upright(dark, captured=False)
    assert misled is not None
    assert misled.px_per_mm == honest.px_per_mm
    monkeypatch.setattr(reading, "_grid_scale", lambda *_: (1.02 * honest.px_per_mm,) * 2)
    close = read_upright(dark, captured=False)
    assert close is not None
    assert close.scale_source == "grid"


def test_a_page_is_read_whose_grid_is_as_dark_as_ink() -> None:
    page, truth = draw_page(synthesise(Heart(), 5), None, 700_032, layout="3x4+3")
    dark = darkness_of(page_from_image(page).grey)
    threshold = ink_threshold(dark)
    misled = _read_ink(dark, threshold, 0, captured=False, flat=False)
    assert truth.style == "azure"
    assert misled is None or misled.layout == "unknown"
    found = read_upright(dark, captured=False)
    assert found is not None
    assert found.fits
    assert (found.layout, found.fit < 0.05) == ("3x4+3", True)


@pytest.mark.parametrize(("scale", "denied"), [(4.25, False), (5.5, True)])
def test_pulses_deny_no_grid_that_the_length_of_the_rows_confirms(
    scale: float, denied: bool
) -> None:
    """A pulse of 47 px has 11 mm at the one scale and 8.5 mm at the other; at the rows', 10.6."""
    pulse = Pulse(80, 108, 47.0)
    rows = Rows(np.zeros((1, 1300)), np.zeros(1), 121.0, 1227.0, (pulse,))
    assert _pulses_deny(rows, scale) == denied
