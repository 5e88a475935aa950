"""Lines measured together give what each gives by itself."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from runtime.lines import Lines
from runtime.preprocess import Preprocess

VALUES = st.one_of(st.just(np.nan), st.floats(-5, 5, width=32))
LINES = st.lists(arrays.arrays(np.float32, st.integers(0, 20), elements=VALUES), min_size=1)


@settings(deadline=None, max_examples=200)
@given(LINES)
def test_each_line_is_interpolated_as_by_itself(lines: list[np.ndarray]) -> None:
    together = Lines(lines)
    where = np.tile(np.linspace(-3, 23, 40), (len(lines), 1))
    values, gaps, beyond = together.at(where), together.gaps(where), together.beyond(where)
    for row, line in enumerate(lines):
        known = np.flatnonzero(np.isfinite(line))
        assert together.counts[row] == known.size
        assert together.sizes[row] == line.size
        if known.size < 2:
            continue
        np.testing.assert_allclose(
            values[row], np.interp(where[row], known, line[known]), atol=1e-5
        )
        outside = np.maximum(known[0] - where[row], where[row] - known[-1])
        np.testing.assert_allclose(beyond[row], np.maximum(outside, 0))
        after = np.clip(np.searchsorted(known, where[row]), 1, known.size - 1)
        np.testing.assert_array_equal(gaps[row], known[after] - known[after - 1])


def test_no_lead_leaves_every_cell_empty() -> None:
    preprocess = Preprocess()
    assert np.isnan(preprocess.signals([])).all()
    assert preprocess.draw(preprocess.signals([])).max() == 0
