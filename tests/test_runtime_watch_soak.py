"""A short run of `soak_watch.py`: kill -9, a disk that fills, folders that vanish."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SOAK = Path(__file__).with_name("soak_watch.py")


@pytest.mark.slow
@pytest.mark.parametrize("scenario", ["kill-and-move", "fill", "vanish", "unmount"])
def test_every_page_has_exactly_one_answer_for_its_last_content(scenario: str) -> None:
    words = [str(SOAK), "--files", "40", "--kills", "5", "--cycles", "3", "--share", "1"]
    words += ["--looked-at", "1000"]
    done = subprocess.run(
        [sys.executable, *words, "--scenario", scenario],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    if "no mounts of our own" in done.stderr and scenario in ("fill", "unmount"):
        pytest.skip("this user may not mount anything: run as root or allow user namespaces")
    assert done.returncode == 0, done.stderr
