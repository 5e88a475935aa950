"""Cuts a listing into batches, the unit that is scheduled, answered and written."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from itertools import islice
from typing import Any

from runtime.archive.held import key_of
from runtime.archive.source import PageFile

__all__ = ["Batch", "BatchResult", "Known", "batch_name", "cut"]

Known = Mapping[str, tuple[str, tuple[dict[str, Any], ...]]]
"""Source -> SHA-256 of the bytes that were answered, and their rows: where a file's time changed
and its content did not, the rows are kept and nothing is computed."""


@dataclass(frozen=True, slots=True)
class Batch:
    """What one task answers."""

    destination: str
    model: str
    """Key of the model, see `runtime.archive.model.PackedModel`."""
    files: tuple[PageFile, ...]
    known: Known = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Return the batch's name, the same whenever the same files are batched again."""
        return batch_name(self.files)


@dataclass(frozen=True, slots=True)
class BatchResult:
    """What a worker tells about a batch; the rows themselves are in the destination."""

    files: int
    statuses: Mapping[str, int] = field(default_factory=Counter)
    seconds: float = 0.0
    """Wall time on the worker."""
    waited: float = 0.0
    """Part of it in which the worker had nothing to compute, waiting for bytes or for the write."""
    kept: int = 0
    """Files whose earlier answer stands, since their content is the same."""


def batch_name(files: Iterable[PageFile]) -> str:
    """Return 32 hexadecimal digits of hash of the files' names."""
    digest = blake2b(digest_size=16)
    for file in files:
        digest.update(key_of(file.source))
    return digest.hexdigest()


def cut(files: Iterable[PageFile], size: int) -> Iterator[tuple[PageFile, ...]]:
    """Yield consecutive slices of a listing.

    The slices are cut before what is held already is left out, so that a resumed run cuts where
    the stopped one did and a batch that is still being written elsewhere gets the same name.
    """
    stream = iter(files)
    while some := tuple(islice(stream, size)):
        yield some
