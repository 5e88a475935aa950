"""What probabilities are turned into: label, flags, abstention, sets."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.decision import Decision
from runtime.errors import BundleError
from runtime.labels import LABELS

ENTRY = {
    "temperature": 1.3,
    "min_confidence": 0.6,
    "operating_points": {
        "myocardial_infarction": {"threshold": 0.2, "sensitivity": 0.95},
        "history_of_mi": 0.3,
    },
    "conformal": {"0.90": 0.7},
}


def decision() -> Decision:
    return Decision.from_manifest(LABELS, ENTRY)


def test_a_confident_answer_has_no_reasons() -> None:
    verdict = decision().decide([0.9, 0.05, 0.02, 0.02, 0.01])
    assert (verdict.label, verdict.confidence, verdict.reasons) == ("normal", 0.9, ())


def test_below_the_minimum_confidence_the_reason_says_so() -> None:
    verdict = decision().decide([0.5, 0.4, 0.05, 0.03, 0.02])
    assert verdict.reasons == ("below minimum confidence 0.60",)


def test_mi_at_its_operating_point_is_flagged_though_the_label_is_normal() -> None:
    verdict = decision().decide([0.75, 0.03, 0.01, 0.2, 0.01])
    assert verdict.label == "normal"
    assert verdict.flags == ("myocardial_infarction",)


def test_just_below_the_operating_point_is_not_flagged() -> None:
    assert decision().decide([0.75, 0.04, 0.01, 0.1999, 0.0001]).flags == ()


def test_conformal_set_holds_what_reaches_one_minus_q() -> None:
    verdict = decision().decide([0.5, 0.31, 0.1, 0.05, 0.04])
    assert verdict.sets == {"0.90": ("normal", "abnormal_heartbeat")}


@given(st.lists(st.floats(0, 1), min_size=5, max_size=5))
def test_the_best_guess_always_belongs_to_the_set(p: list[float]) -> None:
    verdict = decision().decide(p)
    assert verdict.sets is not None
    assert verdict.label in verdict.sets["0.90"]
    assert verdict.confidence == max(p)


@pytest.mark.parametrize(
    "broken",
    [
        {},
        {**ENTRY, "min_confidence": 1.2},
        {**ENTRY, "operating_points": {"stroke": 0.5}},
        {**ENTRY, "operating_points": {"normal": {"sensitivity": 0.9}}},
        {**ENTRY, "conformal": {"0.90": "high"}},
    ],
)
def test_a_damaged_decision_is_a_bundle_error(broken: dict) -> None:
    with pytest.raises(BundleError, match=r"manifest\.json"):
        Decision.from_manifest(LABELS, broken)
