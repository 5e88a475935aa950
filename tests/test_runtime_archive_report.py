"""What the archive's report counts, compares and draws."""

from __future__ import annotations

import io
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

pytest.importorskip("pyarrow")

from archive_stub import IDENTITY
from PIL import Image

from runtime.archive.destination import Destination, part_name
from runtime.archive.known import read_known
from runtime.archive.report import write_report
from runtime.archive.source import PageFile
from runtime.archive.table import answer_of, parquet_bytes, row_of
from runtime.archive.tally import Period, periods
from runtime.cli import main
from runtime.errors import ExitCode, NoInputError, UsageError
from runtime.labels import LABELS
from runtime.metrics import wilson
from runtime.prediction import Prediction

MODEL = "ab" * 8


def row(
    source: str,
    status: str,
    label: str | None = None,
    confidence: float | None = None,
    day: str = "2026-01-05",
    flags: tuple[str, ...] = (),
) -> dict[str, object]:
    answer = Prediction(
        source=source,
        page=1,
        sha256="0" * 64,
        status=status,  # type: ignore[arg-type]
        model=IDENTITY,
        label=label,
        confidence=confidence,
        probabilities=dict.fromkeys(LABELS, 0.2) if label else None,
        flags=flags,
        reasons=() if status == "ok" else ("a reason | with a bar",),
        layout="3x4+1" if label else None,
    )
    moment = datetime.fromisoformat(day).replace(tzinfo=UTC).timestamp()
    site = source.split("/")[2]
    return row_of(answer_of(answer), PageFile(source, site, 10, "s", moment))


@pytest.fixture
def scored(tmp_path: Path) -> str:
    mi = "myocardial_infarction"
    rows = [
        row("/a/north/1.jpg", "ok", "normal", 0.9),
        row("/a/north/2.jpg", "ok", "normal", 0.8),
        row("/a/north/3.jpg", "uncertain", mi, 0.4, flags=(mi,)),
        row("/a/south/4.jpg", "ok", mi, 0.95, "2026-03-01", (mi,)),
        row("/a/south/5.jpg", "rejected", day="2026-03-01"),
        row("/a/south/6.jpg", "error", day="2026-03-02"),
    ]
    destination = Destination(str(tmp_path / "out"))
    for i in range(0, 6, 4):
        name = f"{i:032x}"
        destination.put(part_name(MODEL, name), parquet_bytes(rows[i : i + 4]))
    return str(tmp_path / "out")


@pytest.fixture
def labels(tmp_path: Path) -> str:
    path = tmp_path / "labels.csv"
    path.write_text(
        "path,label,recorded\n"
        "north/1.jpg,normal,2019-05-01\n"
        "./north/2.jpg,Active myocardial infarction,2019-05-02T10:00\n"
        "north/3.jpg,myocardial_infarction,2021-07-01\n"
        "south/4.jpg,myocardial_infarction,when it rained\n"
        "south/5.jpg,normal,2021-07-01\n"
        "south/6.jpg,pericarditis,\n"
    )
    return str(path)


def test_counts_by_status_class_flag_and_site(scored: str) -> None:
    text = write_report(scored, None, None, None)
    assert "6 pages of 6 files" in text
    assert "| ok | 3 | 50.0% |" in text
    assert "| Normal | 2 | 50.0% |" in text
    assert "| Active myocardial infarction | 2 | 50.0% |" in text
    assert "| north | 3 | 2 | 1 | 0 | 0 | 2 | 0 | 0 | 1 | 0 |" in text
    assert "| south | 3 | 1 | 0 | 1 | 1 | 0 | 0 | 0 | 1 | 0 |" in text
    assert "a reason \\| with a bar | 3 |" in text


def test_drift_is_told_by_file_time(scored: str) -> None:
    text = write_report(scored, None, None, None)
    assert "By time of the file." in text
    assert "| week of 2026-01-05 | 3 | 0.0% [0.0%, 56.1%] |" in text
    assert "| week of 2026-02-23 | 2 | 50.0% [9.5%, 90.5%] |  |" in text


def test_period_whose_reject_rate_differs_is_marked(tmp_path: Path) -> None:
    rows = [row(f"/a/b/{i}.jpg", "ok", "normal", 0.9) for i in range(40)]
    rows += [row(f"/a/c/{i}.jpg", "rejected", day="2026-02-03") for i in range(10)]
    destination = Destination(str(tmp_path))
    destination.put(part_name(MODEL, "0" * 32), parquet_bytes(rows))
    text = write_report(str(tmp_path), None, None, None)
    assert "| 2026-01-05 | 40 | 0.0% [0.0%, 8.8%] | differs |" in text
    assert "| 2026-02-03 | 10 | 100.0% [72.2%, 100.0%] | differs |" in text


