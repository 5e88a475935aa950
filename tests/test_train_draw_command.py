"""``python -m train draw`` writes pages with truth files, sample pages and golden pages."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from runtime.errors import NoInputError, OutputError
from runtime.labels import LABELS
from train.draw import RecordingFolder
from train.draw.command import add_parser, run
from train.draw.samples import golden_pages

REPOSITORY = Path(__file__).resolve().parent.parent


def _draw(*arguments: str) -> int:
    parser = argparse.ArgumentParser()
    add_parser(parser.add_subparsers(required=True))
    return run(parser.parse_args(["draw", *arguments]))


def test_pages_come_with_their_truth(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = _draw(
        "synthetic", "--out", str(tmp_path), "--count", "5", "--style", "strip-wide",
        "--capture", "scan", "--seed", "3",
    )  # fmt: skip
    assert code == 0
    assert capsys.readouterr().out == ""
    truths = [json.loads(path.read_text()) for path in sorted(tmp_path.glob("*.json"))]
    assert {truth["label"] for truth in truths} == set(LABELS)
    for path, truth in zip(sorted(tmp_path.glob("*.jpg")), truths, strict=True):
        with Image.open(path) as page:
            assert list(page.size) == truth["size"]


def test_folder_of_recordings_is_read_in_millivolts_without_padding(tmp_path: Path) -> None:
    microvolts = np.zeros((2, 12, 5000), np.int16)
    microvolts[:, :, 1000] = 1500
    np.savez(tmp_path / "signals.npz", signals=microvolts)
    (tmp_path / "manifest.csv").write_text(
        "row,source,record,patient,class,detail,n_valid\n0,a,1,p1,normal,x,5000\n1,a,2,p2,,y,3000\n"
    )
    folder = RecordingFolder(tmp_path)
    assert len(folder) == 2
    assert folder[0].values.max() == pytest.approx(1.5, abs=0.01)
    assert folder[0].label == "normal"
    assert folder[1].values.shape == (12, 3000)
    assert folder[1].label is None
    assert _draw(str(tmp_path), "--out", str(tmp_path / "pages"), "--count", "2") == 0
    assert len(list((tmp_path / "pages").glob("*.json"))) == 2


def test_folder_without_recordings_names_the_missing_file(tmp_path: Path) -> None:
    with pytest.raises(NoInputError, match=r"signals\.npz"):
        _draw(str(tmp_path), "--out", str(tmp_path / "pages"))


def test_output_that_cannot_be_written_is_reported(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="--out"):
        _draw("synthetic", "--out", str(tmp_path / "file" / "pages"), "--count", "1")


def test_golden_pages_are_small_and_the_same_every_time() -> None:
    first = golden_pages(0)
    assert first == golden_pages(0)
    assert len(first) == 8
    assert max(len(data) for _, data in first) < 60_000


def test_sample_pages_show_every_class_and_stay_small() -> None:
    folder = REPOSITORY / "models" / "samples"
    truths = json.loads((folder / "truth.json").read_text())
    assert {truth["label"] for truth in truths.values()} == set(LABELS)
    assert {truth["capture"]["kind"] for truth in truths.values()} >= {"clean", "photo"}
    assert all((folder / name).is_file() for name in truths)
    assert (folder / "text-page.png").is_file()
    assert sum(path.stat().st_size for path in folder.iterdir()) < 1_000_000
