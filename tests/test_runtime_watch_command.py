from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from stub_reader import KILLER, StubReader, put, stub_page

from runtime import classifier, cli
from runtime.errors import ExitCode
from runtime.supervisor import notify

ROOT = Path(__file__).resolve().parents[1]
CHILD = (
    "import sys; sys.path[:0] = ['tests']\n"
    "from stub_reader import StubReader\n"
    "from runtime import classifier, cli\n"
    "classifier.Classifier.from_bundle = classmethod(lambda *_: StubReader())\n"
    "sys.exit(cli.main(['watch', *sys.argv[1:]]))\n"
)


@pytest.fixture
def stubbed(monkeypatch) -> None:
    monkeypatch.setattr(classifier.Classifier, "from_bundle", lambda *_: StubReader())


def start(tmp_path: Path, *flags: str) -> subprocess.Popen:
    words = [str(tmp_path / "in"), "--out", str(tmp_path / "out"), "--interval", "0.05"]
    return subprocess.Popen(
        [sys.executable, "-c", CHILD, *words, "--settle", "0.1", *flags],
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for(path: Path, seconds: float = 30.0) -> None:
    end = time.monotonic() + seconds
    while not path.exists():
        assert time.monotonic() < end, f"{path} did not come"
        time.sleep(0.02)


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, ExitCode.OK), (signal.SIGINT, ExitCode.INTERRUPTED)]
)
def test_signal_ends_the_watch_in_order(tmp_path: Path, number: int, code: int) -> None:
    (tmp_path / "in").mkdir()
    put(tmp_path / "in", "a.jpg", stub_page())
    with start(tmp_path) as process:
        wait_for(tmp_path / "out/a.jpg.ecg.json")
        process.send_signal(number)
        assert process.wait(timeout=30) == code
        assert process.stderr is not None
        assert process.stderr.read() == ""


def test_page_that_ends_the_process_is_left_with_an_error_after_three_starts(
    tmp_path: Path,
) -> None:
    (tmp_path / "in").mkdir()
    put(tmp_path / "in", "a.jpg", KILLER)
    put(tmp_path / "in", "b.jpg", stub_page())
    for _ in range(3):
        with start(tmp_path) as process:
            assert process.wait(timeout=30) == 139
    with start(tmp_path) as process:
        wait_for(tmp_path / "out/b.jpg.ecg.json")
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=30) == 0
    record = json.loads((tmp_path / "out/a.jpg.ecg.json").read_text())
    assert record["status"] == "error"
    assert "ended the program 3 times" in record["reasons"][0]


@pytest.mark.usefixtures("stubbed")
def test_one_pass_from_the_command_line(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    put(tmp_path / "in", "a.jpg", stub_page("covid19"))
    words = ["watch", str(tmp_path / "in"), "--out", str(tmp_path / "out"), "--once"]
    assert cli.main([*words, "--interval", "0.01", "--settle", "0"]) == ExitCode.OK
    assert json.loads((tmp_path / "out/a.jpg.ecg.json").read_text())["label"] == "covid19"


@pytest.mark.usefixtures("stubbed")
def test_refusals_have_their_exit_codes(tmp_path: Path, capsys) -> None:
    inbox = tmp_path / "in"
    inbox.mkdir()
    (tmp_path / "link").symlink_to(inbox)
    (tmp_path / "file").touch()
    cases = [
        ([str(inbox), "--out", str(inbox / "out")], ExitCode.USAGE),
        ([f"{tmp_path}/link/", "--out", str(tmp_path / "out")], ExitCode.USAGE),
        ([str(tmp_path / "none"), "--out", str(tmp_path / "out")], ExitCode.NO_INPUT),
        ([str(inbox), "--out", str(tmp_path / "file")], ExitCode.OUTPUT),
        ([str(inbox), "--out", str(tmp_path / "out"), "--ledger", "/none/l"], ExitCode.OUTPUT),
    ]
    for words, code in cases:
        assert cli.main(["watch", *words, "--once"]) == code
        assert capsys.readouterr().err.startswith("ecg-edge: ")


@pytest.mark.parametrize("flag", ["--interval=0", "--interval=x", "--settle=-1", "--settle=nan"])
def test_senseless_times_are_refused(tmp_path: Path, flag: str) -> None:
    with pytest.raises(SystemExit) as stopped:
        cli.main(["watch", str(tmp_path), "--out", "/tmp/out", flag])
    assert stopped.value.code == ExitCode.USAGE


def test_systemd_is_told(tmp_path: Path, monkeypatch) -> None:
    import socket

    address = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.bind(address)
        monkeypatch.setenv("NOTIFY_SOCKET", address)
        notify("READY=1", "STATUS=watching")
        assert channel.recv(100) == b"READY=1\nSTATUS=watching"
        for _ in range(20):
            notify("WATCHDOG=1")  # nor is one that does not listen
    os.unlink(address)
    notify("READY=1")  # a supervisor that went away is no reason to stop
