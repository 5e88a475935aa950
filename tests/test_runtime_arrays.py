"""Array tools give what numpy's own, slower ones give."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from runtime.arrays import (
    indices,
    interpolated,
    ranges,
    running_mean,
    stretches,
    sums_of_parts,
    true_cells,
    true_places,
)
from runtime.quantile import grey_ceiling


@given(hnp.arrays(bool, hnp.array_shapes(max_dims=2, min_side=0, max_side=40)))
def test_true_places_are_those_of_flatnonzero(mask: np.ndarray) -> None:
    np.testing.assert_array_equal(true_places(mask), np.flatnonzero(mask))
    np.testing.assert_array_equal(true_places(mask.T), np.flatnonzero(mask.T))


@given(st.lists(st.tuples(st.integers(-9, 9), st.integers(0, 5)), max_size=9))
def test_ranges_follow_one_another(parts: list[tuple[int, int]]) -> None:
    first, many = np.array(parts, dtype=np.int64).reshape(-1, 2).T
    numbers = [number for a, n in parts for number in range(a, a + n)]
    assert ranges(first, many).tolist() == numbers


@given(hnp.arrays(bool, st.integers(0, 40)))
def test_indices_are_those_of_flatnonzero(flags: np.ndarray) -> None:
    np.testing.assert_array_equal(indices(flags), np.flatnonzero(flags))
    assert indices(flags).dtype == np.flatnonzero(flags).dtype


@given(hnp.arrays(bool, st.integers(0, 40)))
def test_stretches_cover_what_is_true_and_do_not_touch(flags: np.ndarray) -> None:
    first, last = stretches(flags)
    covered = np.zeros(len(flags), dtype=bool)
    for a, b in zip(first, last, strict=True):
        assert a < b
        covered[a:b] = True
    np.testing.assert_array_equal(covered, flags)
    assert (first[1:] > last[:-1]).all()


@given(
    hnp.arrays(np.uint32, hnp.array_shapes(min_dims=1, max_dims=2, min_side=1, max_side=30)),
    st.integers(0, 8).map(lambda half: 2 * half + 1),
)
def test_running_mean_is_that_of_the_padded_values(values: np.ndarray, window: int) -> None:
    reach = [(0, 0)] * (values.ndim - 1) + [(window // 2, window // 2)]
    padded = np.pad(values.astype(float), reach, mode="edge")
    windows = np.lib.stride_tricks.sliding_window_view(padded, window, axis=-1)
    expected = windows.mean(axis=-1)
    np.testing.assert_allclose(running_mean(values, window), expected, rtol=1e-6, atol=1e-3)


@pytest.mark.parametrize("axis", [0, 1])
@given(values=hnp.arrays(np.uint8, (12, 12)), cuts=st.sets(st.integers(1, 11), max_size=5))
def test_sums_of_parts_are_those_of_reduceat(axis: int, values: np.ndarray, cuts: set[int]) -> None:
    edges = np.array([0, *sorted(cuts)])
    expected = np.add.reduceat(values, edges, axis=axis, dtype=np.uint16)
    np.testing.assert_array_equal(sums_of_parts(values, edges, axis, np.uint16), expected)


@given(values=hnp.arrays(bool, (20, 13)), cuts=st.sets(st.integers(1, 19), max_size=6))
def test_sums_in_bytes_do_not_carry_over(values: np.ndarray, cuts: set[int]) -> None:
    edges = np.array([0, *sorted(cuts)])
    expected = np.add.reduceat(values.view(np.uint8), edges, axis=0)
    np.testing.assert_array_equal(
        sums_of_parts(values.view(np.uint8), edges, 0, np.uint8), expected
    )


@given(hnp.arrays(bool, hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=30)))
def test_true_cells_are_those_of_nonzero(flags: np.ndarray) -> None:
    for found, expected in zip(true_cells(flags), np.nonzero(flags), strict=True):
        np.testing.assert_array_equal(found, expected)


@given(st.integers(2, 50), st.integers(0, 2**32 - 1))
def test_values_between_places_are_those_of_interp(count: int, seed: int) -> None:
    draw = np.random.default_rng(seed)
    values, places = draw.normal(size=count), draw.uniform(0, count - 1, (3, 7))
    expected = np.interp(places, np.arange(count), values)
    np.testing.assert_allclose(interpolated(values, places), expected, rtol=1e-12, atol=1e-12)


@given(hnp.arrays(np.uint8, st.integers(0, 300)), st.sampled_from((0.5, 0.9, 0.997, 1.0)))
def test_grey_ceiling_is_the_least_level_that_a_share_does_not_exceed(
    levels: np.ndarray, share: float
) -> None:
    below = np.cumsum(np.bincount(levels, minlength=256))
    assert grey_ceiling(levels, share) == np.searchsorted(below, share * levels.size)
