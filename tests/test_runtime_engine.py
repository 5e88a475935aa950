"""Quantisation in its one place, and engines that are missing or do not fit."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime import engine as engines
from runtime.bundle import ModelFile
from runtime.engine import Quantisation, open_engine
from runtime.errors import BundleError, MissingExtraError, UsageError


def model(kind: str = "litert", content: bytes = b"not a model") -> ModelFile:
    return ModelFile("m", "", content, kind, "int8", (1, 2, 2, 1), ("probabilities",))


def test_values_beyond_the_range_are_clipped_not_wrapped() -> None:
    q = Quantisation(1 / 255, -128, np.int8)
    got = q.quantise(np.array([-0.2, 0.0, 0.6, 1.0, 1.2], np.float32))
    assert got.tolist() == [-128, -128, 25, 127, 127]


@given(st.floats(0, 1, width=32))
def test_a_round_trip_is_off_by_half_a_step_at_most(real: float) -> None:
    q = Quantisation(1 / 255, -128, np.int8)
    back = q.dequantise(q.quantise(np.array([real], np.float32)))
    assert abs(float(back[0]) - real) <= 0.5 / 255 + 1e-6


def test_a_damaged_file_is_a_bundle_error() -> None:
    with pytest.raises(BundleError, match="cannot load it"):
        open_engine(model())


def test_an_engine_that_does_not_read_the_file_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="--engine litert"):
        open_engine(model(), "onnxruntime")


@pytest.mark.parametrize(
    ("kind", "remedy"), [("onnxruntime", r"ecg-edge\[onnx\]"), ("litert", "ai-edge-litert")]
)
def test_a_missing_engine_names_its_install(
    kind: str, remedy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engines, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=f"pip install.*{remedy}"):
        open_engine(model(kind))
