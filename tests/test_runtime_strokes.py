"""Strokes and quantiles: short cuts that must give what the long way gives."""

from __future__ import annotations

import numpy as np
import pytest

from runtime.ink import Runs, runs_of
from runtime.quantile import grey_quantile, medians
from runtime.strokes import Strokes, neighbours, strokes_of


def scribble(seed: int) -> Runs:
    """Return the runs of a random mask, dense enough for strokes of many shapes."""
    return runs_of(np.random.default_rng(seed).random((40, 60)) < 0.35)


def assert_same(found: Strokes, wanted: Strokes) -> None:
    for name in ("left", "right", "labels"):
        np.testing.assert_array_equal(getattr(found, name), getattr(wanted, name))
    for name in ("x", "top", "bottom"):
        np.testing.assert_array_equal(getattr(found.runs, name), getattr(wanted.runs, name))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("box", [(0, 0, 60, 40), (7, 5, 41, 33)])
def test_strokes_of_a_part_are_those_of_its_ink_alone(seed: int, box: tuple[int, ...]) -> None:
    runs = scribble(seed)
    assert_same(strokes_of(runs).within(*box), strokes_of(runs.within(*box)))


def test_strokes_that_a_rectangle_leaves_whole_are_carried_over() -> None:
    mask = np.zeros((20, 30), dtype=bool)
    mask[3, 2:10] = mask[4, 9:15] = mask[15, 6:29] = True
    runs = runs_of(mask)
    assert_same(strokes_of(runs).within(0, 10, 30, 20), strokes_of(runs.within(0, 10, 30, 20)))


def test_pairs_that_remain_are_numbered_among_the_runs_that_remain() -> None:
    runs = scribble(4)
    keep = (runs.x != 20) & (runs.x != 41)
    left, right = strokes_of(runs).pairs_where(keep)
    wanted_left, wanted_right = neighbours(runs.where(keep), 1)
    np.testing.assert_array_equal(left, wanted_left)
    np.testing.assert_array_equal(right, wanted_right)


@pytest.mark.parametrize("ends", [(0, 60), (20, 41), (20.5, 40.5), (41, 20), (-3, 70)])
def test_runs_outside_some_columns_are_those_before_and_behind(ends: tuple[float, float]) -> None:
    runs = scribble(5)
    left, right = ends
    found, wanted = runs.outside(left, right), runs.where((runs.x < left) | (runs.x >= right))
    for name in ("x", "top", "bottom"):
        np.testing.assert_array_equal(getattr(found, name), getattr(wanted, name))


@pytest.mark.parametrize("seed", range(3))
def test_labels_are_the_smallest_index_that_can_be_reached(seed: int) -> None:
    strokes = strokes_of(scribble(seed))
    reached = np.arange(len(strokes.labels))
    for _ in range(len(reached)):
        before = reached.copy()
        np.minimum.at(reached, strokes.left, before[strokes.right])
        np.minimum.at(reached, strokes.right, before[strokes.left])
        if (reached == before).all():
            break
    np.testing.assert_array_equal(strokes.labels, reached)


def test_quantiles_of_grey_levels_are_numpys() -> None:
    levels = np.random.default_rng(5).integers(0, 256, (37, 11)).astype(np.uint8)
    wanted = np.percentile(levels, (0, 0.5, 50, 90, 100))
    assert grey_quantile(levels, 0.0, 0.005, 0.5, 0.9, 1.0) == pytest.approx(wanted)


@pytest.mark.parametrize("width", [1, 6, 7])
def test_medians_of_rows_are_numpys(width: int) -> None:
    rows = np.random.default_rng(6).normal(size=(4, width))
    np.testing.assert_array_equal(medians(rows), np.median(rows, axis=1, keepdims=True))
