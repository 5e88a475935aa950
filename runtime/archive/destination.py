"""The Parquet data set: one file a batch, written in one step, named after what it answers."""

from __future__ import annotations

import io
import os
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import lru_cache
from typing import Any, Final
from uuid import uuid4

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from fsspec.core import url_to_fs

from runtime.archive.held import Held, HeldRows
from runtime.archive.source import absolute, is_url
from runtime.archive.table import parquet_bytes
from runtime.errors import OutputError, UsageError
from runtime.outputs import atomic_bytes

__all__ = ["Destination", "open_destination"]

_OBJECT_STORES: Final = frozenset("s3 s3a gs gcs abfs abfss az adl oss memory".split())
"""Where an object appears only once it is complete; elsewhere write, then rename."""
_READERS: Final = 16
"""Part files read side by side while the index is built; hides an object store's latency."""
_READ_AHEAD: Final = 4 * _READERS
_PART: Final = ".parquet"


class Destination:
    """A Parquet data set, partitioned by model and by the first two digits of the batch's name.

    ``DEST/model=<16 digits>/shard=<2 digits>/<batch>.parquet``. A batch's name is a hash of the
    names in it, so answering it again replaces its file.
    """

    def __init__(self, url: str) -> None:
        self.url = absolute(url).rstrip("/")
        if "zip://" in self.url or self.url.lower().endswith(".zip"):
            raise UsageError(f"{url}: a zip cannot be written to piecemeal", "name a folder")
        try:
            self._system, self._root = url_to_fs(self.url)
        except (ImportError, ValueError) as fault:
            raise OutputError(
                f"{url}: cannot be opened ({fault})", "install what fsspec asks for"
            ) from fault
        self._local = not is_url(self.url)

    def put(self, path: str, content: bytes) -> None:
        """Write a file below the root in one step: it is there complete, or not at all.

        Raises
        ------
        OutputError
            If the destination refuses it.
        """
        target = f"{self._root}/{path}"
        try:
            if self._local:
                os.makedirs(os.path.dirname(target), exist_ok=True)
                atomic_bytes(target, content)
            elif self.url.partition("://")[0] in _OBJECT_STORES:
                self._system.pipe_file(target, content)
            else:
                self._put_and_rename(target, content)
        except OutputError:
            raise
        except Exception as fault:
            raise OutputError(
                f"{self.url}/{path}: cannot be written ({type(fault).__name__}: {fault})",
                "check that the place exists, may be written to by every worker, and has space",
            ) from fault

    def _put_and_rename(self, target: str, content: bytes) -> None:
        folder, _, name = target.rpartition("/")
        temporary = f"{folder}/.{name}.{uuid4().hex[:8]}.part"
        self._system.makedirs(folder, exist_ok=True)
        self._system.pipe_file(temporary, content)
        self._system.mv(temporary, target)

    def models(self) -> tuple[str, ...]:
        """Return the models whose answers are here, by the 16 digits of their manifest."""
        self._system.invalidate_cache()
        with suppress(FileNotFoundError):
            names = [str(entry["name"]) for entry in self._system.ls(self._root, detail=True)]
            folders = sorted(name.rstrip("/").rpartition("/")[2] for name in names)
            return tuple(f.removeprefix("model=") for f in folders if f.startswith("model="))
        return ()

    def parts(self, model: str) -> list[str]:
        """Return the part files of a model, relative to the root, in name order."""
        self._system.invalidate_cache()
        with suppress(FileNotFoundError):
            found = self._system.find(f"{self._root}/model={model}")
            skip = len(self._root.strip("/")) + 1
            inside = [str(name).strip("/")[skip:] for name in found if str(name).endswith(_PART)]
            return sorted(name for name in inside if not name.rpartition("/")[2].startswith("."))
        return []

    def read(self, part: str, columns: Sequence[str] | None = None) -> pa.Table:
        """Return a part file's rows.

        Raises
        ------
        OutputError
            If it cannot be read as Parquet.
        """
        try:
            content = self._system.cat_file(f"{self._root}/{part}")
            with pq.ParquetFile(io.BytesIO(content)) as file:
                return file.read(None if columns is None else list(columns))
        except Exception as fault:
            raise OutputError(
                f"{self.url}/{part}: cannot be read ({type(fault).__name__}: {fault})",
                "delete this file; its pages are answered again by the next run",
            ) from fault

    def read_all(
        self, parts: Sequence[str], columns: Sequence[str]
    ) -> Iterator[tuple[str, pa.Table]]:
        """Yield part files' rows in order, reading some side by side in bounded memory."""
        with ThreadPoolExecutor(_READERS) as pool:
            for start in range(0, len(parts), _READ_AHEAD):
                some = parts[start : start + _READ_AHEAD]
                yield from zip(
                    some, pool.map(lambda part: self.read(part, columns), some), strict=True
                )

    def held(self, model: str) -> Held:
        """Return the index of a model's rows, after removing what is there twice.

        Two rows for a page come about where a worker that was cut off finished its batch after
        a later run had cut the batches differently.
        """
        held = Held(self._held_rows(self.parts(model)))
        surplus = held.surplus()
        if not surplus:
            return held
        for part, keys in surplus.items():
            self.take(part, keys)
        return Held(self._held_rows(self.parts(model)))

    def _held_rows(self, parts: Sequence[str]) -> Iterator[HeldRows]:
        for part, table in self.read_all(parts, ("key", "stamp", "status")):
            yield HeldRows(
                part,
                table["key"].to_pylist(),
                table["stamp"].to_pylist(),
                [status == "error" for status in table["status"].to_pylist()],
            )

    def take(self, part: str, keys: Collection[bytes]) -> list[dict[str, Any]]:
        """Remove the rows of some page files from a part file, and return them."""
        table = self.read(part)
        chosen = pc.is_in(table["key"], value_set=pa.array(sorted(keys), table["key"].type))
        rest = table.filter(pc.invert(chosen))
        if rest.num_rows:
            self.put(part, parquet_bytes(rest))
        else:
            self._system.rm_file(f"{self._root}/{part}")
        return list(table.filter(chosen).to_pylist())

    def sweep(self) -> None:
        """Remove what killed processes left half-written; call it while no batch is out."""
        if self._local:
            for folder, _, names in os.walk(self._root):
                for name in names:
                    if name.startswith(".") and name.endswith(".part"):
                        with suppress(OSError):
                            os.unlink(os.path.join(folder, name))


@lru_cache(maxsize=8)
def open_destination(url: str) -> Destination:
    """Return the destination of a URL, one object a process."""
    return Destination(url)


def part_name(model: str, batch: str) -> str:
    """Return a batch's file, relative to the root."""
    return f"model={model}/shard={batch[:2]}/{batch}{_PART}"
