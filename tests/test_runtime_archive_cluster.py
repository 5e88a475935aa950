"""The archive on real processes: separate addresses, kills, an S3-compatible server."""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest

pytest.importorskip("distributed")

from archive_stub import Stub, packed, write_pages
from conftest import ROOT, missing

from runtime.archive.cluster import open_client
from runtime.archive.destination import Destination
from runtime.archive.report import write_report
from runtime.archive.schedule import ClusterLostError, Totals, score
from runtime.archive.source import list_pages
from runtime.bundle import available_bundles
from runtime.cli import main
from runtime.errors import ExitCode
from runtime.inputs import Input

pytestmark = pytest.mark.slow

TESTS = Path(__file__).resolve().parent
MODEL = packed()


@pytest.fixture(autouse=True)
def _workers_find_the_stub(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(TESTS), str(TESTS.parent)]))


def free_port(host: str) -> int:
    with socket.socket() as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


@contextmanager
def process(*words: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run ``dask WORDS`` in a session of its own, and end it with all its children."""
    child = subprocess.Popen(
        [sys.executable, "-m", "dask", *words],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        yield child
    finally:
        with suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()


class Cluster:
    """A scheduler and two workers, each a process on a loopback address of its own."""

    def __init__(self, folder: Path, scheduler_file: bool = False) -> None:
        self.port = free_port("127.0.0.2")
        self.address = f"tcp://127.0.0.2:{self.port}"
        self.file = folder / "scheduler.json"
        self._stack = ExitStack()
        extra = ["--scheduler-file", str(self.file)] if scheduler_file else []
        self.scheduler = self._stack.enter_context(
            process(
                "scheduler", "--host", "127.0.0.2", "--port", str(self.port), "--no-dashboard",
                "--no-show", *extra,
            )
        )  # fmt: skip
        self.workers = [
            self._stack.enter_context(
                process(
                    "worker", self.address, "--host", host, "--nthreads", "1", "--no-dashboard",
                    "--local-directory", str(folder / host),
                )
            )
            for host in ("127.0.0.3", "127.0.0.4")
        ]  # fmt: skip

    def __enter__(self) -> Cluster:
        return self

    def __exit__(self, *fault: object) -> None:
        self._stack.close()

    def worker_pids(self) -> list[int]:
        """Return the processes that compute: the nannies' children that are no trackers."""
        found = []
        for nanny in self.workers:
            for child in children(nanny.pid):
                words = Path(f"/proc/{child}/cmdline").read_bytes()
                if b"spawn_main" in words:
                    found.append(child)
        return found


def children(pid: int) -> list[int]:
    return [
        int(child)
        for task in Path(f"/proc/{pid}/task").glob("*/children")
        for child in task.read_text().split()
    ]


def go(cluster: str | int, source: Path | str, out: Path | str) -> Totals:
    """Answer a source on the cluster at an address, or on so many processes of our own."""
    named, workers = (cluster, None) if isinstance(cluster, str) else (None, cluster)
    with open_client(named, workers) as client:
        return score(list_pages(str(source)), str(out), MODEL, client, batch_files=8)


def assert_same_as_stub(pages: Path, out: Path | str) -> None:
    """Check that each page has exactly one row, equal to what one process answers."""
    destination = Destination(str(out))
    parts = destination.parts(MODEL.key)
    rows = [row for part in parts for row in destination.read(part).to_pylist()]
    stub = Stub()
    expected = [
        prediction.to_record()
        for path in pages.rglob("*.jpg")
        for prediction in stub.classify_pages(Input(str(path), path.read_bytes()))
    ]
    found = sorted((json.loads(row["record"]) for row in rows), key=lambda r: r["source"])
    assert found == sorted(expected, key=lambda r: str(r["source"]))


def test_cluster_of_three_processes_on_separate_addresses(tmp_path: Path) -> None:
    write_pages(tmp_path / "in", {f"s{i % 3}/{i}.jpg": f"slow {i}" for i in range(160)})
    with Cluster(tmp_path, scheduler_file=True) as cluster:
        totals = go(cluster.address, tmp_path / "in", tmp_path / "out")
        assert totals.files == 160
        assert_same_as_stub(tmp_path / "in", tmp_path / "out")
        assert go(str(cluster.file), tmp_path / "in", tmp_path / "out").skipped == 160


def test_killed_workers_and_scheduler_leave_one_row_a_page(tmp_path: Path) -> None:
    pages, out = tmp_path / "in", tmp_path / "out"
    write_pages(pages, {f"s{i % 3}/{i}.jpg": f"slow {i}" for i in range(700)})
    randomly = random.Random(8)
    killed = []

    def kill(cluster: Cluster) -> None:
        deadline = time.monotonic() + 60
        while len(killed) < 5 and time.monotonic() < deadline:
            time.sleep(randomly.uniform(0.4, 0.8))
            pids = cluster.worker_pids()
            if pids and list(out.rglob("*.parquet")):
                with suppress(ProcessLookupError):
                    os.kill(pid := randomly.choice(pids), signal.SIGKILL)
                    killed.append(pid)
        time.sleep(1)
        os.kill(cluster.scheduler.pid, signal.SIGKILL)

    with Cluster(tmp_path) as cluster:
        killer = threading.Thread(target=kill, args=(cluster,))
        killer.start()
        with pytest.raises(ClusterLostError, match="goes on from there"):
            go(cluster.address, pages, out)
        killer.join()
    assert len(set(killed)) == 5
    with Cluster(tmp_path) as cluster:
        totals = go(cluster.address, pages, out)
    assert totals.skipped > 0
    assert totals.files == 700 - totals.skipped
    assert_same_as_stub(pages, out)


def test_page_that_ends_its_process_becomes_an_error_row(tmp_path: Path) -> None:
    pages = tmp_path / "in"
    write_pages(pages, {f"{i:02}.jpg": f"page {i}" for i in range(30)} | {"13.jpg": "poison"})
    totals = go(2, pages, tmp_path / "out")
    assert totals.isolated >= 1
    assert totals.statuses["error"] == 1
    destination = Destination(str(tmp_path / "out"))
    rows = [
        row for part in destination.parts(MODEL.key) for row in destination.read(part).to_pylist()
    ]
    assert len(rows) == 30
    bad = [row for row in rows if row["status"] == "error"]
    assert [os.path.basename(row["source"]) for row in bad] == ["13.jpg"]
    assert "ended the program" in bad[0]["reasons"][0]


def test_s3_server_as_source_and_destination(monkeypatch: pytest.MonkeyPatch) -> None:
    s3fs = pytest.importorskip("s3fs")
    s3fs.S3FileSystem.clear_instance_cache()  # another test's has looked for credentials in vain
    boto3 = pytest.importorskip("boto3")
    moto = pytest.importorskip("moto.server")
    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=free_port("127.0.0.1"))
    server.start()
    try:
        host, port = server.get_host_and_port()
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
        monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        store = boto3.session.Session().client("s3")
        for bucket in ("hospital", "answers"):
            store.create_bucket(Bucket=bucket)
        for i in range(40):
            key = f"pages/site {i % 2}/{i:02}.jpg"
            store.put_object(Bucket="hospital", Key=key, Body=f"page {i}".encode())
        source, out = "s3://hospital/pages", "s3://answers/run"
        with open_client(None, 2) as client:

            def again() -> Totals:
                return score(list_pages(source), out, MODEL, client, batch_files=8)

            first, second = again(), again()
            assert (first.files, first.skipped) == (40, 0)
            assert (second.files, second.skipped) == (0, 40)
            store.put_object(Bucket="hospital", Key="pages/site 0/00.jpg", Body=b"reject")
            store.put_object(Bucket="hospital", Key="pages/site 1/new.jpg", Body=b"new")
            third = again()
            assert (third.files, third.skipped, third.kept) == (2, 39, 0)
        text = write_report(out, None, None, None)
        assert "41 pages of 41 files" in text
        assert "| site 1 | 21 |" in text
        report = store.get_object(Bucket="answers", Key="run/_report/report.md")["Body"].read()
        assert report.decode() == text
    finally:
        server.stop()


