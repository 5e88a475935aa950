"""Array tools give what numpy's own, slower ones give."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from runtime.arrays import running_mean, stretches, sums_of_parts, true_places


@given(hnp.arrays(bool, hnp.array_shapes(max_dims=2, min_side=0, max_side=40)))
def test_true_places_are_those_of_flatnonzero(mask: np.ndarray) -> None:
    np.testing.assert_array_equal(true_places(mask), np.flatnonzero(mask))
    np.testing.assert_array_equal(true_places(mask.T), np.flatnonzero(mask.T))


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
