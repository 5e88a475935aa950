"""Scores, intervals and calibration on out-of-fold predictions."""

from __future__ import annotations

import numpy as np
import pytest

from train.calibrate import (
    calibrate,
    conformal_quantile,
    conformal_sets,
    fit_temperature,
    minimum_confidence,
    operating_threshold,
    softmax,
)
from train.scores import auroc, bootstrap, calibration_error, f1_scores, score


def sample(n: int = 2000, sharpness: float = 1.0, seed: int = 0):
    """Logits whose softmax at temperature ``sharpness`` is right, labels drawn from it."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 2, (n, 5))
    p = softmax(logits)
    truth = np.array([rng.choice(5, p=row) for row in p])
    return logits * sharpness, truth


def test_temperature_undoes_overconfidence() -> None:
    logits, truth = sample(sharpness=3.0)
    temperature = fit_temperature(logits, truth)
    assert temperature == pytest.approx(3.0, rel=0.1)
    before = calibration_error(truth, softmax(logits))
    after = calibration_error(truth, softmax(logits, temperature))
    assert after < 0.05 < before


def test_scores_agree_with_a_case_worked_by_hand() -> None:
    truth = np.array([0, 0, 1, 1, 1, 2])
    p = np.eye(5)[[0, 1, 1, 1, 2, 2]]
    found = score(truth, p, np.arange(6), rounds=20)
    assert found.accuracy.value == pytest.approx(4 / 6)
    assert found.recall["normal"].value == 0.5
    assert found.precision["history_of_mi"].value == 0.5
    assert found.macro_recall.value == pytest.approx((1 / 2 + 2 / 3 + 1) / 3)
    assert set(found.recall) == {"normal", "abnormal_heartbeat", "history_of_mi"}
    assert found.confusion[0][:2] == (1, 1)


def test_f1_is_zero_for_a_class_never_named() -> None:
    assert f1_scores(np.array([[2, 0], [1, 0]])).tolist() == pytest.approx([0.8, 0.0])


def test_clustered_interval_is_wider_than_that_of_single_pages() -> None:
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(20), 10)
    right = np.repeat(rng.random(20) < 0.5, 10)
    by_group = bootstrap(lambda i: float(right[i].mean()), groups, 1, 300)
    by_page = bootstrap(lambda i: float(right[i].mean()), np.arange(200), 1, 300)
    assert by_group[1] - by_group[0] > 2 * (by_page[1] - by_page[0])


def test_operating_threshold_is_the_largest_that_reaches_the_sensitivity() -> None:
    probability = np.array([0.9, 0.8, 0.7, 0.1, 0.6, 0.05])
    positive = np.array([True, True, True, True, False, False])
    assert operating_threshold(probability, positive, 0.75) == 0.7
    assert operating_threshold(probability, positive, 0.76) == 0.1


def test_conformal_sets_cover_what_they_promise() -> None:
    logits, truth = sample(4000)
    p = softmax(logits)
    for coverage in (0.9, 0.95):
        q = conformal_quantile(p[:2000], truth[:2000], coverage)
        sets = conformal_sets(p[2000:], q)
        assert sets[np.arange(2000), truth[2000:]].mean() == pytest.approx(coverage, abs=0.02)
        assert sets.any(axis=1).all()


def test_minimum_confidence_never_leaves_more_than_its_share_unanswered() -> None:
    logits, truth = sample()
    p = softmax(logits)
    floor = minimum_confidence(p, truth)
    assert (p.max(axis=1) < floor).mean() <= 0.15
    easy = np.eye(5)[truth] * 0.9 + 0.02
    assert (easy.max(axis=1) < minimum_confidence(easy, truth)).mean() == 0.0


def test_calibration_makes_the_decision_that_the_manifest_wants() -> None:
    logits, truth = sample(600)
    folds = np.arange(600) % 3
    found = calibrate(logits, truth, folds, np.arange(600))
    assert set(found.decision["operating_points"]) == {"myocardial_infarction", "history_of_mi"}
    point = found.decision["operating_points"]["myocardial_infarction"]
    flagged = found.probabilities[:, 3] >= point["threshold"]
    assert flagged[truth == 3].mean() >= 0.95
    assert set(found.decision["conformal"]) == {"0.90", "0.95"}
    from runtime.decision import Decision
    from runtime.labels import LABELS

    Decision.from_manifest(LABELS, found.decision)


def test_auroc_counts_pairs_in_the_right_order() -> None:
    assert auroc(np.array([True, False, True, False]), np.array([3, 1, 2, 2])) == 0.875
    assert np.isnan(auroc(np.array([True]), np.array([1.0])))
