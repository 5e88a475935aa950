"""The site acceptance test: it passes on a whole bundle and fails on a changed byte."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from conftest import missing

from runtime.bundle import available_bundles, find_bundle
from runtime.cli import main


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    if not available_bundles():
        missing("no bundle under models/: run make models")
    return Path(shutil.copytree(find_bundle(), tmp_path / "bundle"))


@pytest.mark.parametrize("name", available_bundles())
def test_every_shipped_bundle_that_runs_here_verifies(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["verify", "--model", name]) == 0
    assert "golden pages" in capsys.readouterr().out


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def test_one_changed_byte_in_the_weights_is_exit_4_with_the_files_name(
    bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = json.loads((bundle / "manifest.json").read_text())["model"]["file"]
    flip(bundle / weights)
    assert main(["verify", "--model", str(bundle)]) == 4
    assert weights in capsys.readouterr().err


def test_one_changed_byte_in_a_golden_page_is_exit_4_with_the_files_name(
    bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    golden = sorted((bundle / "golden").iterdir())[0]
    flip(golden)
    assert main(["verify", "--model", str(bundle)]) == 4
    assert golden.name in capsys.readouterr().err


def test_drift_is_exit_7_with_the_files_name(
    bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest = json.loads((bundle / "manifest.json").read_text())
    golden = manifest["golden"][0]
    golden["probabilities"] = dict.fromkeys(golden["probabilities"], 0.2)
    (bundle / "manifest.json").write_text(json.dumps(manifest))
    assert main(["verify", "--model", str(bundle), "--json"]) == 7
    captured = capsys.readouterr()
    assert Path(golden["file"]).name in captured.err
    assert json.loads(captured.out)["passed"] is False


def test_info_tells_what_the_bundle_is_and_where_it_runs_from(
    bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["info", "--model", str(bundle), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["bundle"] == str(bundle)
    assert facts["runs_from"].endswith("runtime")
    assert {"accuracy", "recall"} <= facts["metrics"].keys()
    assert main(["info", "--model", str(bundle)]) == 0
    assert "active" in capsys.readouterr().out.lower() or facts["intended_use"]
