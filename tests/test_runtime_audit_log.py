from __future__ import annotations

import json
import os
import stat
import threading
from pathlib import Path
from typing import Any

import pytest

from runtime.audit_log import KEPT_FILES, MAX_BYTES, AuditLog
from runtime.errors import OutputError


def record(source: str = "Doe_Jane.jpg", sha256: str = "a" * 64) -> dict[str, Any]:
    return {
        "schema": "ecg-edge/result/1",
        "source": source,
        "page": 1,
        "sha256": sha256,
        "status": "ok",
        "label": "normal",
        "confidence": 0.9,
        "probabilities": {"normal": 0.9},
        "flags": ["myocardial_infarction"],
        "reasons": ["Doe, Jane"],
        "model": {"name": "ecg-tiny", "version": "1", "sha256": "b" * 64, "engine": "litert"},
        "timing_ms": {"total": 1.0},
    }


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_line_says_what_was_answered_with_which_model_and_names_nobody(tmp_path: Path) -> None:
    with AuditLog(tmp_path / "audit.jsonl", "serve") as log:
        log.write(record())
    (line,) = lines(tmp_path / "audit.jsonl")
    assert line["command"] == "serve"
    assert line["sha256"] == "a" * 64
    assert line["model"]["sha256"] == "b" * 64
    assert (line["status"], line["label"]) == ("ok", "normal")
    assert line["flags"] == ["myocardial_infarction"]
    assert line["time"].endswith("Z")
    assert "Doe" not in (tmp_path / "audit.jsonl").read_text()


def test_a_file_holds_about_as_many_answers_as_the_manual_says(tmp_path: Path) -> None:
    with AuditLog(tmp_path / "audit.jsonl", "watch") as log:
        log.write(record() | {"model": record()["model"] | {"precision": "int8"}})
    assert 18_000 < MAX_BYTES / (tmp_path / "audit.jsonl").stat().st_size < 26_000


def test_only_owner_and_group_may_read_it(tmp_path: Path) -> None:
    with AuditLog(tmp_path / "audit.jsonl", "watch") as log:
        log.write(record())
    assert stat.S_IMODE((tmp_path / "audit.jsonl").stat().st_mode) & 0o027 == 0


def test_it_goes_on_where_it_ended(tmp_path: Path) -> None:
    for _ in range(2):
        with AuditLog(tmp_path / "audit.jsonl", "watch") as log:
            log.write(record())
    assert len(lines(tmp_path / "audit.jsonl")) == 2


def test_full_files_are_rotated_and_no_line_is_cut(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    with AuditLog(path, "watch", max_bytes=2000) as log:
        for number in range(100):
            log.write(record(sha256=f"{number:064d}"))
    files = sorted(tmp_path.iterdir())
    assert len(files) == KEPT_FILES + 1
    assert all(file.stat().st_size <= 2000 for file in files)
    kept = sorted(int(line["sha256"]) for file in files for line in lines(file))
    assert kept == list(range(kept[0], 100)), "the youngest are kept, without a gap"
    assert lines(path)[-1]["sha256"] == f"{99:064d}"


def test_file_renamed_by_logrotate_is_followed_by_a_new_one(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    with AuditLog(path, "watch") as log:
        log.write(record())
        path.rename(tmp_path / "audit.jsonl-20261124")
        log.write(record())
    assert len(lines(path)) == 1


def test_half_a_line_left_by_a_power_cut_does_not_spoil_the_next(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    path.write_text('{"schema": "ecg-e')
    with AuditLog(path, "watch") as log:
        log.write(record())
    assert json.loads(path.read_text().splitlines()[-1])["label"] == "normal"


def test_full_disk_leaves_no_half_line(tmp_path: Path, monkeypatch) -> None:
    path = tmp_path / "audit.jsonl"
    real = os.write
    with AuditLog(path, "watch") as log:
        log.write(record())
        monkeypatch.setattr(os, "write", lambda fd, content: real(fd, content[:50]))
        with pytest.raises(OSError, match="No space"):
            log.write(record())
        monkeypatch.undo()
        log.write(record())
    assert len(lines(path)) == 2


def test_threads_and_processes_share_a_file(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    logs = [AuditLog(path, "serve", max_bytes=20_000) for _ in range(2)]

    def work(log: AuditLog) -> None:
        for _ in range(25):
            log.write(record())

    threads = [threading.Thread(target=work, args=(log,)) for log in logs * 2]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(len(lines(file)) for file in tmp_path.iterdir()) == 100


def test_link_in_place_of_the_file_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "audit.jsonl").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OutputError):
        AuditLog(tmp_path / "audit.jsonl", "watch")


def test_folder_that_is_not_there_is_an_output_error(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="audit log"):
        AuditLog(tmp_path / "none" / "audit.jsonl", "watch")
