"""The device stays slim: what an answer imports, and what the base installation weighs."""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
import venv
from pathlib import Path

import pytest
from conftest import ROOT, missing

from runtime.bundle import available_bundles
from runtime.classifier import Classifier

TOO_HEAVY = (
    *("tensorflow", "keras", "sklearn", "scipy", "matplotlib", "onnx", "onnxruntime", "pandas"),
    *("starlette", "distributed", "pyarrow", "pydicom", "pypdfium2", "tqdm"),
    *("numpy.ma", "train", "export", "benchmarks"),
    *("_hashlib", "pathlib", "dataclasses"),
)
LIMIT_MB = 200
"""Issue 2: the base environment is under 200 MB (MB = 10^6 bytes)."""

CLASSIFY = f"""
import gc, sys
from runtime.cli import main
before = [made["collections"] for made in gc.get_stats()]
code = main(["classify", sys.argv[1], "--format", "jsonl"])
found = [name for name in {TOO_HEAVY!r} if name in sys.modules]
assert not found, found
searches = [made["collections"] - b for made, b in zip(gc.get_stats(), before)]
assert sum(searches) <= 1, searches  # by default there are dozens
sys.exit(code)
"""


def sample() -> Path:
    """Return a page that ships with the package."""
    if not available_bundles():
        missing("no bundle under models/: run make models")
    return ROOT / "models" / "samples" / "normal-3x4-rhythm.png"


def answered(done: subprocess.CompletedProcess[str]) -> dict:
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return json.loads(done.stdout)


def test_an_answer_imports_nothing_heavy() -> None:
    done = subprocess.run(
        [sys.executable, "-c", CLASSIFY, str(sample())],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )
    assert answered(done)["status"] in ("ok", "uncertain")


def test_pages_leave_no_cycles_behind() -> None:
    """Else the collector, which the command line lets rest, would let memory grow."""
    pages = (sample(), sample().read_bytes()[:5000], b"no page")
    classifier = Classifier.from_bundle()
    for page in pages:
        classifier.classify(page)
    gc.collect()
    gc.disable()
    try:
        for _ in range(5):
            for page in pages:
                classifier.classify(page)
        assert gc.collect() < 5 * len(pages)
    finally:
        gc.enable()


@pytest.mark.slow
def test_a_wheel_in_an_empty_environment_classifies_and_is_slim(tmp_path: Path) -> None:
    page = sample()
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--outdir", str(tmp_path), str(ROOT)],
        check=True,
        capture_output=True,
    )
    (wheel,) = tmp_path.glob("*.whl")
    home = tmp_path / "device"
    venv.create(home, with_pip=True)
    python = home / "bin" / "python"
    before = size_mb(home)
    install = [str(python), "-m", "pip", "install", "--quiet", "--no-compile", str(wheel)]
    subprocess.run(install, check=True, capture_output=True)
    installed = size_mb(home) - before
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    done = subprocess.run(
        [str(python), "-c", CLASSIFY, str(page)],
        capture_output=True,
        text=True,
        cwd=elsewhere,
        env=environment,
        check=False,
    )
    assert answered(done)["status"] in ("ok", "uncertain")
    assert installed < LIMIT_MB, f"{installed:.0f} MB"


def size_mb(folder: Path) -> float:
    """Return what a folder takes, in MB (10^6 bytes)."""
    files = (p for p in folder.rglob("*") if p.is_file() and not p.is_symlink())
    return sum(p.stat().st_size for p in files) / 1e6
