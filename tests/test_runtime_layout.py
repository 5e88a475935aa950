"""The layout is told from the rows and from Einthoven's law, or told to be unknown."""

from __future__ import annotations

import numpy as np
import pytest

from runtime.layout import (
    ARRANGEMENTS,
    LAYOUTS,
    UPSIDE_DOWN,
    _has_beats,
    _Motion,
    choose_layout,
    disagreement,
    fits_better,
    slant_of,
)
from runtime.page import page_from_image
from runtime.panel import find_panel
from train.draw import Heart, draw_page, synthesise

RECORDING = synthesise(Heart(), 8)


def rows_of(layout: str) -> np.ndarray:
    """Rows of a layout as millivolts, every row 10 s long."""
    arrangement = ARRANGEMENTS[layout]
    length = 5000 // arrangement.columns
    rows = [
        np.concatenate(
            [RECORDING.lead(name)[k * length : (k + 1) * length] for k, name in enumerate(names)]
        )
        for names in arrangement.leads
    ]
    rows += [RECORDING.lead(name)[:5000] for name in ("V1", "II", "V5")[: arrangement.rhythm_rows]]
    return np.stack(rows).astype(np.float64)


@pytest.mark.parametrize("layout", list(ARRANGEMENTS))
def test_rows_of_a_layout_name_it(layout: str) -> None:
    choice = choose_layout(rows_of(layout))
    assert choice.layout == layout
    assert choice.first == 0
    assert choice.fit < 0.1


@pytest.mark.parametrize("layout", list(ARRANGEMENTS))
def test_upside_down_rows_fit_better_turned(layout: str) -> None:
    choice = choose_layout(-rows_of(layout)[::-1, ::-1])
    assert choice.upside_down < choice.fit


def test_three_rhythm_strips_are_not_taken_for_six_rows_of_leads() -> None:
    rows = rows_of("3x4+3")
    assert disagreement(rows, ARRANGEMENTS["6x2"]) > 0.4
    assert disagreement(rows, ARRANGEMENTS["3x4+3"]) < 0.1


def test_a_row_that_is_no_trace_is_left_out() -> None:
    rows = rows_of("3x4+1")
    edge = np.linspace(0.0, 0.1, rows.shape[1])[None]
    choice = choose_layout(np.concatenate([edge, rows]))
    assert (choice.layout, choice.first) == ("3x4+1", 1)


def test_a_frame_is_no_row_of_four_leads() -> None:
    """Above I and II that hardly differ, a flat row passes for lead I and these for II and III."""
    rows = rows_of("3x4")
    quarter = rows.shape[1] // 4
    rows[2, : 2 * quarter] *= 0.1
    rows[1, :quarter] = rows[0, :quarter] + rows[2, :quarter]
    rows[1, quarter : 2 * quarter] = -(rows[0] + rows[2])[quarter : 2 * quarter]
    rows[:, : 2 * quarter] += np.random.default_rng(3).normal(0, 0.02, (3, 2 * quarter))
    framed = np.concatenate([np.zeros((1, rows.shape[1])), rows])
    assert disagreement(framed, ARRANGEMENTS["3x4+1"]) < 0.25
    choice = choose_layout(framed)
    assert (choice.layout, choice.first) == ("3x4", 1)


def test_a_slanted_line_is_no_row_of_two_leads() -> None:
    """A scan's header rule rises by more than a flat lead does, but it rises evenly."""
    rows = rows_of("6x2")
    rows[2] = 0.05 * rows[2]  # a flat row of trace
    assert _has_beats(_Motion(rows), 0, ARRANGEMENTS["6x2"])
    rows[2] = np.linspace(-0.2, 0.2, rows.shape[1])
    assert not _has_beats(_Motion(rows), 0, ARRANGEMENTS["6x2"])


