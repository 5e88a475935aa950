"""The command `classify` as acceptance runs it: records, order, formats, exit codes."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT, missing
from PIL import Image

from runtime import Classifier
from runtime.bundle import available_bundles
from runtime.cli import main
from runtime.labels import LABELS

RECORD_KEYS = {
    *("schema", "source", "page", "sha256", "status", "label", "confidence", "probabilities"),
    *("flags", "reasons", "model", "timing_ms"),
}


@pytest.fixture(scope="module")
def page() -> Path:
    if not available_bundles():
        missing("no bundle under models/: run make models")
    return ROOT / "models" / "samples" / "normal-3x4-rhythm.png"


def run(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str, str]:
    code = main(["classify", *map(str, words)])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def records(out: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.splitlines()]


def test_a_page_is_answered_with_the_whole_record(
    page: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = run(capsys, page, "--format", "jsonl")
    (record,) = records(out)
    assert (code, err) == (0, "")
    assert record.keys() >= RECORD_KEYS
    assert tuple(record["probabilities"]) == LABELS
    assert sum(record["probabilities"].values()) == pytest.approx(1, abs=1e-4)
    assert record["confidence"] == max(record["probabilities"].values())
    assert record["timing_ms"].keys() >= {"decode", "preprocess", "infer", "total"}


def test_bad_inputs_get_records_and_the_rest_is_answered_in_order(
    page: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    empty, text, truncated = (tmp_path / f"{name}.jpg" for name in ("empty", "text", "truncated"))
    empty.write_bytes(b"")
    text.write_text("this is no picture")
    truncated.write_bytes(page.read_bytes()[:700])
    (tmp_path / "folder.jpg").mkdir()
    os.mkfifo(tmp_path / "fifo.jpg")
    (tmp_path / "link.jpg").symlink_to("nowhere")
    given = [empty, page, text, truncated, tmp_path / "gone.jpg", tmp_path / "folder.jpg"]
    given += [tmp_path / "fifo.jpg", tmp_path / "link.jpg", page]
    code, out, err = run(capsys, *given, "--format", "jsonl")
    answers = records(out)
    assert code == 1
    assert "Traceback" not in err
    assert [a["source"] for a in answers] == [str(path) for path in given]
    assert [a["status"] in ("ok", "uncertain") for a in answers] == [p == page for p in given]
    for answer in answers:
        if answer["status"] == "error":
            assert answer["reasons"]
            assert answer["label"] is answer["confidence"] is answer["probabilities"] is None


def test_what_is_no_ecg_is_rejected_and_that_is_no_failure(
    page: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    blank = tmp_path / "blank.png"
    Image.new("L", (1200, 900), 255).save(blank)
    code, out, _ = run(capsys, blank, "--format", "jsonl")
    assert (code, records(out)[0]["status"]) == (0, "rejected")


def test_every_page_of_a_tiff_gets_its_record(
    page: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tiff = tmp_path / "two.tif"
    with Image.open(page) as image:
        image.save(tiff, save_all=True, append_images=[Image.new("L", (900, 700), 255)])
    _, out, _ = run(capsys, tiff, "--format", "jsonl")
    answers = records(out)
    assert [a["page"] for a in answers] == [1, 2]
    assert answers[1]["status"] == "rejected"


@pytest.mark.parametrize("format", ["text", "json", "csv"])
def test_every_format_goes_to_a_file_in_one_step(
    page: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], format: str
) -> None:
    target = tmp_path / "answers"
    code, out, _ = run(capsys, page, page, "--format", format, "-o", target)
    assert (code, out) == (0, "")
    content = target.read_text()
    if format == "json":
        assert len(json.loads(content)) == 2
    elif format == "csv":
        assert len(list(csv.DictReader(io.StringIO(content)))) == 2
    else:
        assert len(content.splitlines()) == 3
    assert os.listdir(tmp_path) == ["answers"]


def test_workers_give_the_same_records_in_the_same_order(
    page: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = [page, tmp_path / "gone.jpg", *sorted(page.parent.glob("*.png"))[:3]]
    _, alone, _ = run(capsys, *given, "--format", "jsonl")
    _, together, _ = run(capsys, *given, "--format", "jsonl", "--workers", 2)

    def timeless(out: str) -> list[dict[str, Any]]:
        return [{**record, "timing_ms": None} for record in records(out)]

    assert timeless(alone) == timeless(together)


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ([], 2),
        (["--explain", "out", "--workers", "2", "x.jpg"], 2),
        (["gone.jpg"], 3),
        (["--model", "no-such-bundle", "x.jpg"], 4),
        (["--paths-from", "/nowhere/list"], 3),
        (["--engine", "onnxruntime", "x.jpg"], 2),
    ],
)
def test_exit_codes(
    page: Path, capsys: pytest.CaptureFixture[str], words: list[str], code: int
) -> None:
    assert run(capsys, *words)[0] == code


def test_an_unwritable_output_is_exit_6(page: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = run(capsys, page, "-o", "/nowhere/at/all")
    assert code == 6
    assert "cannot be written" in err


def test_an_unknown_option_is_exit_2(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["classify", "--colour"])
    assert stop.value.code == 2


def test_a_co_process_gets_each_answer_before_it_sends_the_next_path(page: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "runtime",
        "classify",
        "--paths-from",
        "-",
        "--format",
        "jsonl",
    ]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for _ in range(2):
            process.stdin.write(f"{page}\n")
            process.stdin.flush()
            assert json.loads(process.stdout.readline())["source"] == str(page)
        process.stdin.close()
        assert process.wait(30) == 0


def test_the_audit_log_gets_a_line_an_answer_and_no_name(
    page: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = tmp_path / "audit.jsonl"
    assert run(capsys, page, page, "--audit-log", log)[0] == 0
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert len(lines) == 2
    assert page.name not in log.read_text()
    assert run(capsys, page, "--audit-log", tmp_path / "no" / "log")[0] == 6


def test_stdin_bytes_are_answered(page: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "runtime", "classify", "-", "--format", "jsonl"],
        input=page.read_bytes(),
        capture_output=True,
        cwd=ROOT,
        check=True,
    )
    assert json.loads(done.stdout)["source"] == "stdin"
    assert done.stderr == b""


def test_path_bytes_and_picture_give_the_same_answer(page: Path) -> None:
    classifier = Classifier.from_bundle()
    by_path, by_bytes = classifier.classify(page), classifier.classify(page.read_bytes())
    assert by_path.probabilities == by_bytes.probabilities
    with Image.open(page) as image:
        picture = classifier.classify(image)
    assert picture.probabilities == pytest.approx(by_path.probabilities, abs=0.02)


def test_all_originals_are_answered_without_a_word_on_stderr(data_dir: Path) -> None:
    pages = sorted((data_dir / "originals").glob("*.jpg"))
    done = subprocess.run(
        [sys.executable, "-m", "runtime", "classify", *map(str, pages), "--format", "jsonl"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert len(records(done.stdout)) == len(pages) == 15
