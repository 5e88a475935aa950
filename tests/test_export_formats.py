"""The table of formats and the command line around it."""

from __future__ import annotations

import pytest

from export.cli import main
from export.formats import FORMATS, chosen, table
from runtime.bundle import ENGINES
from runtime.errors import UsageError
from runtime.prediction import ModelIdentity


def test_each_source_has_one_recommended_format() -> None:
    for source in ("keras", "sklearn"):
        assert len([f for f in FORMATS if f.source == source and f.recommended]) == 1


def test_ids_are_unique_and_engines_and_precisions_known_to_the_runtime() -> None:
    assert len({f.id for f in FORMATS}) == len(FORMATS)
    assert {f.engine for f in FORMATS} <= set(ENGINES)
    documented = ModelIdentity.__doc__
    assert documented
    assert {f.precision for f in FORMATS} <= {"float32", "float16", "dynamic", "int8", "int16x8"}


def test_bundles_of_all_formats_have_names_of_their_own() -> None:
    names = {f.bundle_name("ecg-tiny") for f in FORMATS if f.source == "keras"}
    assert len(names) == len([f for f in FORMATS if f.source == "keras"])
    assert "ecg-tiny" in names


def test_formats_are_chosen_by_id_or_all() -> None:
    assert chosen("all") == FORMATS
    assert [f.id for f in chosen("onnx-int8, tflite-int8")] == ["tflite-int8", "onnx-int8"]


@pytest.mark.parametrize("text", ["tflite-int9", "", "tflite-int8,nothing"])
def test_an_unknown_format_is_a_usage_error_that_lists_the_known(text: str) -> None:
    with pytest.raises(UsageError, match="tflite-int8"):
        chosen(text)


def test_table_lists_every_format_with_its_engine() -> None:
    lines = table().splitlines()
    for format in FORMATS:
        assert any(format.id in line and format.engine in line for line in lines)


def test_list_formats_needs_no_run(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--list-formats"]) == 0
    assert "tflite-int16x8" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "code"),
    [([], 2), (["nowhere", "--out", "x"], 3), (["nowhere", "--out", "x", "--formats", "y"], 2)],
)
def test_missing_or_wrong_arguments_have_their_exit_code(words: list[str], code: int) -> None:
    assert main(words) == code


def test_lock_file_pins_the_converters_and_names_what_differs(monkeypatch) -> None:
    from export import lock

    pins = lock.locked()
    assert {"tensorflow-cpu", "keras", "tf2onnx", "onnx", "onnxruntime", "skl2onnx"} <= set(pins)
    monkeypatch.setattr(lock, "version", lambda name: "0.1" if name == "onnx" else pins[name])
    assert lock.differences() == [f"onnx 0.1 ({pins['onnx']})"]
