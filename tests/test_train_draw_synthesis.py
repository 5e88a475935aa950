"""Synthetic hearts obey the laws of the leads and show what they are asked to show."""

from __future__ import annotations

import numpy as np
import pytest

from runtime.labels import LABELS, LEADS
from train.draw.recording import RATE_HZ, Recording, subtract_running_median
from train.draw.synthesis import Heart, heart_of_class, synthesise


def _quiet(**facts: object) -> Heart:
    return Heart(noise_mv=0.0, mains_mv=0.0, wander_mv=0.0, **facts)  # type: ignore[arg-type]


@pytest.mark.parametrize("label", LABELS)
def test_einthoven_and_goldberger_hold_with_noise_and_wander(label: str) -> None:
    one, two, three, avr, avl, avf = synthesise(heart_of_class(label, 5), 5).values[:6]
    np.testing.assert_allclose(one + three, two, atol=2e-6)
    np.testing.assert_allclose(avr, -(one + two) / 2, atol=2e-6)
    np.testing.assert_allclose(avl, (one - three) / 2, atol=2e-6)
    np.testing.assert_allclose(avf, (two + three) / 2, atol=2e-6)


def test_recording_is_ten_seconds_of_twelve_leads_in_millivolts() -> None:
    recording = synthesise(heart_of_class("normal", 1), 1)
    assert recording.values.shape == (12, 5000)
    assert recording.values.dtype == np.float32
    assert recording.seconds == 10.0
    assert 0.4 < np.abs(recording.values).max() < 4.0


def test_same_seed_gives_the_same_values_and_another_seed_others() -> None:
    heart = heart_of_class("normal", 3)
    first = synthesise(heart, 3).values
    np.testing.assert_array_equal(first, synthesise(heart, 3).values)
    assert np.abs(first - synthesise(heart, 4).values).max() > 0.05


def _peaks_of(recording: Recording) -> np.ndarray:
    strength = np.abs(np.diff(recording.values, axis=1)).sum(axis=0)
    high = np.flatnonzero(strength > 0.45 * np.sort(strength)[-20])
    groups = np.split(high, np.flatnonzero(np.diff(high) > 0.2 * RATE_HZ) + 1)
    return np.array([group[np.argmax(strength[group])] for group in groups]) / RATE_HZ


@pytest.mark.parametrize("rate", [50.0, 75.0, 120.0])
def test_sinus_rhythm_has_the_rate_asked_for(rate: float) -> None:
    intervals = np.diff(_peaks_of(synthesise(_quiet(rate_bpm=rate), 2)))
    assert 60.0 / np.mean(intervals) == pytest.approx(rate, rel=0.03)
    assert np.std(intervals) / np.mean(intervals) < 0.06


def test_atrial_fibrillation_is_irregular() -> None:
    intervals = np.diff(_peaks_of(synthesise(_quiet(rhythm="af", rate_bpm=90.0), 2)))
    assert np.std(intervals) / np.mean(intervals) > 0.12


def test_pause_leaves_a_gap_of_two_seconds_or_more() -> None:
    recording = synthesise(_quiet(rhythm="pause"), 2)
    assert np.diff(_peaks_of(recording)).max() >= 2.0


_OVER = {"inferior": ("II", "III", "aVF"), "anterior": ("V2", "V3"), "lateral": ("I", "aVL", "V5")}
_AGAINST = {"inferior": ("aVL",), "anterior": (), "lateral": ("III",)}


@pytest.mark.parametrize("territory", list(_OVER))
def test_injury_elevates_st_over_its_territory_and_depresses_it_opposite(territory: str) -> None:
    sound = synthesise(_quiet(), 7)
    hurt = synthesise(_quiet(label="myocardial_infarction", territory=territory, st_mv=0.3), 7)
    change = hurt.values - sound.values
    for lead in _OVER[territory]:
        assert change[LEADS.index(lead)].max() > 0.1, lead
        assert lead in hurt.altered_leads
    for lead in _AGAINST[territory]:
        assert change[LEADS.index(lead)].min() < -0.1, lead
        assert lead in hurt.altered_leads


@pytest.mark.parametrize("territory", list(_OVER))
def test_old_infarction_digs_a_q_wave_and_turns_t(territory: str) -> None:
    sound = synthesise(_quiet(), 8)
    scar = synthesise(
        _quiet(label="history_of_mi", territory=territory, q_mv=0.6, t_inversion=1.0), 8
    )
    for lead in _OVER[territory]:
        assert scar.lead(lead).min() < sound.lead(lead).min() - 0.1, lead


def test_altered_leads_are_empty_without_a_territory() -> None:
    assert synthesise(heart_of_class("normal", 1), 1).altered_leads == ()


def test_unknown_class_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown class"):
        Heart(label="healthy")


def test_running_median_takes_drift_away_and_leaves_the_beats() -> None:
    values = synthesise(_quiet(), 1).values
    drift = np.sin(np.arange(5000) / RATE_HZ * 2 * np.pi * 0.1)[None] * 0.8
    cleaned = subtract_running_median((values + drift).astype(np.float32))
    assert np.abs(cleaned - values)[:, 500:-500].mean() < 0.05
    assert cleaned.max() > 0.8 * values.max()


def test_recording_of_another_shape_is_refused() -> None:
    with pytest.raises(ValueError, match=r"\[12, n\]"):
        Recording(np.zeros((3, 100), np.float32), "x")
