"""Each engine for real, in a virtual environment of its own, answers the golden pages alike."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import missing

from export.cli import main
from export.engine_environment import ENGINES, environment
from export.formats import chosen
from runtime.errors import MissingExtraError

ROOT = Path(__file__).resolve().parents[1]
FORMATS = {
    "litert": ("tflite-float32", "tflite-int8"),
    "tflite-runtime": ("tflite-float32", "tflite-int8"),
    "onnxruntime": ("onnx-float32", "onnx-int8"),
}
FLOAT_TOLERANCE = 1e-4
INTEGER_TOLERANCE = 5 / 256
"""int8 of two converters and three engines: five steps of the output's 1/256."""

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "-w", str(folder)]
    done = subprocess.run([*command, str(ROOT)], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        missing(f"the wheel cannot be built here: {done.stderr[-300:]}")
    return next(folder.glob("*.whl"))


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("engines")
    fake = [sys.executable, str(ROOT / "tests" / "fake_run.py"), str(folder / "run")]
    subprocess.run(fake, check=True, capture_output=True)
    formats = ",".join(sorted({f for formats in FORMATS.values() for f in formats}))
    words = [str(folder / "run"), "--models", "cnn", "--formats", formats]
    words += ["--engines", "litert,onnxruntime", "--out", str(folder / "models")]
    assert main(words) == 0
    return folder / "models"


def _bundle(bundles: Path, format: str) -> Path:
    return bundles / chosen(format)[0].bundle_name("ecg-fake")


@pytest.fixture(scope="module")
def answers(bundles: Path, wheel: Path) -> dict[tuple[str, str], dict[str, dict[str, float]]]:
    """(engine, format) -> golden page -> probabilities, each engine in its own environment."""
    found = {}
    pages = sorted((_bundle(bundles, "tflite-int8") / "golden").iterdir())
    for engine, formats in FORMATS.items():
        try:
            python = environment(engine)
        except MissingExtraError as fault:
            missing(str(fault))
        subprocess.run(
            [str(python), "-m", "pip", "install", "-q", "--no-deps", "--force-reinstall", wheel],
            check=True,
        )
        clean = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
        for format in formats:
            options = ["--model", str(_bundle(bundles, format)), "--engine", engine]
            for command in (
                ["verify", "--json", *options],
                ["classify", "--format", "json", *options, *map(str, pages)],
            ):
                done = subprocess.run(
                    [str(python), "-m", "runtime", *command],
                    cwd=bundles,
                    env=clean,
                    capture_output=True,
                    text=True,
                    check=False,
                )
                assert done.returncode == 0, done.stderr
                assert done.stderr == ""
            found[engine, format] = {
                Path(record["source"]).name: record["probabilities"]
                for record in json.loads(done.stdout)
            }
    return found


def _largest_difference(answers, first: tuple[str, str], second: tuple[str, str]) -> float:
    return max(
        abs(p - answers[second][page][label])
        for page, probabilities in answers[first].items()
        for label, p in probabilities.items()
    )


@pytest.mark.parametrize("engine", ["tflite-runtime", "onnxruntime"])
def test_float32_agrees_with_litert(answers, engine: str) -> None:
    format = FORMATS[engine][0]
    difference = _largest_difference(answers, ("litert", "tflite-float32"), (engine, format))
    assert difference <= FLOAT_TOLERANCE


@pytest.mark.parametrize("engine", ["tflite-runtime", "onnxruntime"])
def test_int8_agrees_with_litert(answers, engine: str) -> None:
    format = FORMATS[engine][1]
    difference = _largest_difference(answers, ("litert", "tflite-int8"), (engine, format))
    assert difference <= INTEGER_TOLERANCE


def test_golden_pages_differ_from_each_other(answers) -> None:
    """Agreement on pages that all look alike to the model would prove nothing."""
    rows = {tuple(p.values()) for p in answers["litert", "tflite-float32"].values()}
    assert len(rows) >= 5


def test_environments_hold_one_engine_each() -> None:
    for engine in ENGINES:
        python = environment(engine)
        code = "import json, runtime.engine as e; print(json.dumps(e.installed_engines()))"
        done = subprocess.run(
            [str(python), "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
        )
        assert list(json.loads(done.stdout)) == [engine]
