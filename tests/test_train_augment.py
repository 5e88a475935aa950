"""Changing training pages without changing what they mean."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from train.augment import (
    NO_AUGMENTATION,
    PictureAugmentation,
    TensorAugmentation,
    draw,
    extents,
    vary,
    vary_picture,
)

HEIGHT, WIDTH = 16, 32


def traces(seed: int, n: int = 2) -> np.ndarray:
    """Extents [n, 12, 2, 32] of a line that wanders about the middle of each cell."""
    rng = np.random.default_rng(seed)
    centre = HEIGHT / 2 + np.clip(rng.standard_normal((n, 12, 1, WIDTH)).cumsum(axis=3), -5, 5)
    return np.concatenate([centre - 0.6, centre + 0.6], axis=2).astype(np.float32)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000))
def test_extents_of_a_drawn_tensor_are_those_it_was_drawn_from(seed: int) -> None:
    edges = traces(seed)
    edges[0, 3, :, 5:9] = np.nan
    values = np.rint(draw(edges, HEIGHT)[..., 0] * 255).astype(np.uint8)
    found = extents(values)
    assert np.array_equal(np.isnan(found), np.isnan(edges))
    assert np.nanmax(np.abs(found - edges)) < 0.01


def test_no_augmentation_changes_nothing() -> None:
    edges = traces(1)
    rng = np.random.default_rng(0)
    assert np.allclose(vary(edges, HEIGHT, NO_AUGMENTATION, rng), edges, atol=1e-4)


def test_same_generator_state_gives_the_same_changes() -> None:
    edges = traces(1)
    a, b = (vary(edges, HEIGHT, TensorAugmentation(), np.random.default_rng(5)) for _ in range(2))
    assert np.array_equal(a, b, equal_nan=True)
    assert not np.array_equal(a, edges, equal_nan=True)


def test_gain_scales_about_the_baseline_and_keeps_the_line_width() -> None:
    edges = traces(2)
    options = replace(NO_AUGMENTATION, gain=0.2)
    out = vary(edges, HEIGHT, options, np.random.default_rng(3))
    before, after = edges.mean(axis=2) - HEIGHT / 2, out.mean(axis=2) - HEIGHT / 2
    strong = np.abs(before[0]) > 1
    ratio = after[0][strong] / before[0][strong]
    assert ratio.std() < 1e-3
    assert abs(ratio.mean() - 1) > 0.005
    assert np.allclose(out[:, :, 1] - out[:, :, 0], 1.2, atol=1e-3)


def test_all_leads_move_together_in_time() -> None:
    edges = np.repeat(traces(4, 1)[:, :1], 12, axis=1)
    out = vary(edges, HEIGHT, replace(NO_AUGMENTATION, time_shift=6.0), np.random.default_rng(1))
    for lead in range(1, 12):
        assert np.array_equal(out[0, lead], out[0, 0], equal_nan=True)
    assert np.isnan(out[0, 0]).any()


@pytest.mark.parametrize(
    ("flip", "expected"),
    [
        ({"flip_time": 1.0}, lambda e: e[..., ::-1]),
        ({"flip_polarity": 1.0}, lambda e: HEIGHT - e[:, :, ::-1]),
    ],
)
def test_flips_mirror_and_are_off_by_default(flip: dict, expected) -> None:
    edges = traces(3)
    out = vary(edges, HEIGHT, replace(NO_AUGMENTATION, **flip), np.random.default_rng(0))
    assert np.allclose(out, expected(edges), atol=1e-3)
    assert TensorAugmentation().flip_time == TensorAugmentation().flip_polarity == 0.0


def test_lead_dropout_empties_whole_cells() -> None:
    options = replace(NO_AUGMENTATION, lead_dropout=1.0)
    out = vary(traces(1), HEIGHT, options, np.random.default_rng(0))
    assert np.isnan(out).all()
    assert draw(out, HEIGHT).max() == 0.0


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
