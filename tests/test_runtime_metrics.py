"""The interval that every figure of ours carries."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.metrics import wilson


def test_wilson_matches_published_values() -> None:
    # Newcombe 1998, Statistics in Medicine 17:857, table I, method 3.
    for r, n, low, high in [
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0, 0.1611),
    ]:
        assert wilson(r, n) == pytest.approx((low, high), abs=5e-5)


@given(st.integers(0, 500), st.integers(0, 500))
def test_the_interval_holds_the_proportion_and_stays_in_bounds(a: int, b: int) -> None:
    r, n = min(a, b), max(a, b)
    low, high = wilson(r, n)
    assert 0 <= low <= high <= 1
    if n:
        assert low - 1e-12 <= r / n <= high + 1e-12


def test_more_successes_than_trials_is_refused() -> None:
    with pytest.raises(ValueError, match="3 successes out of 2"):
        wilson(3, 2)
