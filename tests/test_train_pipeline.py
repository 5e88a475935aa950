"""The whole training stage on a small drawn data set."""

from __future__ import annotations

import csv
import json
import shutil
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from runtime.labels import LABELS
from train.cli import main

pytestmark = pytest.mark.skipif(find_spec("tensorflow") is None, reason="needs the extra 'train'")

PAGES_A_CLASS = 4


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder a class, of pages drawn from our own synthetic hearts."""
    from train.draw import draw_page, encode_page, heart_of_class, synthesise

    root = tmp_path_factory.mktemp("data")
    for label in LABELS:
        (root / label).mkdir()
        for i in range(PAGES_A_CLASS):
            recording = synthesise(heart_of_class(label, i), i)
            page = draw_page(recording, "report", i, layout="3x4+1", px_per_mm=4.0)
            (root / label / f"{i}.jpg").write_bytes(encode_page(*page)[0])
    return root


@pytest.fixture(scope="module")
def run(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A RUN with one network and one tree."""
    out = tmp_path_factory.mktemp("run") / "RUN"
    words = [
        str(data),
        "--out",
        str(out),
        "--folds",
        "2",
        "--epochs",
        "1",
        "--seed",
        "5",
        "--models",
        "cnn,decision-tree",
        "--processes",
        "2",
    ]
    assert main(words) == 0
    return out


def test_run_folder_holds_all_that_export_reads(run: Path) -> None:
    content = json.loads((run / "run.json").read_text())
    assert content["schema"] == "ecg-edge/run/1"
    assert content["labels"] == list(LABELS)
    for entry in content["models"].values():
        for file in (entry["file"], *entry["folds"], entry["oof"]):
            assert (run / file).is_file(), file
    assert (run / "cnn" / "ecg_cnn_model.h5").is_file()
    with (run / "splits.csv").open() as stream:
        paths = [row["path"] for row in csv.DictReader(stream)]
    with np.load(run / "tensors.npz", allow_pickle=False) as stored:
        assert stored["paths"].tolist() == paths
        assert stored["values"].shape == (len(paths), 192, 512)
    with np.load(run / "reduced.npz", allow_pickle=False) as stored:
        assert stored["signals"].shape[:2] == (2, len(paths))
        facts = {"sizes": stored["sizes"].tolist(), "sha256": str(stored["key"])}
        assert content["reduced"] == facts
    with (run / "calibration.csv").open() as stream:
        assert {row["path"] for row in csv.DictReader(stream)} <= set(paths)


def test_every_picture_of_the_report_is_there(run: Path) -> None:
    import re

    pictures = re.findall(r"\]\((figures/[^)]+)\)", (run / "report.md").read_text())
    assert len(pictures) > 8
    for picture in pictures:
        assert (run / picture).stat().st_size > 1000


def test_saved_fold_models_give_the_out_of_fold_predictions(run: Path) -> None:
    from train.networks import in_processes
    from train.predict import PredictJob, run_network
    from train.run_folder import read_oof

    oof = read_oof(run / "cnn" / "oof.csv")
    values = np.load(run / "tensors.npz", allow_pickle=False)["values"]
    held_out = oof.folds == 0
    job = PredictJob(run / "cnn" / "fold-0.keras", values[held_out])
    p = in_processes(run_network, [job], 1)[0]
    assert np.allclose(p, oof.probabilities[held_out], atol=1e-5)


def test_evaluate_repeats_the_figures_of_the_run(
    run: Path, data: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    words = [
        "evaluate",
        str(data),
        "--model",
        str(run),
        "--name",
        "decision-tree",
        "--seed",
        "5",
        "--out",
        str(tmp_path),
    ]
    assert main(words) == 0
    assert "P2, honest" in capsys.readouterr().out
    evaluation = json.loads((tmp_path / "evaluation.json").read_text())
    metrics = json.loads((run / "metrics.json").read_text())["models"]["decision-tree"]
    assert evaluation["scores"]["accuracy"] == metrics["accuracy"]
    assert evaluation["scores"]["recall"] == metrics["recall"]


def test_pages_trained_on_are_judged_by_the_fold_that_held_them_out(
    run: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "other"
    shutil.copytree(data / "normal", other / "normal")
    (other / "normal" / "0.jpg").rename(other / "normal" / "renamed.jpg")
    with Image.open(data / "covid19" / "0.jpg") as page:
        (other / "covid19").mkdir()
        page.resize((page.width // 2, page.height // 2)).save(other / "covid19" / "new.jpg")
    words = ["evaluate", str(other), "--model", str(run), "--name", "decision-tree"]
    assert main(words) == 0
    assert (
        f"{PAGES_A_CLASS} pages by held-out folds, 1 by the final model" in capsys.readouterr().out
    )


def test_selection_leaves_classes_and_layouts_out(data: Path) -> None:
    from runtime.errors import NoInputError
    from train.config import Selection
    from train.dataset import load
    from train.pipeline import selected

    dataset = load(data)
    kept = selected(dataset, Selection(leave_out=("covid19",)))
    assert {s.label for s in kept.samples} == set(LABELS) - {"covid19"}
    assert len(kept.groups) == len(kept.samples)
    with pytest.raises(NoInputError, match="select"):
        selected(dataset, Selection(layouts=("12x1",)))


def test_audit_names_what_gives_the_class_away(data: Path, tmp_path: Path) -> None:
    assert main(["audit", str(data), "--out", str(tmp_path / "audit"), "--folds", "2"]) == 0
    audit = json.loads((tmp_path / "audit" / "audit.json").read_text())
    names = {probe["name"] for probe in audit["probes"]}
    assert {
        "header only",
        "footer only",
        "file size",
        "page size + layout",
        "paper style",
        "whole page",
    } <= names
    for picture in ("class-shares", "sizes", "examples", "probes"):
        assert (tmp_path / "audit" / f"{picture}.png").is_file()
    assert audit["classes"] == dict.fromkeys(LABELS, PAGES_A_CLASS)
