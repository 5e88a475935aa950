"""The service on real sockets with real workers: slow, large and many requests, signals."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import ssl
import struct
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import pytest
from conftest import ROOT
from onnx_bundle import write_bundle
from sample_files import ecg_page, saved
from serving import InProcess, running

from runtime.serve.settings import Settings

PAGE = saved(ecg_page(), "JPEG", quality=85)
RAW = {"Content-Type": "image/jpeg"}


@pytest.fixture(scope="module")
def bundle_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bundle(tmp_path_factory.mktemp("bundle"))


@contextmanager
def command(bundle: Path, *options: str) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """Run `python -m runtime serve` and give its address once it listens."""
    words = [sys.executable, "-m", "runtime", "serve", "--port", "0", "--model", str(bundle)]
    process = subprocess.Popen(
        [*words, *options], cwd=ROOT, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stderr is not None
        address = None
        for line in process.stderr:
            if found := re.search(r"https?://\S+", line):
                address = found[0].rstrip("/").replace("0.0.0.0", "127.0.0.1")
                break
        assert address, "the service did not start"
        yield address, process
    finally:
        process.kill()
        process.communicate()


def connect(address: str) -> socket.socket:
    host, port = address.split("//")[1].split(":")
    return socket.create_connection((host, int(port)), timeout=20)


def rest(connection: socket.socket) -> bytes:
    """Read until the service closes the connection."""
    content = b""
    try:
        while chunk := connection.recv(65536):
            content += chunk
    except ConnectionResetError:
        pass
    return content


FAST = Settings(header_timeout_s=0.4, body_grace_s=0.5, body_timeout_s=1.0, max_body_bytes=400_000)


@pytest.fixture(scope="module")
def fast() -> Iterator[str]:
    """A service whose patience is short, answering in this process."""
    with running(FAST, InProcess()) as address:
        yield address


def closed_within(connection: socket.socket, seconds: float) -> bytes:
    begun = time.monotonic()
    content = rest(connection)
    assert time.monotonic() - begun < seconds
    return content


@pytest.mark.parametrize("sent", [b"", b"POST /classify HTTP/1.1\r\nHost: localhost\r\n"])
def test_a_head_that_does_not_come_ends_the_connection(fast: str, sent: bytes) -> None:
    with connect(fast) as connection:
        connection.sendall(sent)
        closed_within(connection, 5)


def test_a_head_that_drips_in_ends_the_connection(fast: str) -> None:
    with connect(fast) as connection:
        begun = time.monotonic()
        connection.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n")
        with suppress(ConnectionError):
            while time.monotonic() - begun < 10:
                connection.sendall(b"X-A: b\r\n")
                time.sleep(0.05)
        assert time.monotonic() - begun < 5


def test_a_second_head_that_drips_in_ends_a_kept_connection(fast: str) -> None:
    with connect(fast) as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert connection.recv(65536).startswith(b"HTTP/1.1 200")
        connection.sendall(b"GET /healthz HTTP/1.1\r\n")
        closed_within(connection, 5)


def test_a_body_that_drips_in_is_refused(fast: str) -> None:
    head = b"POST /classify HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/jpeg\r\n"
    with connect(fast) as connection:
        connection.sendall(head + b"Content-Length: 100000\r\n\r\n")
        connection.sendall(b"x")
        assert closed_within(connection, 6).startswith(b"HTTP/1.1 408")


def test_a_body_larger_than_stated_limits_is_refused_as_it_comes(fast: str) -> None:
    head = b"POST /classify HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/jpeg\r\n"
    with connect(fast) as connection:
        connection.sendall(head + b"Transfer-Encoding: chunked\r\n\r\n")
        for _ in range(45):
            connection.sendall(b"2710\r\n" + b"x" * 10_000 + b"\r\n")
        connection.sendall(b"0\r\n\r\n")
        assert closed_within(connection, 6).startswith(b"HTTP/1.1 413")


def test_a_stated_length_above_the_limit_is_refused_before_the_body(fast: str) -> None:
    head = b"POST /classify HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/jpeg\r\n"
    with connect(fast) as connection:
        connection.sendall(head + b"Expect: 100-continue\r\nContent-Length: 999999999999\r\n\r\n")
        assert closed_within(connection, 6).startswith(b"HTTP/1.1 413")


def test_a_head_of_a_megabyte_is_refused(fast: str) -> None:
    with connect(fast) as connection:
        try:
            connection.sendall(b"GET / HTTP/1.1\r\nX-Long: " + b"a" * 2**20)
        except ConnectionError:
            return
        answer = closed_within(connection, 6)
        assert answer == b"" or answer.startswith(b"HTTP/1.1 400")


def test_many_idle_connections_do_not_lock_others_out(fast: str) -> None:
    idle = [connect(fast) for _ in range(100)]
    try:
        assert httpx.get(f"{fast}/healthz", timeout=10).status_code == 200
        assert httpx.post(f"{fast}/classify", content=PAGE, headers=RAW).status_code == 200
    finally:
        for connection in idle:
            connection.close()


def test_connections_beyond_the_limit_are_told_to_come_again() -> None:
    with running(Settings(max_connections=3), InProcess()) as address:
        held = [connect(address) for _ in range(3)]
        time.sleep(0.1)
        with connect(address) as one_more:
            answer = rest(one_more)
        assert answer.startswith(b"HTTP/1.1 429")
        assert b"Retry-After" in answer
        for connection in held:
            connection.close()


def test_requests_beyond_the_limit_get_429_and_when_to_come_again() -> None:
    with running(Settings(workers=1, waiting=1), InProcess(pause_s=0.5)) as address:

        def send(_: int) -> httpx.Response:
            return httpx.post(f"{address}/classify", content=PAGE, headers=RAW, timeout=20)

        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(send, range(8)))
    codes = sorted(answer.status_code for answer in answers)
    assert codes == [200] * 2 + [429] * 6
    assert all(
        answer.headers["retry-after"] == "1" for answer in answers if answer.status_code == 429
    )


def test_uploads_together_stay_within_a_bound() -> None:
    settings = Settings(max_body_bytes=100_000, workers=1, waiting=0)
    head = b"POST /classify HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/jpeg\r\n"
    with running(settings, InProcess()) as address:
        held = []
        for _ in range(4):  # three bodies and a bit fit in hand
            connection = connect(address)
            connection.sendall(head + b"Content-Length: 99000\r\n\r\n" + b"x" * 90_000)
            held.append(connection)
        held[-1].settimeout(10)
        assert held[-1].recv(65536).startswith(b"HTTP/1.1 429")
        for connection in held:
            connection.close()
        time.sleep(0.3)
        answer = httpx.post(f"{address}/classify", content=PAGE[:90_000], headers=RAW)
        assert answer.status_code in (200, 422)


def test_real_workers_answer_alike_and_the_audit_names_nobody(
    bundle_folder: Path, tmp_path: Path
) -> None:
    log = tmp_path / "audit.jsonl"
    with command(bundle_folder, "--audit-log", str(log)) as (address, process):
        form = {"file": ("Jane Doe.jpg", PAGE, "image/jpeg")}
        answer = httpx.post(f"{address}/classify?explain=1", files=form, timeout=30)
        assert answer.status_code == 200
        assert answer.json()["model"]["engine"] == "onnxruntime"
        assert answer.json()["explanation"]["method"] in ("occlusion", None)
        assert httpx.get(f"{address}/info").json()["name"] == "ecg-small"
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
        assert process.stderr is not None
        assert "Jane" not in process.stderr.read()
    line = json.loads(log.read_text())
    assert line["sha256"] == answer.json()["sha256"]
    assert "Jane" not in log.read_text()


def test_sigterm_finishes_the_request_in_hand(bundle_folder: Path) -> None:
    with command(bundle_folder) as (address, process):
        with connect(address) as connection:
            head = f"POST /classify HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(PAGE)}\r\n"
            connection.sendall(head.encode() + b"Content-Type: image/jpeg\r\n\r\n" + PAGE[:1000])
            time.sleep(0.3)
            process.send_signal(signal.SIGTERM)
            time.sleep(0.3)
            connection.sendall(PAGE[1000:])
            answer = rest(connection)
        assert answer.startswith(b"HTTP/1.1 200")
        assert process.wait(20) == 0
        with pytest.raises(OSError, match="refused"):
            connect(address)


def children(process: subprocess.Popen[str]) -> list[int]:
    path = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    return [int(word) for word in path.read_text().split()]


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="reads /proc")
def test_a_worker_that_is_killed_is_replaced(bundle_folder: Path) -> None:
    with command(bundle_folder, "--workers", "1") as (address, process):
        (worker,) = children(process)
        os.kill(worker, signal.SIGKILL)
        codes = []
        for _ in range(100):
            answer = httpx.post(f"{address}/classify", content=PAGE, headers=RAW, timeout=30)
            codes.append(answer.status_code)
            if answer.status_code == 200:
                break
            time.sleep(0.1)
        assert codes[-1] == 200
        assert set(codes) <= {200, 422, 503}
        assert children(process) != [worker]


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="reads /proc")
def test_a_page_that_takes_too_long_ends_its_worker_only(bundle_folder: Path) -> None:
    with command(bundle_folder, "--workers", "1", "--timeout", "1") as (address, process):
        (worker,) = children(process)
        os.kill(worker, signal.SIGSTOP)  # hangs, as a decoder in an endless loop would
        hung = httpx.post(f"{address}/classify", content=PAGE, headers=RAW, timeout=30)
        assert hung.status_code == 422
        assert "longer than 1 s" in hung.json()["reasons"][0]
        for _ in range(100):
            answer = httpx.post(f"{address}/classify", content=PAGE, headers=RAW, timeout=30)
            if answer.status_code == 200:
                break
            time.sleep(0.1)
        assert answer.status_code == 200


def test_the_workers_end_with_the_service_even_when_it_is_killed(bundle_folder: Path) -> None:
    with command(bundle_folder, "--workers", "2") as (_, process):
        workers = children(process)
        assert len(workers) == 2
        process.kill()
        process.wait()
        for _ in range(100):
            alive = [pid for pid in workers if Path(f"/proc/{pid}/stat").exists()]
            running_now = [
                pid for pid in alive if Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
            ]
            if not running_now:
                return
            time.sleep(0.1)
        pytest.fail("workers outlived the service")


def png_bomb() -> bytes:
    """Return 60,000 x 60,000 px in 5 kB."""

    def part(kind: bytes, data: bytes) -> bytes:
        checksum = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + checksum

    head = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 0, 0, 0, 0)
    body = zlib.compress(b"\0" * 5_000_000)
    parts = [part(b"IHDR", head), part(b"IDAT", body), part(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def peak_kb(pid: int) -> int:
    found = re.search(r"VmHWM:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())
    assert found
    return int(found[1])


def test_bomb_like_bodies_are_refused_in_bounded_memory_and_time(bundle_folder: Path) -> None:
    zeros = b"\0" * 5000
    bodies = [png_bomb(), b"PK\x03\x04" + zeros, b"\x1f\x8b\x08" + zeros, b"<html>" * 500]
    bodies.append(b"%PDF-1.7\n" + b"1 0 obj <</Type/Pages/Kids[1 0 R]>> " * 20_000)
    with command(bundle_folder, "--workers", "1", "--timeout", "5") as (address, process):
        for content in bodies:
            answer = httpx.post(f"{address}/classify", content=content, headers=RAW, timeout=20)
            assert answer.status_code in (200, 422)
            assert answer.json()["status"] in ("error", "rejected")
        for pid in [process.pid, *children(process)]:
            assert peak_kb(pid) < 500_000


def test_usage_errors_end_with_2_and_a_missing_bundle_with_4(tmp_path: Path) -> None:
    def run(*words: str) -> tuple[int, str]:
        done = subprocess.run(
            [sys.executable, "-m", "runtime", "serve", *words],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=60,
        )
        return done.returncode, done.stderr

    bundle = str(write_bundle(tmp_path / "b"))
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        code, err = run("--model", bundle, "--port", str(taken.getsockname()[1]))
    assert code == 2
    assert "--port" in err
    code, err = run("--model", bundle, "--host", "0.0.0.0")
    assert code == 2
    assert "--allow-remote" in err
    code, err = run("--model", str(tmp_path / "none"))
    assert code == 4
    assert "Traceback" not in err


def test_tls_and_a_token_serve_other_machines(bundle_folder: Path, tmp_path: Path) -> None:
    certificate, key, token = tmp_path / "cert.pem", tmp_path / "key.pem", tmp_path / "token"
    words = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost".split()
    words += ["-keyout", str(key), "-out", str(certificate)]
    subprocess.run(words, check=True, capture_output=True)
    token.write_text("a-token-of-many-letters")
    options = ["--allow-remote", "--token-file", str(token)]
    options += ["--certfile", str(certificate), "--keyfile", str(key)]
    with command(bundle_folder, *options) as (address, _):
        assert address.startswith("https://")
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        assert httpx.get(f"{address}/info", verify=context).status_code == 401
        headers = {"Authorization": "Bearer a-token-of-many-letters", **RAW}
        answer = httpx.post(
            f"{address}/classify", content=PAGE, headers=headers, verify=context, timeout=30
        )
        assert answer.status_code == 200


def test_one_service_answers_many_clients_correctly(bundle_folder: Path) -> None:
    pages = [saved(ecg_page(900 + 40 * n), "PNG") for n in range(4)]
    expected: dict[int, str] = {}
    wrong: list[str] = []
    with command(bundle_folder, "--workers", "2", "--waiting", "8") as (address, _):

        def ask(number: int) -> None:
            content = pages[number % 4]
            answer = httpx.post(f"{address}/classify", content=content, headers=RAW, timeout=30)
            if answer.status_code == 429:
                return
            checksum = answer.json()["sha256"]
            with lock:
                if expected.setdefault(number % 4, checksum) != checksum:
                    wrong.append(checksum)

        lock = threading.Lock()
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(ask, range(40)))
    assert not wrong
    assert len(set(expected.values())) == 4
