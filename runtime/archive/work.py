"""What a worker does with a batch: read ahead, answer page by page, write one part file."""

from __future__ import annotations

import hashlib
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from time import perf_counter
from typing import Any, Final

from runtime.archive.batch import Batch, BatchResult, Known
from runtime.archive.destination import open_destination, part_name
from runtime.archive.model import PackedModel, PageAnswerer, classifier_of, packed
from runtime.archive.source import PageFile, SourceError, read_page, with_facts
from runtime.archive.table import answer_of, parquet_bytes, row_of
from runtime.errors import PageError
from runtime.inputs import Input
from runtime.prediction import Prediction

__all__ = ["answer_batch", "answer_batch_isolated", "answers", "give_up"]

_AHEAD: Final = 8
"""Files read ahead a worker: a store's 30-100 ms hide behind some pages' computing."""
_AHEAD_BYTES: Final = 64 * 1024 * 1024
"""Bytes read ahead a worker at most, but for a single file larger than that."""
_USUAL_BYTES: Final = 2 * 1024 * 1024
"""What a file of unknown size counts."""
_STORE_GONE: Final = 4
"""Failures of the store itself, in a row, after which the batch gives up and the run stops: error
rows are for pages, not for an expired password."""

_Read = tuple[PageFile, bytes | PageError | SourceError]


def answer_batch(batch: Batch) -> BatchResult:
    """Answer a batch and write its part file; runs on a worker.

    Raises
    ------
    OutputError
        If the destination refuses the file.
    SourceError
        If the store fails on file after file.
    """
    classifier = classifier_of(batch.model)
    return _answer(batch, lambda file, data: answers(classifier, file, data))


def answer_batch_isolated(batch: Batch) -> BatchResult:
    """Answer a batch that ended workers, page by page in a process of its own; see `isolated`."""
    from runtime.archive.isolated import Isolated

    with Isolated(packed(batch.model)) as process:
        return _answer(batch, process.answers)


def give_up(batch: Batch, model: PackedModel) -> BatchResult:
    """Write an error row for each page of a batch that nothing can answer; runs on the client."""
    reason = "reading this page ended the program again and again; save it again as JPEG or PNG"
    rows = [row_of(failed(model, file.source, "", reason), file) for file in batch.files]
    open_destination(batch.destination).put(part_name(batch.model, batch.name), parquet_bytes(rows))
    return BatchResult(len(batch.files), Counter(error=len(rows)))


def answers(classifier: PageAnswerer, file: PageFile, data: bytes) -> list[dict[str, Any]]:
    """Return the answers for every page of a file."""
    pages = classifier.classify_pages(Input(file.source, data))
    return [answer_of(prediction) for prediction in pages]


def failed(model: Any, source: str, sha256: str, reason: str) -> dict[str, Any]:
    """Return the answer for a file that cannot be read; `model` has the ``identity``."""
    return answer_of(
        Prediction(
            source=source,
            page=1,
            sha256=sha256,
            status="error",
            model=model.identity,
            reasons=(reason,),
            timing_ms={"decode": 0.0, "preprocess": 0.0, "infer": 0.0, "total": 0.0},
        )
    )


def _answer(batch: Batch, answer: Any) -> BatchResult:
    started = perf_counter()
    model = packed(batch.model)
    rows: list[dict[str, Any]] = []
    waited, kept, gone = 0.0, 0, 0
    reads = _read_ahead(batch.files)
    while True:
        asked = perf_counter()
        read = next(reads, None)
        waited += perf_counter() - asked
        if read is None:
            break
        file, data = read
        gone = gone + 1 if isinstance(data, SourceError) else 0
        if isinstance(data, SourceError) and gone >= min(_STORE_GONE, len(batch.files)):
            raise data
        if not isinstance(data, bytes):
            found = [failed(model, file.source, "", str(data))]
        elif (still := _unchanged(batch.known, file, data)) is not None:
            found, kept = still, kept + 1
        else:
            found = answer(file, data)
        rows += (row_of(entry, file) for entry in found)
    asked = perf_counter()
    content = parquet_bytes(rows)
    open_destination(batch.destination).put(part_name(batch.model, batch.name), content)
    ended = perf_counter()
    return BatchResult(
        files=len(batch.files),
        statuses=Counter(row["status"] for row in rows),
        seconds=ended - started,
        waited=waited + (ended - asked),
        kept=kept,
    )


def _unchanged(known: Known, file: PageFile, data: bytes) -> list[dict[str, Any]] | None:
    """Return the earlier rows of a file whose bytes are the same as then."""
    if file.source not in known:
        return None
    sha256, rows = known[file.source]
    return list(rows) if sha256 and hashlib.sha256(data).hexdigest() == sha256 else None


def _read_ahead(files: Sequence[PageFile]) -> Iterator[_Read]:
    """Yield the files with their bytes in order, some of them read before their turn."""
    waiting: deque[tuple[int, Future[_Read]]] = deque()
    ahead = 0
    pool = ThreadPoolExecutor(_AHEAD, thread_name_prefix="read-ahead")
    try:
        for file in files:
            size = file.size or _USUAL_BYTES
            while waiting and (len(waiting) >= _AHEAD or ahead + size > _AHEAD_BYTES):
                taken, future = waiting.popleft()
                yield future.result()
                ahead -= taken
            waiting.append((size, pool.submit(_read, file)))
            ahead += size
        while waiting:
            yield waiting.popleft()[1].result()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _read(file: PageFile) -> _Read:
    # Looked up before it is read: should it change in between, the next run answers it again.
    file = with_facts(file)
    try:
        return file, read_page(file)
    except (PageError, SourceError) as fault:
        return file, fault
