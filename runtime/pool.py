"""Answers inputs in several processes, in their order, with bounded memory."""

from __future__ import annotations

import multiprocessing
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from itertools import islice
from typing import Final

from runtime.bundle import Bundle
from runtime.classifier import Classifier
from runtime.inputs import Input
from runtime.prediction import Prediction

__all__ = ["answer_in_processes"]

_AHEAD: Final = 8
"""Inputs handed out ahead per worker: enough to hide uneven pages, few enough to bound memory."""
_TRIES: Final = 2
"""A page that was first in line when a worker died this many times gets an error record."""

_classifier: Classifier | None = None
"""The worker's own classifier, loaded once a process."""


@dataclass(slots=True)
class _Job:
    item: Input
    future: Future[list[Prediction]]
    tries: int = 0


def answer_in_processes(
    bundle: Bundle, engine: str, threads: int, inputs: Iterable[Input], workers: int
) -> Iterator[Prediction]:
    """Yield predictions in the order of the inputs.

    A worker that dies (killed, out of memory) is replaced and what it had in hand is answered
    again; a page that takes workers down again and again gets an error record.

    Raises
    ------
    BundleError, MissingExtraError
        If the bundle cannot be loaded, before any worker starts.
    """
    queue = _Queue(bundle, engine, threads, workers)
    try:
        for item in inputs:
            queue.put(item)
            if queue.full:
                yield from queue.take()
        while not queue.empty:
            yield from queue.take()
    finally:
        queue.close()


class _Queue:
    """Jobs in the order of their inputs, and the pool that works on them."""

    def __init__(self, bundle: Bundle, engine: str, threads: int, workers: int) -> None:
        self._settings = (bundle.directory, engine, threads)
        # Loading it here as well reports a broken bundle before any process starts.
        self._identity = Classifier.from_bundle(bundle, engine, threads).identity
        self._workers = workers
        self._jobs: deque[_Job] = deque()
        self._pool = self._new_pool()

    @property
    def full(self) -> bool:
        return len(self._jobs) >= _AHEAD * self._workers

    @property
    def empty(self) -> bool:
        return not self._jobs

    def put(self, item: Input) -> None:
        """Hand one input out."""
        self._jobs.append(_Job(item, self._submit(item)))

    def take(self) -> list[Prediction]:
        """Return the answers of the first job, waiting for them."""
        while True:
            job = self._jobs[0]
            try:
                answers = job.future.result()
            except BrokenProcessPool:
                job.tries += 1
                if job.tries >= _TRIES:
                    answers = [self._gave_up(job.item)]
                else:
                    self._hand_out_again()
                    continue
            self._jobs.popleft()
            return answers

    def close(self) -> None:
        """End the processes without waiting for what nobody will read."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _new_pool(self) -> ProcessPoolExecutor:
        # spawn, not fork: an interpreter's threads do not survive a fork.
        return ProcessPoolExecutor(
            self._workers,
            mp_context=multiprocessing.get_context("spawn"),
            initializer=_start_worker,
            initargs=self._settings,
        )

    def _submit(self, item: Input) -> Future[list[Prediction]]:
        try:
            return self._pool.submit(_answer, item)
        except BrokenProcessPool:
            self.close()
            self._pool = self._new_pool()
            return self._pool.submit(_answer, item)

    def _hand_out_again(self) -> None:
        """Submit every job that the broken pool had not finished, the first one alone first."""
        first = self._jobs[0]
        first.future = self._submit(first.item)
        for job in islice(self._jobs, 1, None):
            if not job.future.done() or job.future.exception() is not None:
                job.future = self._submit(job.item)

    def _gave_up(self, item: Input) -> Prediction:
        return Prediction(
            source=item.source,
            page=1,
            sha256="",
            status="error",
            model=self._identity,
            reasons=("reading this page ended the process; save it again as JPEG or PNG",),
        )


def _start_worker(directory: str, engine: str, threads: int) -> None:
    global _classifier
    _classifier = Classifier.from_bundle(directory, engine, threads)


def _answer(item: Input) -> list[Prediction]:
    assert _classifier is not None, "the pool's initializer ran first"
    return list(_classifier.classify_pages(item))
