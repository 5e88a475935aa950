"""Changing training pages without changing what they mean."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.page import page_from_image
from runtime.panel import find_panel
from runtime.preprocess import SUBSAMPLES, Preprocess
from train.augment import (
    NO_AUGMENTATION,
    PictureAugmentation,
    SignalAugmentation,
    draw,
    vary,
    vary_picture,
)
from train.draw import draw_page, heart_of_class, synthesise

SMALL = Preprocess(cell_height=16, cell_width=32)
SAMPLES = 32 * SUBSAMPLES + 1


def signals(seed: int, n: int = 2) -> np.ndarray:
    """Signals [n, 12, samples] mV that wander within their cells."""
    rng = np.random.default_rng(seed)
    walk = np.clip(0.1 * rng.standard_normal((n, 12, SAMPLES)).cumsum(axis=2), -1.0, 1.0)
    return walk.astype(np.float32)


def test_page_is_drawn_exactly_as_the_device_draws_it() -> None:
    """Signals kept by train, drawn by train, equal runtime's tensor of the same page."""
    page, _ = draw_page(synthesise(heart_of_class("normal", 1), 1), "report", 1, layout="3x4+1")
    panel = find_panel(page_from_image(page))
    preprocess = Preprocess()
    again = draw(preprocess.signals(panel.leads)[None], preprocess)[0]
    assert np.array_equal(again, preprocess.tensor(panel))


def test_no_augmentation_changes_nothing() -> None:
    before = signals(1)
    before[0, 3, 5:9] = np.nan
    after = vary(before, SMALL, NO_AUGMENTATION, np.random.default_rng(0))
    assert np.allclose(after, before, atol=1e-6, equal_nan=True)


def test_same_generator_state_gives_the_same_changes() -> None:
    a, b = (
        vary(signals(1), SMALL, SignalAugmentation(), np.random.default_rng(5)) for _ in range(2)
    )
    assert np.array_equal(a, b, equal_nan=True)
    assert not np.array_equal(a, signals(1), equal_nan=True)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000))
def test_varied_pages_stay_pages(seed: int) -> None:
    rng = np.random.default_rng(seed)
    page = draw(vary(signals(seed), SMALL, SignalAugmentation(), rng), SMALL)
    assert page.shape == (2, 48, 128, 1)
    assert page.dtype == np.float32
    assert 0.0 <= page.min() <= page.max() <= 1.0


def test_gain_scales_about_the_baseline() -> None:
    before = signals(2)
    after = vary(before, SMALL, replace(NO_AUGMENTATION, gain=0.2), np.random.default_rng(3))
    strong = np.abs(before) > 0.2
    for page in range(2):
        ratio = after[page][strong[page]] / before[page][strong[page]]
        assert ratio.std() < 1e-5
        assert 0.001 < abs(ratio.mean() - 1) < 0.2


def test_all_leads_move_together_in_time() -> None:
    before = np.repeat(signals(4, 1)[:, :1], 12, axis=1)
    options = replace(NO_AUGMENTATION, time_shift_s=0.5)
    after = vary(before, SMALL, options, np.random.default_rng(1))
    for lead in range(1, 12):
        assert np.array_equal(after[0, lead], after[0, 0], equal_nan=True)
    assert np.isnan(after[0, 0]).any()


@pytest.mark.parametrize(
    ("flip", "expected"),
    [
        ({"flip_time": 1.0}, lambda values: values[..., ::-1]),
        ({"flip_polarity": 1.0}, lambda values: -values),
    ],
)
def test_flips_mirror_and_are_off_by_default(flip: dict, expected) -> None:
    options = replace(NO_AUGMENTATION, **flip)
    after = vary(signals(3), SMALL, options, np.random.default_rng(0))
    assert np.allclose(after, expected(signals(3)), atol=1e-5)
    assert SignalAugmentation().flip_time == SignalAugmentation().flip_polarity == 0.0


def test_missing_leads_leave_their_cells_empty() -> None:
    options = replace(NO_AUGMENTATION, lead_dropout=1.0)
    after = vary(signals(1), SMALL, options, np.random.default_rng(0))
    assert np.isnan(after).all()
    assert draw(after, SMALL).max() == 0.0


def test_varied_picture_keeps_shape_and_range_and_follows_its_generator() -> None:
    picture = np.ones((64, 64), np.float32)
    picture[20:24, 10:50] = 0.0
    a, b = (
        vary_picture(picture, PictureAugmentation(), np.random.default_rng(9)) for _ in range(2)
    )
    assert a.shape == (64, 64)
    assert a.dtype == np.float32
    assert 0.0 <= a.min() < a.max() <= 1.0
    assert np.array_equal(a, b)
    flipped = vary_picture(
        picture,
        PictureAugmentation(0, 0, 0, 0, 0, 0, 0, 0, flip_horizontal=1.0),
        np.random.default_rng(0),
    )
    assert np.allclose(flipped, picture[:, ::-1], atol=1e-5)