def ended(group: int) -> bool:
    """Wait up to ten seconds for the last process of a group, the tracker of shared memory."""
    for _ in range(100):
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.1)
    return False


INTERRUPTED = """
import sys
from archive_stub import packed
from runtime.archive.cluster import open_client
from runtime.archive.schedule import score
from runtime.archive.source import list_pages

if __name__ == "__main__":
    with open_client(None, 2) as client:
        score(list_pages(sys.argv[1]), sys.argv[2], packed(), client, batch_files=8)
"""


def test_interrupt_ends_all_processes_and_leaves_what_can_be_resumed(tmp_path: Path) -> None:
    pages, out, script = tmp_path / "in", tmp_path / "out", tmp_path / "run.py"
    write_pages(pages, {f"{i:04}.jpg": f"slow {i}" for i in range(1000)})
    script.write_text(INTERRUPTED)
    child = subprocess.Popen(
        [sys.executable, str(script), str(pages), str(out)],
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    deadline = time.monotonic() + 60
    while len(list(out.rglob("*.parquet"))) < 4 and time.monotonic() < deadline:
        time.sleep(0.05)
    os.killpg(child.pid, signal.SIGINT)  # as a terminal does: to every process of the run
    _, err = child.communicate(timeout=60)
    assert err.count("Traceback") == 1  # the script's own KeyboardInterrupt, none of a worker's
    assert ended(child.pid)
    held = len(Destination(str(out)).held(MODEL.key))
    assert 32 <= held < 1000
    assert held % 8 == 0


def test_command_answers_as_classify_does(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if not available_bundles():
        missing("no bundle under models/: run make models")
    for i, page in enumerate(sorted((ROOT / "models" / "samples").glob("*.*"))):
        target = tmp_path / "in" / f"site{i % 2}" / page.name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(page.read_bytes())
    (tmp_path / "in" / "text.jpg").write_text("this is no picture")
    (tmp_path / "in" / "empty.png").touch()
    (tmp_path / "in" / "link.jpg").symlink_to("nowhere")
    words = ["archive", str(tmp_path / "in"), "--out", str(tmp_path / "out"), "--workers", "2"]
    done = subprocess.run(
        [sys.executable, "-m", "runtime", *words, "--batch", "2"],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == ExitCode.SOME_INPUTS_FAILED, done.stderr
    assert "dashboard: http://127.0.0.1:" in done.stderr
    main(["classify", "-r", str(tmp_path / "in"), "--format", "jsonl"])
    expected = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    destination = Destination(str(tmp_path / "out"))
    (model,) = destination.models()
    parts = destination.parts(model)
    found = [
        json.loads(row["record"]) for part in parts for row in destination.read(part).to_pylist()
    ]
    for record in (*expected, *found):
        del record["timing_ms"]
    by_name = sorted(found, key=lambda r: (r["source"], r["page"]))
    assert by_name == sorted(expected, key=lambda r: (r["source"], r["page"]))
    assert any(record["status"] in ("ok", "uncertain") for record in found)
