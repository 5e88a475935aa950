"""Trying recipes: the same pages, the same folds, and recordings no fit may see left alone."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from runtime.errors import UsageError
from runtime.labels import LABELS
from runtime.preprocess import SUBSAMPLES, Preprocess
from train.config import TrainConfig, with_settings
from train.draw import Recording, heart_of_class, synthesise
from train.fit import mixed
from train.predict import PredictJob, moved
from train.recordings import PAGES, for_training, read_key, recording_signals, write_recordings
from train.run_folder import SCHEMA, Predictions, write_oof
from train.split import SplitRow, write_splits
from train.trial import Trial, average, fit_trial, moved_pages, table_row


def oof(folder: Path, paths: tuple[str, ...], p: list[list[float]]) -> Path:
    labels = np.arange(len(paths)) % len(LABELS)
    write_oof(folder / "oof.csv", Predictions(paths, labels, labels % 2, np.array(p)))
    return folder


def test_average_is_the_mean_of_the_logs_on_the_common_pages(tmp_path: Path) -> None:
    a = oof(tmp_path / "a", ("x", "y"), [[0.6, 0.1, 0.1, 0.1, 0.1], [0.1, 0.6, 0.1, 0.1, 0.1]])
    b = oof(tmp_path / "b", ("x",), [[0.1, 0.6, 0.1, 0.1, 0.1]])
    found = average([a, b])
    assert found.paths == ("x",)
    assert found.probabilities[0, 0] == pytest.approx(found.probabilities[0, 1])
    assert found.probabilities.sum() == pytest.approx(1.0)


def test_row_names_the_folds_and_counts_what_is_right() -> None:
    p = np.eye(5) * 0.6 + 0.08
    p[4] = p[0]
    found = Predictions(tuple("abcde"), np.arange(5), np.array([0, 0, 0, 3, 3]), p)
    row = table_row("tried", found)
    assert row.startswith("| tried | 0,3 | 0.800 | 0.800 | 1.00 1.00 1.00 1.00 .00 |")


def test_settings_of_the_command_line_nest_as_in_a_file() -> None:
    config = with_settings(TrainConfig(), "fit.mixup = 0.3\nsignals = 'S'", "--set")
    assert (config.fit.mixup, config.signals) == (0.3, "S")
    with pytest.raises(UsageError, match="--set: unknown setting 'mixup'"):
        with_settings(TrainConfig(), "mixup = 0.3", "--set")


def test_mixing_keeps_the_larger_share_and_whole_targets() -> None:
    rng = np.random.default_rng(0)
    x = np.arange(8, dtype=np.float32).reshape(8, 1, 1, 1)
    y = np.eye(8, dtype=np.float32)
    mixed_x, mixed_y, weight = mixed(x, y, np.ones(8), 0.4, rng)
    assert np.allclose(mixed_y.sum(axis=1), 1.0)
    assert (mixed_y.argmax(axis=1) == np.arange(8)).all()
    assert np.allclose(mixed_x[:, 0, 0, 0], mixed_y @ np.arange(8), atol=1e-5)
    assert np.allclose(weight, 1.0)


def recordings(folder: Path, patients: int) -> Path:
    """Write a folder of synthetic recordings, one a patient, the last of no class of ours."""
    values = [synthesise(heart_of_class("normal", i), i).values for i in range(patients)]
    np.savez(folder / "signals.npz", signals=np.rint(np.stack(values) * 1000).astype(np.int16))
    with (folder / "manifest.csv").open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["row", "source", "record", "patient", "class", "detail", "n_valid"])
        for i in range(patients):
            label = "normal" if i < patients - 1 else ""
            writer.writerow([i, "s", f"r{i}", f"p{i}", label, "", 5000])
    return folder


def test_only_the_training_half_of_the_patients_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, file = recordings(tmp_path, 9), tmp_path / "recordings.npz"
    beside = write_recordings(folder, Preprocess(), file)
    blank = np.zeros((12, 10), np.float32)
    fit = [for_training(Recording(blank, "s", findings={"patient": f"p{i}"})) for i in range(9)]
    assert 0 < beside["n"] == sum(fit) < 9
    with np.load(file) as stored:
        signals, labels, drawn = stored["signals"], stored["labels"], stored["drawn"]
    assert signals.shape == (beside["n"], 12, 128 * SUBSAMPLES + 1)
    assert drawn.shape == (PAGES, *signals.shape)
    other = [for_training(Recording(blank, "s", findings={"patient": "p8"}))]
    assert beside["other"] == sum(other) == (labels < 0).sum()
    read = np.isfinite(drawn).any(axis=(2, 3))
    assert read.mean() > 0.7
    apart = np.abs(drawn - signals)[read]
    assert 0 < np.nanmean(apart) < 0.15  # the same hearts, read from paper
    assert beside["sha256"] == read_key(file)
    monkeypatch.setattr("train.recordings.ProcessPoolExecutor", None)
    assert write_recordings(folder, Preprocess(), file) == beside  # nothing is drawn again
    with pytest.raises(TypeError):
        write_recordings(folder, Preprocess(span_mv=4.0), file)


def test_a_recording_lies_in_the_tensor_as_a_page_of_four_columns_would() -> None:
    recording = synthesise(heart_of_class("normal", 3), 3)
    found = recording_signals(recording, Preprocess())
    assert np.isfinite(found).all()
    v1 = recording.lead("V1")[2500:3700]  # the third column begins after 5 s
    assert found[2].max() == pytest.approx(v1.max(), abs=0.15)


def test_moving_a_page_moves_every_cell_and_leaves_paper_behind() -> None:
    values = np.zeros((1, 2, 16), np.uint8)
    values[0, 0, [0, 4, 11]] = 1, 2, 3
    assert moved(values, 1)[0, 0].tolist() == [0, 1, 0, 0, 0, 2] + [0] * 10
    assert moved(values, -1)[0, 0].tolist() == [0] * 10 + [3] + [0] * 5
    assert np.array_equal(moved(values, 0), values)
    assert not moved(values, 4).any()


def finished_run(folder: Path) -> Path:
    """Write what a trial reads of a RUN: 20 pages in two folds, each drawn by its number alone."""
    folder.mkdir()
    (folder / "run.json").write_text(json.dumps({"schema": SCHEMA, "folds": 2}))
    rows = [SplitRow(f"{i}", LABELS[i % 5], f"s{i}", f"d{i}", i // 10, "") for i in range(20)]
    write_splits(folder / "splits.csv", rows)
    values = np.zeros((20, 2, 16), np.uint8)
    values[np.arange(20), 0, 1] = np.arange(20)
    np.savez(folder / "tensors.npz", values=values)
    return folder


def test_moved_pages_are_judged_by_the_mean_of_each_page_own_views(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Path] = []

    def answer(_: Callable[..., Any], jobs: list[PredictJob], __: int) -> list[np.ndarray]:
        """Be surer of a page's class the farther right its mark lies."""
        place, number = jobs[0].values[:, 0].argmax(axis=1), jobs[0].values.max(axis=(1, 2))
        p = np.full((len(place), 5), 0.1)
        p[np.arange(len(place)), number % 5] = 0.1 * 4.0**place
        p /= p.sum(axis=1, keepdims=True)
        asked.append(jobs[0].file)
        return [p]

    monkeypatch.setattr("train.trial.in_processes", answer)
    run = finished_run(tmp_path / "RUN")
    with pytest.raises(UsageError, match=r"fold-0\.keras is missing"):
        moved_pages(Trial(run, "cnn", (0,), TrainConfig(), tmp_path / "T"), (0,))
    (run / "cnn").mkdir()
    (run / "cnn" / "fold-1.keras").touch()
    row = moved_pages(Trial(run, "cnn", (1,), TrainConfig(), tmp_path / "T"), (0, 2))
    assert row.startswith("| T | 1 | 1.000 |")
    assert asked == [run / "cnn" / "fold-1.keras"]
    found = average([tmp_path / "T"])
    assert found.paths == tuple(f"{i}" for i in range(10, 20))
    # log odds at places 1 and 3 are log 4 and 3 log 4; their mean is log 16
    assert np.allclose(found.probabilities.max(axis=1), 16 / 20)


def test_folds_the_run_lacks_are_refused_for_trees_too(tmp_path: Path) -> None:
    run = finished_run(tmp_path / "RUN")
    with pytest.raises(UsageError, match="folds"):
        fit_trial(Trial(run, "measured", (2,), TrainConfig(), tmp_path / "T"))
