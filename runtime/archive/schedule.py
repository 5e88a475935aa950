"""Hands batches to the cluster, a few at a time, until the whole source is answered."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import CancelledError, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from queue import Empty, SimpleQueue
from time import monotonic
from typing import Any, Final, Protocol
from uuid import uuid4

from distributed import Client, Future, KilledWorker
from distributed.client import ClosedClientError
from distributed.comm import CommClosedError

from runtime.archive.batch import Batch, BatchResult, Known, cut
from runtime.archive.destination import Destination, open_destination
from runtime.archive.held import Held, Seen, key_of
from runtime.archive.model import PackedModel, install
from runtime.archive.plugin import ModelPlugin
from runtime.archive.source import PageFile, with_facts
from runtime.archive.work import answer_batch, answer_batch_isolated, give_up
from runtime.errors import EcgEdgeError, ExitCode, UsageError

__all__ = ["ClusterLostError", "Listener", "Totals", "score"]

_WINDOW_A_THREAD: Final = 3
"""Batches out a worker thread: one in work, one waiting there, one at the scheduler."""
_WINDOW_LEAST: Final = 16
"""Batches out at least, so that a cluster that grows with its queue sees one."""
_RECOUNT_S: Final = 5.0
"""Seconds between two looks at how many worker threads there are."""
_POLL_S: Final = 1.0
"""Seconds between two looks at whether the scheduler is still there."""
_LOOKUPS: Final = 16
"""Files looked up side by side where a listing tells no stamps."""
_WRITE_TRIES: Final = 3
"""Retries of a batch whose task failed with an exception, such as a refused write."""


class ClusterLostError(EcgEdgeError):
    """The scheduler went away; what was answered is in the destination."""

    exit_code = ExitCode.SOME_INPUTS_FAILED


class Listener(Protocol):
    """Is told how the run goes."""

    def answered(self, result: BatchResult) -> None:
        """Take note of a batch that is answered."""
        ...

    def skipped(self, files: int) -> None:
        """Take note of files that the destination held already."""
        ...

    def waiting(self, threads: int) -> None:
        """Get a chance to draw while nothing happens; the cluster has so many worker threads."""
        ...


@dataclass(slots=True)
class Totals:
    """What a run did."""

    files: int = 0
    """Files answered in this run."""
    skipped: int = 0
    """Files that the destination held already."""
    kept: int = 0
    """Files among the answered whose content was the same as before, so nothing was computed."""
    isolated: int = 0
    """Batches that ended workers and were answered page by page in a process of their own."""
    statuses: Counter[str] = field(default_factory=Counter)
    """Pages by status."""
    worker_seconds: float = 0.0
    """Sum of the batches' wall time on the workers."""
    waited_seconds: float = 0.0
    """Part of it spent waiting for bytes or for the write."""

    def add(self, result: BatchResult) -> None:
        """Add a batch."""
        self.files += result.files
        self.kept += result.kept
        self.statuses.update(result.statuses)
        self.worker_seconds += result.seconds
        self.waited_seconds += result.waited


def score(
    files: Iterable[PageFile],
    destination: str,
    model: PackedModel,
    client: Client,
    *,
    batch_files: int,
    retry_errors: bool = False,
    listener: Listener | None = None,
) -> Totals:
    """Answer every file that the destination does not hold yet.

    Parameters
    ----------
    files : iterable of PageFile
        The listing; read as the batches are needed.
    destination : str
        Folder or URL of the Parquet data set; the workers must reach it.
    model : PackedModel
        What answers.
    client : distributed.Client
        A connected cluster.
    batch_files : int
        Files a task.
    retry_errors : bool
        Answer again what the destination holds as an error.
    listener : Listener or None
        Is told of every batch.

    Raises
    ------
    ClusterLostError
        If the scheduler goes away.
    OutputError, SourceError
        If the destination refuses a part file, or the store stops answering.
    UsageError
        If a worker lacks ecg-edge, or has another release of it.
    """
    install(model)
    plugin = ModelPlugin(model)
    run = _Run(open_destination(destination), model, client, listener)
    try:
        with _scheduler_needed():
            client.register_plugin(plugin, name=plugin.name)
        return run.go(files, batch_files, retry_errors)
    except ModuleNotFoundError as fault:
        raise UsageError(
            f"a worker cannot import {fault.name}", "install 'ecg-edge[archive]' on every worker"
        ) from fault
    finally:
        run.leave()


