"""Every output format, and files that are never half-written."""

from __future__ import annotations

import csv
import io
import json
import os
from pathlib import Path

import pytest

from runtime.errors import OutputError
from runtime.labels import LABELS
from runtime.outputs import atomic_bytes, atomic_text, open_writer
from runtime.prediction import ModelIdentity, Prediction

MODEL = ModelIdentity("ecg-test", "1", "ab" * 32, "litert", "int8")
ANSWERED = Prediction(
    source="ward 3/ä,b.jpg",
    page=2,
    sha256="cd" * 32,
    status="uncertain",
    model=MODEL,
    label="myocardial_infarction",
    confidence=0.53,
    probabilities=dict(zip(LABELS, (0.2, 0.1, 0.1, 0.53, 0.07), strict=True)),
    flags=("myocardial_infarction",),
    reasons=("below minimum confidence 0.60",),
    timing_ms={"decode": 5.0, "preprocess": 2.0, "infer": 0.1, "total": 7.2},
)
FAILED = Prediction("x.jpg", 1, "", "error", MODEL, reasons=("there is no such file",))


def written(format: str, *predictions: Prediction) -> str:
    stream = io.StringIO()
    with open_writer(format, stream, None) as writer:
        for prediction in predictions:
            writer.write(prediction)
    return stream.getvalue()


def test_jsonl_is_one_record_a_line() -> None:
    lines = written("jsonl", ANSWERED, FAILED).splitlines()
    first, second = (json.loads(line) for line in lines)
    assert first["schema"] == "ecg-edge/result/1"
    assert first["probabilities"]["myocardial_infarction"] == 0.53
    assert (second["status"], second["label"], second["probabilities"]) == ("error", None, None)


@pytest.mark.parametrize("count", [0, 1, 3])
def test_json_is_a_list_whatever_its_length(count: int) -> None:
    assert len(json.loads(written("json", *[ANSWERED] * count))) == count


def test_csv_has_one_row_a_page_and_survives_commas() -> None:
    rows = list(csv.DictReader(io.StringIO(written("csv", ANSWERED, FAILED))))
    assert rows[0]["source"] == "ward 3/ä,b.jpg"
    assert float(rows[0]["p_covid19"]) == 0.07
    assert rows[1]["confidence"] == ""


def test_text_shows_answer_flag_page_and_reason() -> None:
    line = written("text", ANSWERED).splitlines()[1]
    for part in ("uncertain", "Active myocardial infarction", "0.53", "MI!", "[page 2]", "below"):
        assert part in line


def test_a_line_break_in_a_name_stays_one_line_of_jsonl() -> None:
    odd = Prediction("a\nb\u2028.jpg", 1, "", "error", MODEL)
    assert len(written("jsonl", odd).splitlines()) == 1


def test_the_file_appears_only_when_complete(tmp_path: Path) -> None:
    target = tmp_path / "out.jsonl"
    target.write_text("old")

    def interrupted() -> None:
        with open_writer("jsonl", io.StringIO(), str(target)) as writer:
            writer.write(ANSWERED)
            assert target.read_text() == "old"
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert target.read_text() == "old"
    assert os.listdir(tmp_path) == ["out.jsonl"]


def test_a_folder_that_does_not_exist_is_an_output_error(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="cannot be written"), atomic_text(tmp_path / "no" / "f"):
        pass


def test_bytes_are_written_as_they_are(tmp_path: Path) -> None:
    atomic_bytes(tmp_path / "x.png", b"\x89PNG\r\n\x1a\n\xff")
    assert (tmp_path / "x.png").read_bytes() == b"\x89PNG\r\n\x1a\n\xff"
