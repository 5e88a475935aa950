"""Fixtures that several test files share."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

# A shell that starts the tests in the background has Ctrl-C ignored, and every child inherits that;
# a handled signal, unlike an ignored one, is a child's default again.
signal.signal(signal.SIGINT, signal.default_int_handler)


def missing(reason: str) -> None:
    """Skip for want of an install, or fail where `.ci/run` forbids skipping."""
    if os.environ.get("ECG_EDGE_REQUIRE_ALL") == "1":
        pytest.fail(f"required in CI, but {reason}")
    pytest.skip(reason)


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """Return the folder of real pages and signals (shared/data), or skip."""
    named = os.environ.get("ECG_EDGE_DATA")
    for candidate in [Path(named)] if named else [ROOT.parent / "shared" / "data"]:
        if (candidate / "ecg5" / "manifest.csv").is_file():
            return candidate
    missing("no data folder: set ECG_EDGE_DATA or put the data at ../shared/data")
    raise AssertionError("unreachable")