def test_drift_follows_a_time_column(scored: str, labels: str) -> None:
    text = write_report(scored, labels, None, "recorded")
    assert "| 2019-05 | 2 |" in text
    assert "| 2021-07 | 2 |" in text
    assert "Left out for want of a time: 2 pages." in text
    assert "Times of the table that are not ISO 8601: 1." in text


def test_agreement_has_wilson_intervals(scored: str, labels: str) -> None:
    text = write_report(scored, labels, None, None)
    low, high = wilson(3, 4)
    assert f"all answered pages: 0.750 [{low:.3f}, {high:.3f}] (3/4)" in text
    low, high = wilson(2, 3)
    assert f"| Active myocardial infarction | 3 | 3 | 0.667 [{low:.3f}, {high:.3f}] (2/3)" in text
    assert "answered at all: 0.800" in text
    assert "pericarditis (1)" in text
    assert "| Normal | 1 | 0 | 0 | 0 | 0 | 1 | 0 |" in text


def test_report_files_are_written_and_are_no_answers(scored: str) -> None:
    text = write_report(scored, None, None, None)
    folder = Path(scored) / "_report"
    assert (folder / "report.md").read_text() == text
    with Image.open(folder / f"{MODEL}.png") as picture:
        assert picture.format == "PNG"
        assert picture.width == 1000
    assert write_report(scored, None, None, None) == text


def test_report_into_an_object_store() -> None:
    destination = Destination("memory://reported")
    rows = [row("/a/b/1.jpg", "ok", "normal", 0.9)]
    destination.put(part_name(MODEL, "0" * 32), parquet_bytes(rows))
    text = write_report("memory://reported", None, None, None)
    import fsspec

    assert fsspec.filesystem("memory").cat("/reported/_report/report.md").decode() == text


def test_report_on_a_command_line(scored: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["archive", "report", scored]) == ExitCode.OK
    assert capsys.readouterr().out.startswith("# Archive report")


def test_empty_destination_is_told(tmp_path: Path) -> None:
    with pytest.raises(NoInputError, match="score first"):
        write_report(str(tmp_path), None, None, None)


@pytest.mark.parametrize(
    ("content", "label_column", "time_column"),
    [("path,diagnosis\n", None, None), ("file,label\n", None, None), ("path,label\n", "x", None)],
)
def test_missing_column_names_those_there_are(
    tmp_path: Path, content: str, label_column: str | None, time_column: str | None
) -> None:
    path = tmp_path / "t.csv"
    path.write_text(content)
    with pytest.raises(UsageError, match="its columns are"):
        read_known(str(path), label_column, time_column)


def test_longest_matching_path_wins(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("path,label\n1.jpg,normal\nb/1.jpg,covid19\n")
    known = read_known(str(path), None, None)
    assert known.label_of("/x/b/1.jpg") == "covid19"
    assert known.label_of("s3://bucket/c/1.jpg") == "normal"
    assert known.label_of("/x/b/11.jpg") is None


@pytest.mark.parametrize(
    ("first", "last", "names"),
    [
        (date(2026, 1, 1), date(2026, 1, 3), ["2026-01-01", "2026-01-03"]),
        (date(2026, 1, 1), date(2026, 12, 3), ["2026-01", "2026-12"]),
        (date(2020, 1, 1), date(2026, 12, 3), ["2020 Q1", "2026 Q4"]),
        (date(1999, 1, 1), date(2026, 12, 3), ["1999", "2026"]),
    ],
)
def test_periods_grow_with_the_span(first: date, last: date, names: list[str]) -> None:
    assert list(periods({first: Period(), last: Period()})) == names


def test_quantiles_come_from_the_histogram(row_maker: Callable[[float], dict[str, object]]) -> None:
    period = Period()
    for i in range(100):
        period.add(row_maker(i / 100))
    assert period.confidence_at(0.5) == pytest.approx(0.495, abs=0.011)
    assert period.confidence_at(0.1) == pytest.approx(0.095, abs=0.011)
    assert Period().px_per_mm_at(0.5) is None


@pytest.fixture
def row_maker() -> Callable[[float], dict[str, object]]:
    return lambda confidence: row("/a/b/1.jpg", "ok", "normal", confidence)


def test_charts_survive_no_data_and_one_period() -> None:
    from runtime.archive.charts import bar_chart, line_chart, png_bytes, stacked

    charts = [bar_chart("none", []), line_chart("none", [], {"a": []}, (0, 1))]
    charts.append(line_chart("one", ["now"], {"a": [0.5], "b": [None]}, (0, 1), " %"))
    with Image.open(io.BytesIO(png_bytes(stacked(charts)))) as picture:
        assert picture.height == sum(chart.height for chart in charts)
