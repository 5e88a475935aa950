"""The archive command's run on an in-process cluster: rows, resuming, changes, poison pages."""

from __future__ import annotations

import contextlib
import io
import json
import os
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("distributed")

import archive_stub
from archive_stub import packed, write_pages
from distributed import Client, Future, KilledWorker, LocalCluster
from distributed.client import ClosedClientError, FutureCancelledError
from distributed.comm import CommClosedError

import runtime.archive.plugin
import runtime.archive.schedule as schedule
from runtime.archive.batch import Batch, cut
from runtime.archive.destination import Destination, part_name
from runtime.archive.isolated import Isolated
from runtime.archive.model import install
from runtime.archive.plugin import ModelPlugin
from runtime.archive.schedule import Totals, score
from runtime.archive.source import PageFile, SourceError, list_pages
from runtime.archive.work import answer_batch, give_up
from runtime.cli import main
from runtime.errors import ExitCode, OutputError, UsageError
from runtime.inputs import Input
from runtime.progress import Progress

MODEL = packed()


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    with (
        LocalCluster(
            n_workers=2, threads_per_worker=1, processes=False, dashboard_address=None
        ) as cluster,
        Client(cluster, set_as_default=False) as joined,
    ):
        yield joined


@pytest.fixture
def pages(tmp_path: Path) -> Path:
    texts = {f"site{i % 2}/{i:03}.jpg": f"page {i}" for i in range(20)}
    texts |= {"site0/many.pdf": "2 pages", "site1/bad.jpg": "broken", "site1/no.jpg": "reject"}
    write_pages(tmp_path / "in", texts)
    return tmp_path / "in"


@pytest.fixture
def out(tmp_path: Path) -> str:
    return str(tmp_path / "out")


def rows_in(out: str, model: str = MODEL.key) -> list[dict[str, Any]]:
    destination = Destination(out)
    found = [row for part in destination.parts(model) for row in destination.read(part).to_pylist()]
    return sorted(found, key=lambda row: (row["source"], row["page"]))


def go(client: Client, pages: Path | str, out: str, **options: Any) -> Totals:
    options = {"batch_files": 4, **options}
    return score(list_pages(str(pages)), out, MODEL, client, **options)


def test_each_page_has_one_row_equal_to_the_record_of_classify(
    client: Client, pages: Path, out: str
) -> None:
    totals = go(client, pages, out)
    stub = archive_stub.Stub()
    expected = [
        prediction.to_record()
        for path in sorted(pages.rglob("*.*"))
        for prediction in stub.classify_pages(Input(str(path), path.read_bytes()))
    ]
    rows = rows_in(out)
    assert [json.loads(row["record"]) for row in rows] == expected
    assert totals.files == 23
    assert sum(totals.statuses.values()) == 24
    for row, record in zip(rows, expected, strict=True):
        for key in ("source", "page", "sha256", "status", "label", "confidence", "flags"):
            assert row[key] == record[key]


def test_columns_hold_picture_quality_and_origin(client: Client, pages: Path, out: str) -> None:
    go(client, pages, out)
    row = rows_in(out)[0]
    assert row["site"] == "site0"
    assert 4.0 <= row["px_per_mm"] <= 5.0
    assert (row["width"], row["height"], row["format"]) == (1100, 850, "JPEG")
    assert row["bytes"] == os.path.getsize(row["source"])
    assert row["modified"].timestamp() == pytest.approx(os.path.getmtime(row["source"]), abs=1e-3)


def test_second_run_answers_nothing_and_new_pages_only(
    client: Client, pages: Path, out: str
) -> None:
    go(client, pages, out)
    again = go(client, pages, out)
    assert (again.files, again.skipped) == (0, 23)
    write_pages(pages, {"site0/000a.jpg": "new", "aaa.jpg": "new too"})
    third = go(client, pages, out, batch_files=7)
    assert (third.files, third.skipped) == (2, 23)
    assert len(rows_in(out)) == 26


def test_changed_page_is_answered_again_and_its_old_row_goes(
    client: Client, pages: Path, out: str
) -> None:
    go(client, pages, out)
    write_pages(pages, {"site0/many.pdf": "one page now", "site1/001.jpg": "something else"})
    totals = go(client, pages, out)
    assert (totals.files, totals.kept) == (2, 0)
    rows = rows_in(out)
    assert len(rows) == 23
    assert len({(row["source"], row["page"]) for row in rows}) == 23


