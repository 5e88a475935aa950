"""What is measured on a page, against hearts whose rate and ST level are known."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from runtime.preprocess import SUBSAMPLES, Preprocess
from train.draw import Heart, synthesise
from train.measured import measured
from train.measurements import BLOCK, measurements
from train.recordings import recording_signals

PER_LEAD = 27
ST, T = 3, 4


def figures(heart: Heart, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Return the figures of the page and of its leads [12, k] (I, aVR, V1, V4, II, ...)."""
    signals = recording_signals(synthesise(heart, seed), Preprocess())
    found = measurements(signals[None], Preprocess())[0]
    return found[:6], found[6:].reshape(12, PER_LEAD)


@pytest.mark.parametrize("rate", [52, 75, 110])
def test_rate_and_number_of_beats_are_those_of_the_heart(rate: int) -> None:
    found, _ = figures(Heart(label="normal", rate_bpm=rate))
    assert found[0] == pytest.approx(rate, rel=0.05)
    assert found[4] == pytest.approx(rate * 9.6 / 60, abs=2)


def test_fibrillation_is_less_regular_than_sinus_rhythm() -> None:
    sinus, _ = figures(Heart(label="normal", rate_bpm=90))
    irregular, _ = figures(Heart(label="abnormal_heartbeat", rhythm="af", rate_bpm=90))
    assert (irregular[1:4] > 2 * sinus[1:4]).all()


def test_injury_of_the_inferior_wall_lifts_st_in_its_leads() -> None:
    _, sound = figures(Heart(label="normal"))
    injured = Heart(label="myocardial_infarction", territory="inferior", st_mv=0.4)
    _, found = figures(injured)
    inferior = [4, 8, 9]  # II, III, aVF
    assert (found[inferior, ST] - sound[inferior, ST] > 0.15).all()
    assert found[0, ST] < sound[0, ST]  # lead I sees the other side


def test_an_empty_page_is_measured_as_nothing() -> None:
    blank = np.full((1, 12, 128 * SUBSAMPLES + 1), np.nan, np.float32)
    found = measurements(blank, Preprocess())[0]
    assert np.isnan(np.delete(found, 4)).all()
    assert found[4] == 0
    assert len(found) == 6 + 12 * PER_LEAD
    assert BLOCK > 1


def test_trees_tell_fast_from_slow_and_predict_the_wanted_folds_only(tmp_path: Path) -> None:
    rates = np.tile([55, 120], 30)
    signals = np.stack(
        [
            recording_signals(synthesise(Heart(label="normal", rate_bpm=r), i), Preprocess())
            for i, r in enumerate(rates)
        ]
    )
    np.savez(
        tmp_path / "tensors.npz",
        signals=signals,
        preprocess=np.array(json.dumps(Preprocess().to_manifest())),
    )
    labels, held_out = (rates > 100).astype(int), np.arange(60) // 20
    found = measured(tmp_path / "tensors.npz", labels, held_out, [1], 0.5, 1)
    assert np.isnan(found[held_out != 1]).all()
    assert (found[held_out == 1].argmax(axis=1) == labels[held_out == 1]).mean() > 0.9
