"""What the benchmark computes from what it measured; nothing here asserts a time."""

from __future__ import annotations

import csv
import io
import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from benchmarks import cli
from benchmarks.cold_start import _name_of, base_install_mb
from benchmarks.compare import compare
from benchmarks.pages import find_pages
from benchmarks.probe import ProbeError, run_probe
from benchmarks.report import rows_csv, text_report
from benchmarks.roofline import _PROBE_MACS, distances
from benchmarks.run import load_result
from benchmarks.statistics import percentile, summary
from benchmarks.turns import ratios, summaries, take_turns
from runtime.errors import NoInputError


def row(**changes: Any) -> dict[str, Any]:
    spread = {"p50": 100.0, "p95": 120.0, "p99": 150.0, "n": 60}
    return {
        "bundle": "ecg-tiny",
        "engine": "litert",
        "precision": "int8",
        "threads": 1,
        "size_bytes": 100_000,
        "size_kb": 100.0,
        "accuracy": 0.8,
        "mi_recall": None,
        "load_ms": 3.0,
        "first_answer_ms": 12.0,
        "infer_us": spread,
        "end_to_end_ms": {"p50": 9.0, "p95": 10.0, "p99": 11.0, "n": 60},
        "stages_ms": dict.fromkeys(("decode", "panel", "preprocess", "infer", "decide"), 1.8),
        "pillow_scaled_grey_decode_ms": {"p50": 6.0, "p95": 7.0, "p99": 8.0, "n": 60},
        "end_to_end_over_decode": 1.5,
        "pages_per_second": 111.0,
        "peak_rss_mb": 55.0,
    } | changes


def result(*rows: dict[str, Any]) -> dict[str, Any]:
    return {
        "schema": "ecg-edge/benchmark/1",
        "date": "2026-11-24",
        "machine": {"cpu": "test", "cores": 2, "system": "Linux", "governor": None},
        "pages": {"folder": "originals", "n": 3, "size": "2213x1572"},
        "runs": 60,
        "rows": list(rows),
    }


def test_percentiles_are_values_that_were_measured() -> None:
    values = [float(v) for v in range(1, 101)]
    assert [percentile(values, q) for q in (50, 95, 99, 100)] == [50, 95, 99, 100]
    assert summary([3.0]) == {"p50": 3.0, "p95": 3.0, "p99": 3.0, "n": 1}
    with pytest.raises(ValueError, match="no values"):
        percentile([], 50)


def test_a_slower_machine_is_no_regression_but_a_slower_network_is() -> None:
    before = result(row())
    slow_machine = row(
        infer_us={"p50": 200.0}, pillow_scaled_grey_decode_ms={"p50": 12.0}, peak_rss_mb=55.0
    )
    assert all(change.ratio == pytest.approx(1) for change in compare(before, result(slow_machine)))
    slow_network = row(infer_us={"p50": 200.0})
    worse = {c.figure: c.ratio for c in compare(before, result(slow_network))}
    assert worse["infer_over_decode"] == pytest.approx(2)


def test_only_rows_of_the_same_bundle_engine_and_threads_are_compared() -> None:
    assert compare(result(row()), result(row(threads=2))) == []


def test_the_command_exits_7_when_worse_than_the_baseline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    baseline = tmp_path / "before.json"
    baseline.write_text(json.dumps(result(row(end_to_end_over_decode=1.0))))
    monkeypatch.setattr("benchmarks.run.run_plan", lambda plan, progress: result(row()))
    monkeypatch.setattr("benchmarks.run.available_bundles", lambda: ("ecg-tiny",))
    assert cli.main(["--baseline", str(baseline)]) == 7
    assert "SLOWER OR LARGER" in capsys.readouterr().out
    assert cli.main(["--baseline", str(baseline), "--tolerance", "0.6"]) == 0


