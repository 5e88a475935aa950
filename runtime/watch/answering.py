"""From one arrived file's content to its answers on the disk, whatever happened to it before."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, Protocol

from runtime.audit_log import AuditLog
from runtime.inputs import Input
from runtime.prediction import ModelIdentity, Prediction
from runtime.supervisor import notify
from runtime.watch.answers import Answer, AnswerFolder
from runtime.watch.arrivals import Found, Taken
from runtime.watch.backoff import Troubles
from runtime.watch.ledger import Answered, Ledger, LedgerDamagedError
from runtime.watch.places import AUDIT, LEDGER, OUT, reaching

__all__ = ["MAX_ENDS", "Answering", "Isolated", "Reader"]

_log = logging.getLogger("ecg_edge.watch")

MAX_ENDS: Final = 3
"""A file in hand when the process ended this many times in a row is read in a process apart."""
_ENDED: Final = (
    f"reading this page ended the program {MAX_ENDS} times; save it again as JPEG or PNG"
)

Isolated = Callable[[Input], Iterator[Prediction]]
"""Answers a file in a process of its own, with an error record if that process ends."""


class Reader(Protocol):
    """What answers: `runtime.classifier.Classifier`, or a stand-in for it."""

    identity: ModelIdentity

    def classify_pages(
        self, source: Input, *, name: str | None = None, keep_evidence: bool = False
    ) -> Iterator[Prediction]:
        """Yield one prediction a page."""
        ...


class Answering:
    """Answers contents and writes what follows from them.

    Parameters
    ----------
    folder : Path
        The watched folder.
    reader : Reader
        Answers the pages.
    answers : AnswerFolder
        Where the answers go, and the drawings where they are asked for.
    audit : AuditLog or None
        Gets a line an answer.
    troubles : Troubles
        Told which place works.
    isolated : callable or None
        Answers a file apart that was in hand at `MAX_ENDS` ends; None gives an error record.
    """

    def __init__(
        self,
        folder: Path,
        reader: Reader,
        answers: AnswerFolder,
        audit: AuditLog | None,
        troubles: Troubles,
        isolated: Isolated | None = None,
    ) -> None:
        self._folder = folder
        self._reader = reader
        self._answers = answers
        self._audit = audit
        self._troubles = troubles
        self._isolated = isolated

    def bring(self, ledger: Ledger, file: Found, before: Answered | None, taken: Taken) -> Answered:
        """Bring the answers of a content to the disk, unless they are there already.

        Parameters
        ----------
        ledger : Ledger
            Told what is in hand.
        file, taken : Found, Taken
            The file and its content.
        before : Answered or None
            What the ledger has of it.

        Returns
        -------
        Answered
            What the ledger is to be given.

        Raises
        ------
        OSError
            If the answers cannot be written.
        PlaceLostError
            If the ledger or the audit log cannot be written.
        """
        name, sha256 = file.name, taken.sha256
        known = before is not None and before.sha256 == sha256
        held = self._answers.holds(name, sha256)
        if held == "this":
            # Only touched; or the process ended, or the ledger was lost, after they were written.
            records: Sequence[dict[str, Any]] = self._answers.records(name)
            self._answers.tidy(name, len(records))
            if not known:
                self._write_audit(records, recovered=True)
        elif known and held == "nothing":
            # Only touched, and the receiving system has taken the answers away.
            assert before is not None
            return replace(before, stamp=file.stamp)
        else:
            records = self._classify_and_write(ledger, file, taken)
        failed = any(record["status"] == "error" for record in records)
        return Answered(file.stamp, sha256, len(records), failed)

    def write_unopened(self, file: Found) -> None:
        """Write the error record of a file that cannot be opened, unless it has an answer.

        Raises
        ------
        PlaceLostError
            If it cannot be written.
        """
        path = os.fspath(self._folder / file.name)
        predictions = list(self._reader.classify_pages(Input(path), name=file.name))
        if any(prediction.status != "error" for prediction in predictions):
            return  # it opens now: the next try answers it
        with reaching(OUT):
            if self._answers.holds(file.name, "") != "nothing":
                return
            self._answers.write(file.name, [Answer(p.to_record()) for p in predictions])
        self._write_audit([prediction.to_record() for prediction in predictions])

    def _classify_and_write(
        self, ledger: Ledger, file: Found, taken: Taken
    ) -> Sequence[dict[str, Any]]:
        with reaching(LEDGER):
            ends = ledger.begin(file.name, taken.sha256)
        try:
            answers = list(self._classify(file, taken, ends))
            self._answers.write(file.name, answers)
        except BaseException:
            # Put off, not ended by it: what counts is only how often the process went down.
            with suppress(OSError, LedgerDamagedError):
                ledger.release(file.name)
            raise
        self._troubles.over(OUT)
        records = [answer.record for answer in answers]
        self._write_audit(records)
        return records

    def _classify(self, file: Found, taken: Taken, ends: int) -> Iterator[Answer]:
        # A file too large to be held is named, not handed over: the reader says why it is refused.
        path = os.fspath(self._folder / file.name)
        item = Input(path) if taken.data is None else Input(file.name, taken.data)
        if ends >= MAX_ENDS:
            yield from self._answers_apart(file, taken, item)
            return
        drawn = self._answers.pictures is not None
        try:
            for prediction in self._reader.classify_pages(
                item, name=file.name, keep_evidence=drawn
            ):
                hashed = prediction._replace(sha256=taken.sha256)
                yield Answer(hashed.to_record(), _drawing(hashed) if drawn else None)
                notify("WATCHDOG=1")
        except Exception as fault:
            # The reader promises not to raise; a fault in it must not stop the others' answers.
            kind = type(fault).__name__
            _log.warning("internal fault (%s) while reading %s", kind, taken.sha256[:12])
            _log.debug("its trace", exc_info=True)
            reason = f"internal fault ({kind}); report it, best with this page"
            yield self._no_answer(file, taken, reason)

    def _answers_apart(self, file: Found, taken: Taken, item: Input) -> Iterator[Answer]:
        """Answer a file that was in hand at every end: perhaps its fault, perhaps a power cut's.

        A process apart tells which: if it ends, the file is to blame; if not, its answer counts.
        """
        predictions: list[Prediction] = []
        try:
            if self._isolated is not None:
                predictions = list(self._isolated(item))
        except Exception as fault:
            _log.warning("no process apart (%s)", type(fault).__name__)
            _log.debug("its trace", exc_info=True)
        if not predictions:
            yield self._no_answer(file, taken, _ENDED)
        for prediction in predictions:
            hashed = prediction._replace(source=file.name, sha256=taken.sha256)
            yield Answer(hashed.to_record())

    def _no_answer(self, file: Found, taken: Taken, reason: str) -> Answer:
        prediction = Prediction(
            source=file.name,
            page=1,
            sha256=taken.sha256,
            status="error",
            model=self._reader.identity,
            reasons=(reason,),
        )
        return Answer(prediction.to_record())

    def _write_audit(self, records: Sequence[dict[str, Any]], recovered: bool = False) -> None:
        if self._audit is None:
            return
        with reaching(AUDIT):
            for record in records:
                self._audit.write(record, recovered)
            self._audit.sync()
        self._troubles.over(AUDIT)


def _drawing(prediction: Prediction) -> bytes | None:
    """Return the page with the evidence marked, or with the reason why there is none."""
    from runtime.explain import draw, png_bytes

    try:
        return png_bytes(draw(prediction))
    except Exception as fault:
        # The answer counts more than its drawing.
        _log.warning("no drawing for %s (%s)", prediction.sha256[:12], type(fault).__name__)
        _log.debug("its trace", exc_info=True)
        return None