def test_same_bytes_with_a_new_time_keep_their_answer(
    client: Client, pages: Path, out: str
) -> None:
    go(client, pages, out)
    os.utime(pages / "site1" / "001.jpg", (1e9, 1e9))
    totals = go(client, pages, out)
    assert (totals.files, totals.kept) == (1, 1)
    assert go(client, pages, out).skipped == 23
    row = next(row for row in rows_in(out) if row["source"].endswith("site1/001.jpg"))
    assert row["modified"].timestamp() == 1e9


def test_errors_are_answered_again_only_when_asked(client: Client, pages: Path, out: str) -> None:
    go(client, pages, out)
    assert go(client, pages, out).files == 0
    again = go(client, pages, out, retry_errors=True)
    assert dict(again.statuses) == {"error": 1}
    assert len(rows_in(out)) == 24


def test_name_listed_twice_is_answered_once(
    client: Client, pages: Path, out: str, tmp_path: Path
) -> None:
    listing = tmp_path / "list.txt"
    some = sorted(str(path) for path in pages.rglob("*.jpg"))[:6]
    listing.write_text("\n".join([*some, *some, str(pages / "gone.jpg")]))
    totals = go(client, listing, out)
    assert totals.files == 7
    assert totals.statuses["error"] == 1


def test_another_model_has_rows_of_its_own(client: Client, pages: Path, out: str) -> None:
    go(client, pages, out)
    other = packed("0123456789abcdef")
    totals = score(list_pages(str(pages)), out, other, client, batch_files=4)
    assert totals.files == 23
    assert len(rows_in(out)) == len(rows_in(out, other.key)) == 24
    assert Destination(out).models() == ("0123456789abcdef", MODEL.key)


def test_rows_written_twice_by_a_straggler_are_reduced_to_one(
    client: Client, pages: Path, out: str
) -> None:
    go(client, pages, out)
    files = tuple(list_pages(str(pages)))[2:9]
    answer_batch(Batch(out, MODEL.key, files))  # cut as no run of ours cuts
    assert len(rows_in(out)) == 24 + 7
    go(client, pages, out)
    assert len(rows_in(out)) == 24


def test_half_written_files_are_ignored_and_swept(client: Client, pages: Path, out: str) -> None:
    go(client, pages, out)
    part = Path(out) / Destination(out).parts(MODEL.key)[0]
    left = part.with_name(f".{part.name}.x.part")
    left.write_bytes(b"half")
    assert go(client, pages, out).skipped == 23
    assert not left.exists()


def test_repeated_batch_overwrites_its_own_file(pages: Path, out: str) -> None:
    install(MODEL)
    batch = Batch(out, MODEL.key, tuple(list_pages(str(pages)))[:5])
    answer_batch(batch)
    answer_batch(batch)
    assert Destination(out).parts(MODEL.key) == [part_name(MODEL.key, batch.name)]


def test_store_without_stamps_is_compared_by_content(client: Client) -> None:
    import fsspec

    store = fsspec.filesystem("memory")
    for i in range(9):
        store.pipe_file(f"/hospital/ward/{i}.jpg", f"page {i}".encode())
    assert go(client, "memory://hospital", "memory://answers").files == 9
    # This store tells neither tags nor times: what is held is told by the content's hash.
    assert go(client, "memory://hospital", "memory://answers").kept == 9
    assert [row["site"] for row in rows_in("memory://answers")] == ["ward"] * 9


def test_poison_page_is_narrowed_down_by_a_child_process(pages: Path) -> None:
    with Isolated(MODEL) as process:
        good = process.answers(PageFile("a.jpg"), b"fine")
        bad = process.answers(PageFile("b.jpg"), b"poison")
        after = process.answers(PageFile("c.jpg"), b"2 pages")
    assert good[0]["status"] in ("ok", "uncertain")
    assert bad[0]["status"] == "error"
    assert "ended the program" in bad[0]["reasons"][0]
    assert [answer["page"] for answer in after] == [1, 2]