def test_text_and_csv_carry_every_row_and_mark_what_failed() -> None:
    failed = {"bundle": "x", "engine": "litert", "threads": 1, "failed": "no such engine"}
    text = text_report(result(row(), failed | {"stages_ms": row()["stages_ms"]}))
    assert "ecg-tiny" in text
    assert "no such engine" in text
    (line,) = csv.DictReader(io.StringIO(rows_csv([row()])))
    assert (line["infer_us_p99"], line["mi_recall"]) == ("150.0", "")


def test_distance_from_the_floor_is_a_ratio() -> None:
    reading = {"floor": [[2.0]], "decode": [[3.0]], "ecg-tiny": [[5.0]]}
    half_a_probe = {"ecg-tiny": _PROBE_MACS // 2}
    sums = {"int8": [[10.0]], "float32": [[40.0]], "ecg-tiny": [[20.0]]}
    found = distances(reading, sums, half_a_probe, {"ecg-tiny": "int8"})
    assert found == {"ecg-tiny": {"decode": 1.5, "end_to_end": 2.5, "infer": pytest.approx(4)}}
    unprobed = distances(reading, sums, half_a_probe, {"ecg-tiny": "int16x8"})
    assert unprobed == {"ecg-tiny": {"decode": 1.5, "end_to_end": 2.5}}


def test_a_change_of_clock_between_two_rounds_changes_no_ratio() -> None:
    rounds = {"ours": [[10.0, 11.0], [30.0], [20.0]], "other": [[50.0, 99.0], [150.0], [100.0]]}
    assert ratios(rounds, "ours") == {"ours": 1.0, "other": 5.0}
    assert summaries(rounds)["ours"] == {"p50": 11.0, "p95": 30.0, "p99": 30.0, "n": 4}


def test_all_actions_take_their_turn_in_every_round() -> None:
    order: list[str] = []
    rounds = take_turns({name: partial(order.append, name) for name in "ab"}, runs=20)
    assert {name: [len(series) for series in of] for name, of in rounds.items()} == {
        "a": [2] * 10,
        "b": [2] * 10,
    }
    assert "".join(order) == 10 * ("a" * 4 + "b" * 4)


def test_pages_of_the_commonest_size_are_measured(tmp_path: Path) -> None:
    for name, size in (("a", (40, 30)), ("b", (80, 60)), ("c", (40, 30))):
        Image.new("L", size).save(tmp_path / f"{name}.jpg")
    assert [page.name for page in find_pages(tmp_path)] == ["a.jpg", "c.jpg"]
    with pytest.raises(NoInputError, match="--pages"):
        find_pages(tmp_path / "none")


def test_a_probe_returns_what_its_function_returned_and_reports_what_it_raised() -> None:
    assert run_probe("benchmarks.statistics:summary", [2.0, 1.0])["p50"] == 1.0  # type: ignore[arg-type]
    with pytest.raises(ProbeError, match="no values"):
        run_probe("benchmarks.statistics:summary", [])  # type: ignore[arg-type]


def test_a_file_that_is_no_result_is_refused(tmp_path: Path) -> None:
    other = tmp_path / "x.json"
    other.write_text('{"schema": "something else"}')
    with pytest.raises(NoInputError, match="not a result"):
        load_result(other)


@pytest.mark.parametrize("text", ["numpy>=2", "numpy", "numpy (>=2)", "numpy;python_version<'4'"])
def test_a_requirement_is_reduced_to_its_name(text: str) -> None:
    assert _name_of(text) == "numpy"


def test_the_base_installation_counts_what_its_parts_need() -> None:
    sizes = base_install_mb()
    assert {"ai-edge-litert", "numpy", "pillow", "flatbuffers"} <= sizes.keys()
    assert sizes["total"] == pytest.approx(sum(v for k, v in sizes.items() if k != "total"), abs=1)


def test_what_answers_by_default_stands_for_ours_beside_others() -> None:
    from types import SimpleNamespace

    from benchmarks.run import _lead

    accurate, tiny = SimpleNamespace(name="ecg-accurate"), SimpleNamespace(name="ecg-tiny")
    assert _lead([accurate, tiny]) is tiny
    assert _lead([accurate]) is accurate
