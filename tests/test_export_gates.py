"""Every rung of the gates can fail, and fails for the fault it is there for."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from export.gates import (
    Rung,
    guarded_points,
    mcnemar_exact,
    measure,
    measure_final,
    read_limits,
)
from runtime.errors import UsageError
from runtime.labels import LABELS

MI = LABELS.index("myocardial_infarction")
POINTS = {"myocardial_infarction": 0.2, "history_of_mi": 0.2}
LIMITS = read_limits()


def _answers(n_each: int = 200, seed: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Labels and rather good probabilities, 200 pages a class."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(5), n_each)
    logits = rng.normal(0, 1, (len(labels), 5))
    logits[np.arange(len(labels)), labels] += 3
    return labels, _softmax(logits)


def _softmax(logits: np.ndarray) -> np.ndarray:
    weights = np.exp(logits - logits.max(axis=1, keepdims=True))
    return weights / weights.sum(axis=1, keepdims=True)


def _failed(candidate: np.ndarray, sums: np.ndarray | None = None) -> set[str]:
    labels, reference = _answers()
    sums = np.ones(len(labels)) if sums is None else sums
    shipped = guarded_points(labels, reference, [candidate], POINTS, LIMITS)
    rungs = measure(labels, reference, candidate, sums, POINTS, shipped, LIMITS)
    return {rung.name for rung in rungs if not rung.passed}


def test_identical_answers_pass_every_rung() -> None:
    assert _failed(_answers()[1]) == set()


def test_steps_of_int8_pass_every_rung() -> None:
    _, reference = _answers()
    rounded = np.round(reference * 256) / 256
    assert _failed(rounded / rounded.sum(axis=1, keepdims=True)) == set()


def test_swapped_labels_fail_agreement_accuracy_recall_and_mcnemar() -> None:
    swapped = _answers()[1][:, [1, 0, 2, 3, 4]]
    failed = _failed(swapped)
    assert {"label agreement", "accuracy drop", "recall drop normal", "McNemar p (worse)"} <= failed


def test_scaled_weights_fail_drift_and_calibration_though_no_label_turns() -> None:
    _, reference = _answers()
    flatter = _softmax(np.log(reference) / 3)
    failed = _failed(flatter)
    assert {"mean drift of probabilities", "calibration error, growth"} <= failed
    assert "label agreement" not in failed


def test_a_lowered_infarction_bias_fails_as_lost_cases() -> None:
    _, reference = _answers()
    logits = np.log(reference)
    logits[:, MI] -= 1.5
    failed = _failed(_softmax(logits))
    assert "lost cases myocardial_infarction" in failed
    assert "sensitivity drop myocardial_infarction" in failed


def test_a_raised_infarction_bias_fails_as_lost_specificity() -> None:
    _, reference = _answers()
    logits = np.log(reference)
    logits[:, MI] += 1.5
    assert "specificity drop myocardial_infarction" in _failed(_softmax(logits))


def test_one_wild_page_fails_the_largest_drift_only() -> None:
    candidate = _answers()[1].copy()
    candidate[0] = [0.5, 0.125, 0.125, 0.125, 0.125]
    assert _failed(candidate) == {"largest drift of a probability"}


def test_numbers_that_are_none_fail_and_stop_the_rest() -> None:
    candidate = _answers()[1].copy()
    candidate[7, 2] = np.nan
    assert _failed_raw(candidate) == {"answers that are no numbers"}


def _failed_raw(candidate: np.ndarray) -> set[str]:
    labels, reference = _answers()
    sums = candidate.sum(axis=1)
    rungs = measure(labels, reference, candidate, sums, POINTS, POINTS, LIMITS)
    return {rung.name for rung in rungs if not rung.passed}


def test_probabilities_that_do_not_sum_to_one_fail() -> None:
    _, reference = _answers()
    failed = _failed(reference, sums=np.full(len(reference), 0.9))
    assert failed == {"sum of probabilities, error"}


def test_operating_point_follows_a_case_that_integers_moved_but_no_further_than_the_limit() -> None:
    labels = np.array([MI, MI, 0, 0])
    reference = np.full((4, 5), 0.2)
    reference[:, MI] = [0.6, 0.3, 0.1, 0.05]
    moved = reference.copy()
    moved[1, MI] = 0.296
    points = {"myocardial_infarction": 0.3}
    shipped = guarded_points(labels, reference, [reference, moved], points, LIMITS)
    assert shipped["myocardial_infarction"] == pytest.approx(0.296, abs=2e-6)
    assert shipped["myocardial_infarction"] <= 0.296
    moved[1, MI] = 0.1
    shipped = guarded_points(labels, reference, [moved], points, LIMITS)
    assert shipped["myocardial_infarction"] == pytest.approx(0.3 - LIMITS.operating_point_shift)


def test_operating_point_is_never_raised() -> None:
    labels, reference = _answers()
    higher = reference.copy()
    higher[:, MI] = np.minimum(1, higher[:, MI] + 0.1)
    assert guarded_points(labels, reference, [higher], POINTS, LIMITS) == POINTS


def test_final_weights_are_compared_output_by_output() -> None:
    rng = np.random.default_rng(0)
    _, p = _answers(20)
    before = {"probabilities": p, "evidence": rng.normal(size=(100, 3, 4, 5))}
    assert all(rung.passed for rung in measure_final(before, before, LIMITS))
    after = {"probabilities": p[:, ::-1], "evidence": rng.normal(size=(100, 3, 4, 5))}
    failed = {rung.name for rung in measure_final(before, after, LIMITS) if not rung.passed}
    assert failed == {
        "final model: label agreement",
        "final model: mean drift",
        "final model: evidence correlation",
    }


@pytest.mark.parametrize(
    ("lost", "won", "p"),
    # 2 * sum of binomial(n, 1/2) up to min; by hand: n = 6: 2/64; n = 10, 1: 22/1024.
    [(6, 0, 2 / 64), (9, 1, 22 / 1024), (5, 5, 1.0), (0, 0, 1.0)],
)
def test_exact_mcnemar(lost: int, won: int, p: float) -> None:
    assert mcnemar_exact(lost, won) == pytest.approx(p)


@given(st.integers(0, 60), st.integers(0, 60))
def test_mcnemar_is_a_probability_and_knows_no_sides(lost: int, won: int) -> None:
    p = mcnemar_exact(lost, won)
    assert 0 < p <= 1
    assert p == mcnemar_exact(won, lost)


def test_limits_file_replaces_only_what_it_names(tmp_path: Path) -> None:
    file = tmp_path / "limits.toml"
    file.write_text("agreement = 0.5\n", encoding="utf-8")
    assert read_limits(file) == replace(LIMITS, agreement=0.5)


@pytest.mark.parametrize("text", ["agreemnt = 0.9", "agreement = 'high'", "agreement = true", "=="])
def test_limits_file_with_a_fault_is_a_usage_error_that_names_it(tmp_path: Path, text: str) -> None:
    file = tmp_path / "limits.toml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(UsageError, match=r"limits\.toml"):
        read_limits(file)


def test_rung_prints_measured_beside_limit() -> None:
    line = Rung("label agreement", 0.985, 0.99, at_most=False, detail="15 of 1000").line()
    assert line.split() == "label agreement 0.985 >= 0.99 FAILED 15 of 1000".split()