class _Run:
    """The state of one run: what is out, and what came back."""

    def __init__(
        self,
        destination: Destination,
        model: PackedModel,
        client: Client,
        listener: Listener | None,
    ) -> None:
        self._destination = destination
        self._model = model
        self._client = client
        self._listener = listener
        self._group = f"pages-{uuid4().hex}"
        self._number = 0
        self._out: dict[Any, tuple[Future, Batch, bool]] = {}
        self._done: SimpleQueue[Future] = SimpleQueue()
        self._window = _WINDOW_LEAST
        self._threads = 0
        self._counted = -_RECOUNT_S
        self._totals = Totals()

    def go(self, files: Iterable[PageFile], batch_files: int, retry_errors: bool) -> Totals:
        """Answer everything."""
        destination, model = self._destination, self._model
        held = destination.held(model.key)
        before = set(held.parts)
        written = set()
        sieve = _Sieve(destination, held, retry_errors)
        for some in cut(files, batch_files):
            todo, known = sieve.sift(some)
            self._totals.skipped += len(some) - len(todo)
            if self._listener is not None and len(some) > len(todo):
                self._listener.skipped(len(some) - len(todo))
            if not todo:
                continue
            batch = Batch(destination.url, model.key, todo, known)
            written.add(batch.name)
            while len(self._out) >= self._window:
                self._take_one()
            self._submit(batch)
        while self._out:
            self._take_one()
        self._tidy(before, written)
        return self._totals

    def leave(self) -> None:
        """Take back what is still out, so that a cluster that lives on is not kept busy."""
        if self._client.status != "running":
            return
        with suppress(OSError, CancelledError):  # the cluster may be going away as well
            self._client.cancel([future for future, _, _ in self._out.values()], force=True)
            self._client.unregister_worker_plugin(f"ecg-edge-{self._model.key}")

    def _submit(self, batch: Batch, isolated: bool = False) -> None:
        key = (self._group, self._number)
        self._number += 1
        with _scheduler_needed():
            future = self._client.submit(
                answer_batch_isolated if isolated else answer_batch,
                batch,
                key=key,
                pure=False,
                retries=_WRITE_TRIES,
            )
        self._out[key] = (future, batch, isolated)
        future.add_done_callback(self._done.put)

    def _take_one(self) -> None:
        """Wait for a batch to come back, and deal with how it did."""
        while True:
            self._look_after_cluster()
            try:
                future = self._done.get(timeout=_POLL_S)
                break
            except Empty:
                if self._listener is not None:
                    self._listener.waiting(self._threads)
        _, batch, isolated = self._out.pop(future.key)
        status = future.status
        if status == "finished":
            with _scheduler_needed():
                result = future.result()
            self._note(result)
        elif status == "error":
            with _scheduler_needed():
                fault = future.exception()
            self._recover(batch, isolated, fault)
        else:
            raise _cluster_lost()

    def _recover(self, batch: Batch, isolated: bool, fault: BaseException) -> None:
        """Narrow a batch that ended worker after worker down to the page that does it."""
        if not isinstance(fault, KilledWorker):
            raise fault
        if not isolated:
            self._totals.isolated += 1
            self._submit(batch, isolated=True)
        elif len(batch.files) > 1:
            middle = len(batch.files) // 2
            for half in (batch.files[:middle], batch.files[middle:]):
                self._submit(replace(batch, files=half), isolated=True)
        else:
            self._note(give_up(batch, self._model))

    def _note(self, result: BatchResult) -> None:
        self._totals.add(result)
        if self._listener is not None:
            self._listener.answered(result)

    def _look_after_cluster(self) -> None:
        if self._client.status != "running":
            raise _cluster_lost()
        now = monotonic()
        if now - self._counted >= _RECOUNT_S:
            self._counted = now
            with _scheduler_needed():
                self._threads = sum(self._client.nthreads().values())
            self._window = max(_WINDOW_LEAST, _WINDOW_A_THREAD * self._threads)

    def _tidy(self, before: set[str], written: set[str]) -> None:
        """Sweep, and look for rows twice where another run's worker wrote in the meantime."""
        self._destination.sweep()
        now = set(self._destination.parts(self._model.key)) - before
        if any(part.rpartition("/")[2].removesuffix(".parquet") not in written for part in now):
            self._destination.held(self._model.key)


class _Sieve:
    """Tells the files that are to be answered from those that the destination holds."""

    def __init__(self, destination: Destination, held: Held, retry_errors: bool) -> None:
        self._destination = destination
        self._held = held
        self._retry_errors = retry_errors
        self._seen = Seen()

    def sift(self, files: Sequence[PageFile]) -> tuple[tuple[PageFile, ...], Known]:
        """Return the files to answer, and the earlier rows of those among them that changed.

        The earlier rows leave the destination, so that no page ever has two.
        """
        keys = [key_of(file.source) for file in files]
        places = self._held.find(keys)
        fresh = [self._seen.is_new(key) for key in keys]
        found = [i for i, place in enumerate(places) if place >= 0 and fresh[i]]
        looked_up = dict(zip(found, _facts([files[i] for i in found]), strict=True))
        todo: list[PageFile] = []
        outdated: dict[str, dict[bytes, str]] = {}
        for i, file in enumerate(files):
            if not fresh[i]:
                continue
            if i in looked_up:
                place = int(places[i])
                failed = self._retry_errors and self._held.is_failed(place)
                if self._held.is_current(place, looked_up[i].stamp) and not failed:
                    continue
                outdated.setdefault(self._held.part_of(place), {})[keys[i]] = file.source
            todo.append(file)
        return tuple(todo), self._take(outdated)

    def _take(self, outdated: dict[str, dict[bytes, str]]) -> Known:
        known: dict[str, tuple[str, tuple[dict[str, Any], ...]]] = {}
        for part, sources in outdated.items():
            rows = self._destination.take(part, sources)
            for key, source in sources.items():
                own = tuple(row for row in rows if row["key"] == key)
                if own and not (self._retry_errors and own[0]["status"] == "error"):
                    known[source] = (own[0]["sha256"], own)
        return known


def _facts(files: Sequence[PageFile]) -> list[PageFile]:
    """Look up the stamps that the listing did not tell; object stores answer slowly, so abreast."""
    if all(file.stamp for file in files):
        return list(files)
    with ThreadPoolExecutor(_LOOKUPS) as pool:
        return list(pool.map(with_facts, files))


@contextmanager
def _scheduler_needed() -> Iterator[None]:
    """Tell a conversation that breaks off as what it is; the client notices only later."""
    try:
        yield
    except (CommClosedError, ClosedClientError, CancelledError, TimeoutError) as fault:
        raise _cluster_lost() from fault


def _cluster_lost() -> ClusterLostError:
    return ClusterLostError(
        "the scheduler is gone; what was answered is kept",
        "start the cluster and the same command again, it goes on from there",
    )
