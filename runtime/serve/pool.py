"""The service's workers: starts them, hands uploads out, replaces those that hang or die."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

from runtime.errors import EcgEdgeError, ExitCode
from runtime.serve.answers import Answers
from runtime.serve.frames import pack, receive_frame

if TYPE_CHECKING:
    from runtime.serve.settings import Settings

__all__ = ["Answerer", "NoWorker", "NotAnswered", "WorkerPool"]

_log = logging.getLogger("ecg_edge.serve")

_START_S: Final = 60.0
"""Longest start of a worker; a small board with a cold disk needs some seconds."""
_STOP_S: Final = 5.0
_PIPE_BYTES: Final = 256 * 1024
"""Bytes written to a worker at a time, so that a large upload is not copied whole."""
_AGAIN_S: Final = (0.0, 1.0, 5.0, 15.0)
"""Pauses before a worker is started again; the last one repeats."""


class NotAnswered(Exception):
    """The worker that had the upload hung or died; the message says so in plain words."""


class NoWorker(Exception):
    """No worker became free in time; the upload was not looked at."""


class Answerer(Protocol):
    """Answers uploads; `WorkerPool`, or a double in tests."""

    model: dict[str, str]
    """The ``model`` part of every record."""
    facts: dict[str, Any]
    """What `runtime.commands.info` tells about the bundle."""
    deaths: int
    """Workers that were ended or died since the start."""

    @property
    def ready(self) -> bool:
        """Whether at least one worker can answer."""
        ...

    async def answer(self, body: bytes | bytearray, name: str, explain: bool) -> Answers:
        """Answer one upload.

        Raises
        ------
        NotAnswered
            If its worker had to be ended or ended by itself.
        NoWorker
            If all workers are taken for too long.
        """
        ...


class WorkerPool:
    """Processes that answer one upload at a time each.

    Use `start`; `close` ends the processes.
    """

    def __init__(self, directory: str, settings: Settings) -> None:
        self._directory = directory
        self._settings = settings
        self._idle: asyncio.Queue[asyncio.subprocess.Process] = asyncio.Queue()
        self._alive: set[asyncio.subprocess.Process] = set()
        self._restarts: set[asyncio.Task[None]] = set()
        self._closing = False
        self.model: dict[str, str] = {}
        self.facts: dict[str, Any] = {}
        self.deaths = 0

    @classmethod
    async def start(cls, directory: str, settings: Settings) -> WorkerPool:
        """Start all workers.

        Raises
        ------
        EcgEdgeError
            If one cannot load the bundle; the exit code is the worker's.
        """
        pool = cls(directory, settings)
        try:
            await asyncio.gather(*(pool._start_worker() for _ in range(settings.workers)))
        except BaseException:
            await pool.close()
            raise
        return pool

    @property
    def ready(self) -> bool:
        """Whether at least one worker can answer."""
        return bool(self._alive) and not self._closing

    async def answer(self, body: bytes | bytearray, name: str, explain: bool) -> Answers:
        """Hand one upload to the next idle worker; see `Answerer`."""
        try:
            async with asyncio.timeout(self._settings.answer_timeout_s):
                worker = await self._idle.get()
        except TimeoutError:
            raise NoWorker from None
        try:
            async with asyncio.timeout(self._settings.answer_timeout_s):
                answers = await self._exchange(worker, body, name, explain)
        except TimeoutError:
            self._replace(worker)
            raise NotAnswered(
                f"reading this took longer than {self._settings.answer_timeout_s:g} s and was "
                "ended; save the page as JPEG or PNG and send one page at a time"
            ) from None
        except (asyncio.IncompleteReadError, ConnectionError):
            self._replace(worker)
            raise NotAnswered(
                "reading this page ended the process that read it; save it as JPEG or PNG"
            ) from None
        except BaseException:
            # Half an exchange is in the pipe: this worker cannot be used again.
            self._replace(worker)
            raise
        self._idle.put_nowait(worker)
        return answers

    async def _exchange(
        self, worker: asyncio.subprocess.Process, body: bytes | bytearray, name: str, explain: bool
    ) -> Answers:
        assert worker.stdin is not None
        assert worker.stdout is not None
        head = {"name": name, "explain": explain, "pages": self._settings.max_pages}
        worker.stdin.write(pack(head, body))
        whole = memoryview(body)
        for begin in range(0, len(whole), _PIPE_BYTES):
            worker.stdin.write(whole[begin : begin + _PIPE_BYTES])
            await worker.stdin.drain()
        reply, pictures = await receive_frame(worker.stdout)
        cut: list[bytes] = []
        begin = 0
        for size in reply["sizes"]:
            cut.append(pictures[begin : begin + size])
            begin += size
        return Answers(reply["records"], reply["explanations"], cut)

    def _replace(self, worker: asyncio.subprocess.Process) -> None:
        """End a worker and start another one in the background."""
        self.deaths += 1
        self._alive.discard(worker)
        _log.warning("a worker hung or died and is replaced")
        with contextlib.suppress(ProcessLookupError):
            worker.kill()
        if not self._closing:
            task = asyncio.ensure_future(self._start_again(worker))
            self._restarts.add(task)
            task.add_done_callback(self._restarts.discard)

    async def _start_again(self, ended: asyncio.subprocess.Process) -> None:
        await ended.wait()
        attempt = 0
        while not self._closing:
            await asyncio.sleep(_AGAIN_S[min(attempt, len(_AGAIN_S) - 1)])
            attempt += 1
            try:
                await self._start_worker()
                return
            except (EcgEdgeError, OSError) as fault:
                _log.error("a worker cannot be started again: %s", fault)

    async def _start_worker(self) -> None:
        worker = await asyncio.create_subprocess_exec(
            sys.executable,
            "-P",
            "-m",
            "runtime.serve.worker",
            self._directory,
            self._settings.engine,
            str(self._settings.threads),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env=_environment(),
            start_new_session=True,
        )
        assert worker.stdout is not None
        try:
            async with asyncio.timeout(_START_S):
                head, _ = await receive_frame(worker.stdout)
        except (TimeoutError, asyncio.IncompleteReadError) as fault:
            with contextlib.suppress(ProcessLookupError):
                worker.kill()
            await worker.wait()
            raise EcgEdgeError(
                "a worker process does not start", "run python -m runtime doctor"
            ) from fault
        if "fault" in head:
            await worker.wait()
            error = EcgEdgeError(head["fault"])
            error.exit_code = ExitCode(head["exit_code"])
            raise error
        self.model, self.facts = head["model"], head["facts"]
        self._alive.add(worker)
        self._idle.put_nowait(worker)

    async def close(self) -> None:
        """End the workers: ask first, then make them."""
        self._closing = True
        for task in list(self._restarts):
            task.cancel()
        for worker in self._alive:
            if worker.stdin is not None:
                worker.stdin.close()
        await asyncio.gather(*(_ended(worker) for worker in self._alive))
        self._alive.clear()


async def _ended(worker: asyncio.subprocess.Process) -> None:
    try:
        async with asyncio.timeout(_STOP_S):
            await worker.wait()
    except TimeoutError:
        worker.kill()
        await worker.wait()


def _environment() -> dict[str, str]:
    """Return an environment in which the worker imports the very same package as this process."""
    package = str(Path(__file__).resolve().parents[2])
    paths = [package, *filter(None, [os.environ.get("PYTHONPATH")])]
    kept = {key: value for key, value in os.environ.items() if key != "ECG_EDGE_TOKEN"}
    return kept | {"PYTHONPATH": os.pathsep.join(paths)}
