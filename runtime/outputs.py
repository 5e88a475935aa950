"""Writes predictions as text, JSON, JSON lines or CSV, to a stream or atomically to a file."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, Protocol, TextIO

from runtime.errors import OutputError
from runtime.labels import LABEL_NAMES, LABELS
from runtime.prediction import Prediction

__all__ = ["FORMATS", "Writer", "atomic_bytes", "atomic_text", "open_writer"]

FORMATS: Final = ("text", "json", "jsonl", "csv")


class Writer(Protocol):
    """Takes predictions one at a time, in order."""

    def write(self, prediction: Prediction) -> None:
        """Write one prediction and flush, so that a co-process gets it at once."""
        ...

    def close(self) -> None:
        """Write what ends the document."""
        ...


class _Text:
    """One readable line a page; the columns fit a terminal of 100 characters."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._begun = False

    def write(self, prediction: Prediction) -> None:
        if not self._begun:
            self._begun = True
            self._line("STATUS", "ANSWER", "CONF.", "FLAGS", "SOURCE", "")
        name = LABEL_NAMES.get(prediction.label or "", prediction.label or "-")
        confidence = "-" if prediction.confidence is None else f"{prediction.confidence:.2f}"
        flags = "+".join(_SHORT.get(flag, flag) for flag in prediction.flags) or "-"
        source = prediction.source
        if prediction.page > 1:
            source += f" [page {prediction.page}]"
        self._line(
            prediction.status, name, confidence, flags, source, "; ".join(prediction.reasons)
        )

    def _line(self, *columns: str) -> None:
        status, name, confidence, flags, source, reasons = columns
        line = f"{status:<10} {name:<32} {confidence:>5}  {flags:<12} {source}"
        print(line + (f"  ({reasons})" if reasons else ""), file=self._stream, flush=True)

    def close(self) -> None:
        """Nothing ends a text table."""


_SHORT: Final = {"myocardial_infarction": "MI!", "history_of_mi": "old-MI!"}


class _JsonLines:
    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, prediction: Prediction) -> None:
        print(_dumps(prediction), file=self._stream, flush=True)

    def close(self) -> None:
        """Nothing ends JSON lines."""


class _Json:
    """A list, written record by record so that a long run needs no memory."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._opening = "[\n"

    def write(self, prediction: Prediction) -> None:
        print(self._opening + _dumps(prediction), end="", file=self._stream, flush=True)
        self._opening = ",\n"

    def close(self) -> None:
        print("[]" if self._opening == "[\n" else "\n]", file=self._stream, flush=True)


class _Csv:
    """One row a page; probabilities in columns of their own."""

    def __init__(self, stream: TextIO) -> None:
        import csv

        self._stream = stream
        columns = ["source", "page", "sha256", "status", "label", "confidence"]
        columns += [f"p_{label}" for label in LABELS] + ["flags", "reasons", "layout"]
        columns += ["model", "model_version", "engine", "precision", "total_ms"]
        self._rows = csv.DictWriter(stream, columns, lineterminator="\n")
        self._rows.writeheader()

    def write(self, prediction: Prediction) -> None:
        record = prediction.to_record()
        model, p = record["model"], record["probabilities"] or {}
        row = {key: record[key] for key in ("source", "page", "sha256", "status")}
        row |= {"label": record["label"] or "", "confidence": _blank(record["confidence"])}
        row |= {f"p_{label}": _blank(p.get(label)) for label in LABELS}
        row |= {"flags": " ".join(record["flags"]), "reasons": "; ".join(record["reasons"])}
        row |= {"layout": record.get("layout", ""), "model": model["name"]}
        row |= {"model_version": model["version"], "engine": model["engine"]}
        row |= {"precision": model["precision"], "total_ms": record["timing_ms"].get("total", "")}
        self._rows.writerow(row)
        self._stream.flush()

    def close(self) -> None:
        """Nothing ends a CSV file."""


_WRITERS: Final[dict[str, Callable[[TextIO], Writer]]] = {
    "text": _Text,
    "json": _Json,
    "jsonl": _JsonLines,
    "csv": _Csv,
}


@contextmanager
def open_writer(format: str, stream: TextIO, path: str | None) -> Iterator[Writer]:
    """Open a writer on the stream, or on a file that appears only once it is complete.

    Raises
    ------
    OutputError
        If the file cannot be written, or the reader of the stream has gone away.
    """
    if path is None:
        writer = _WRITERS[format](stream)
        try:
            yield writer
            writer.close()
        except BrokenPipeError as fault:
            raise OutputError("the reader of the output went away") from fault
        return
    with atomic_text(path) as file:
        writer = _WRITERS[format](file)
        yield writer
        writer.close()


@contextmanager
def atomic_text(path: str | os.PathLike[str]) -> Iterator[TextIO]:
    """Open a text file that replaces `path` only when the block ends without an exception.

    Raises
    ------
    OutputError
        If the folder does not exist, is not writable, or the disk is full.
    """
    import tempfile  # with random, shutil and its compressors: 4 ms that few answers need

    target = os.fspath(path)
    folder, name = os.path.split(target)
    try:
        descriptor, temporary = tempfile.mkstemp(
            prefix=f".{name[:50]}.", suffix=".part", dir=folder or os.curdir
        )
    except OSError as fault:
        raise _not_written(target, fault) from fault
    try:
        with os.fdopen(
            descriptor, "w", encoding="utf-8", errors="surrogateescape", newline=""
        ) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, target)
    except BaseException as fault:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        if isinstance(fault, OSError):
            raise _not_written(target, fault) from fault
        raise


def atomic_bytes(path: str | os.PathLike[str], content: bytes) -> None:
    """Write a binary file in one step; see `atomic_text`."""
    with atomic_text(path) as file:
        file.buffer.write(content)


def _not_written(target: str, fault: OSError) -> OutputError:
    return OutputError(
        f"{target}: cannot be written ({fault.strerror or fault})",
        "name a folder that exists, is writable and has space",
    )


def _umask() -> int:
    """Return the process's umask, which can only be read by setting it."""
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _dumps(prediction: Prediction) -> str:
    return json.dumps(prediction.to_record(), ensure_ascii=True)


def _blank(value: float | None) -> float | str:
    return "" if value is None else value