def test_batch_that_kills_workers_is_isolated_then_halved_then_given_up(
    client: Client, pages: Path, out: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []

    def killer(batch: Batch) -> None:
        calls.append(len(batch.files))
        raise KilledWorker("task", SimpleNamespace(address="tcp://x:1"), 0)

    monkeypatch.setattr(schedule, "answer_batch", killer)
    monkeypatch.setattr(schedule, "answer_batch_isolated", killer)
    monkeypatch.setattr(schedule, "_WRITE_TRIES", 0)
    totals = go(client, pages, out, batch_files=23)
    assert totals.isolated == 1
    assert dict(totals.statuses) == {"error": 23}
    assert len(rows_in(out)) == 23


def test_given_up_pages_say_so(pages: Path, out: str) -> None:
    files = tuple(list_pages(str(pages)))[:2]
    give_up(Batch(out, MODEL.key, files), MODEL)
    assert all("ended the program" in row["reasons"][0] for row in rows_in(out))


def test_store_that_stops_answering_stops_the_run_and_leaves_no_error_rows(
    out: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import runtime.archive.work as work

    def gone(file: PageFile) -> bytes:
        raise SourceError("expired")

    install(MODEL)
    monkeypatch.setattr(work, "read_page", gone)
    files = tuple(PageFile(f"s3://b/{i}.jpg", size=1, stamp="s") for i in range(64))
    with pytest.raises(SourceError):
        answer_batch(Batch(out, MODEL.key, files))
    assert rows_in(out) == []


def test_refused_write_ends_the_run_with_its_exit_code(client: Client, pages: Path) -> None:
    with pytest.raises(OutputError) as raised:
        go(client, pages, "/proc/nowhere")
    assert raised.value.exit_code == ExitCode.OUTPUT


@pytest.mark.parametrize(
    "fault",
    [CommClosedError("reset by peer"), ClosedClientError(), FutureCancelledError("key", "gone")],
)
def test_conversation_that_breaks_off_is_a_lost_cluster(
    client: Client, pages: Path, out: str, fault: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def result(future: Future) -> None:
        raise fault

    monkeypatch.setattr(Future, "result", result)
    with pytest.raises(schedule.ClusterLostError, match="goes on from there"):
        go(client, pages, out)


def test_listing_is_read_no_further_than_the_window(client: Client, out: str) -> None:
    read = 0

    def endless() -> Iterator[PageFile]:
        nonlocal read
        while True:
            read += 1
            yield PageFile(f"/nowhere/{read}.jpg")

    class Stop(Exception):
        pass

    class Listener:
        def answered(self, result: Any) -> None:
            raise Stop

        def skipped(self, files: int) -> None: ...

        def waiting(self, threads: int) -> None: ...

    with contextlib.suppress(Stop):
        score(endless(), out, MODEL, client, batch_files=2, listener=Listener())
    assert read <= 2 * (schedule._WINDOW_LEAST + 1)


def test_worker_of_another_release_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    plugin = ModelPlugin(MODEL)
    monkeypatch.setattr(runtime.archive.plugin, "__version__", "9.9")
    with pytest.raises(UsageError, match="same release"):
        plugin.setup(SimpleNamespace(address="tcp://worker:1"))


def test_held_pages_do_not_count_as_speed() -> None:
    progress = Progress(stream=io.StringIO())
    progress.skip(900)
    progress.step(10)
    progress.expect(1000)
    now = progress._started + 10
    assert progress.line(now).endswith("910/1000 pages, 1.0 a second, 1:30 left")


def test_cut_is_consecutive_and_complete() -> None:
    files = [PageFile(str(i)) for i in range(10)]
    assert [len(some) for some in cut(files, 4)] == [4, 4, 2]
    assert [file for some in cut(files, 4) for file in some] == files


def test_zip_is_refused_as_destination(tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        Destination(str(tmp_path / "x.zip"))


@pytest.mark.parametrize(
    "words",
    [
        ["pages"],
        ["pages", "elsewhere"],
        ["pages", "--out", "d", "--labels", "x.csv"],
        ["pages", "--out", "pages/out"],
        ["report", "dest", "--out", "d"],
        ["pages", "--out", "d", "--workers", "2", "--scheduler", "tcp://x:1"],
        ["report", "dest", "--time-column", "t"],
    ],
)
def test_contradictory_arguments_are_usage_errors(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["archive", *words]) == ExitCode.USAGE
    assert capsys.readouterr().err.startswith("ecg-edge: ")