@pytest.mark.parametrize(("noise", "certain"), [(0.01, True), (0.04, False)])
def test_two_leads_a_row_are_not_taken_for_four_and_three_rhythm_strips(
    noise: float, certain: bool
) -> None:
    """Where lead II is flat, I + II + III is nought, and passes for the sum of the aV leads."""
    rows = rows_of("6x2")
    half = rows.shape[1] // 2
    one = rows[0, :half]
    rows[:, :half] = np.stack([one, 0 * one, -one, -0.5 * one, one, -0.5 * one])
    rng = np.random.default_rng(3)
    rows[:, :half] += rng.normal(0.0, noise, (6, half))
    fits = {name: disagreement(rows, ARRANGEMENTS[name]) for name in ("6x2", "3x4+3")}
    assert fits["3x4+3"] < fits["6x2"] < 0.25
    choice = choose_layout(rows)
    assert choice.layout == "6x2"
    assert (choice.upside_down == UPSIDE_DOWN) == certain


def test_a_rhythm_strip_of_low_voltage_is_one() -> None:
    rows = rows_of("3x4+1")
    rows[3] *= 0.1
    assert choose_layout(rows).layout == "3x4+1"


def test_a_line_of_print_is_no_rhythm_strip() -> None:
    """A footer has gaps between its words."""
    rows = rows_of("3x4+1")
    rows[3, 1700:4300] = np.nan
    choice = choose_layout(rows)
    assert (choice.layout, choice.first) == ("3x4", 0)


@pytest.mark.parametrize(
    ("fit", "than", "better"),
    [(0.1, 0.2, True), (0.2, 0.1, False), (0.1, np.nan, True), (np.nan, 0.1, False)],
)
def test_what_cannot_be_measured_fits_no_better(fit: float, than: float, better: bool) -> None:
    assert fits_better(fit, than) == better
    assert not fits_better(np.nan, np.nan)


@pytest.mark.parametrize("layout", ["3x4", "6x2+1", "12x1"])
@pytest.mark.parametrize("slant", [-0.05, -0.01, 0.0, 0.02])
def test_a_slant_of_the_rows_is_found(layout: str, slant: float) -> None:
    rows = rows_of(layout)[:, ::5]  # 1000 px wide
    levels = 100.0 * np.arange(len(rows))
    moved = np.stack(
        [np.roll(row, -round(slant * level)) for row, level in zip(rows, levels, strict=True)]
    )
    found, fit = slant_of(moved, levels, ARRANGEMENTS[layout])
    assert found == pytest.approx(slant, abs=0.0051)
    assert fit < 0.1


def test_rows_without_limb_leads_have_no_slant() -> None:
    rows = np.full((3, 1000), np.nan)
    slant, fit = slant_of(rows, np.array([0.0, 100.0, 200.0]), ARRANGEMENTS["3x4"])
    assert slant == 0.0
    assert np.isnan(fit)


def test_unrelated_rows_are_unknown_rather_than_guessed() -> None:
    names = ("II", "V1", "V5", "II", "V1", "V5")
    strips = np.stack([RECORDING.lead(name)[:5000] for name in names])
    assert choose_layout(strips.astype(np.float64)).layout == "unknown"


def test_a_number_of_rows_that_no_layout_has_is_unknown() -> None:
    rows = np.random.default_rng(0).normal(size=(2, 1000))
    assert choose_layout(rows).layout == "unknown"


def test_one_row_is_a_single_strip() -> None:
    assert choose_layout(rows_of("6x2")[:1]).layout == "single"


def test_traces_that_are_missing_cannot_be_measured() -> None:
    rows = np.full((3, 1000), np.nan)
    assert np.isnan(disagreement(rows, ARRANGEMENTS["3x4"]))
    assert choose_layout(rows).layout in LAYOUTS


@pytest.mark.parametrize("layout", ["3x4", "3x4+3", "6x2+1"])
def test_layout_of_a_drawn_page_is_recognised(layout: str) -> None:
    page, truth = draw_page(RECORDING, "strip-wide", 4, layout=layout, interpretation=None)
    panel = find_panel(page_from_image(page))
    assert panel.layout == truth.layout
    assert {lead.name for lead in panel.leads} == {
        name for names in ARRANGEMENTS[layout].leads for name in names
    }
