"""The answers' folder: one JSON file a page, each in one step, none of an earlier content."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from runtime.mounts import Mount
from runtime.watch.durable import sync_folder, write_durably

__all__ = ["Answer", "AnswerFolder", "answer_name"]

_LONGEST_NAME: Final = 255
"""Bytes that file systems allow a name to have."""
_ROOM: Final = 32
"""Bytes kept free for ``.page-123456.ecg.json`` (longest of the endings)."""
_PROBE: Final = b"\0" * 4096
"""One block: what tells whether the folder takes anything at all."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What is written of one page."""

    record: dict[str, Any]
    """Of schema ``ecg-edge/result/1``."""
    png: bytes | None = None
    """The page with the evidence marked, where asked for."""


def answer_name(name: str, page: int, ending: str) -> str:
    """Return the name of a page's answer, which no other page's answer has.

    Parameters
    ----------
    name : str
        Path of the page's file below the watched folder, with its ending, so that ``a.jpg`` and
        ``a.png`` stay apart; subfolders are kept.
    page : int
        From 1; the first page has no number in its name. No file whose ending is ``.page-2`` is
        ever read as a page, so the numbered names stay apart too.
    ending : str
        ``"json"`` or ``"png"``.
    """
    folder, leaf = os.path.split(name)
    raw = os.fsencode(leaf)
    if len(raw) > _LONGEST_NAME - _ROOM:
        # Cut between characters, and told apart by the whole name's hash.
        cut = raw[: _LONGEST_NAME - _ROOM - 17].decode("utf-8", "ignore")
        leaf = f"{cut}~{hashlib.sha256(raw).hexdigest()[:16]}"
    number = "" if page == 1 else f".page-{page}"
    return os.path.join(folder, f"{leaf}{number}.ecg.{ending}")


class AnswerFolder:
    """Writes answers and tells which are there.

    Parameters
    ----------
    root : Path
        The folder of the JSON files.
    pictures : Path or None
        The folder of the PNGs; None = none are written.
    part : str
        Name under which files are written first; no other process may use it here.
    """

    def __init__(self, root: Path, pictures: Path | None, part: str) -> None:
        self.root = root
        self.pictures = pictures
        self._part = part
        self._mounts = {folder: Mount(folder) for folder in {root, pictures or root}}

    def holds(self, name: str, sha256: str) -> Literal["this", "another", "nothing"]:
        """Tell whether the folder has complete answers for a file's content.

        Raises
        ------
        OSError
            If the folder cannot be read.
        """
        first = self._record(name, 1)
        if first is None:
            return "nothing"
        pages = range(2, int(first.get("pages", 1)) + 1)
        records = [first, *(self._record(name, page) for page in pages)]
        same = all(record is not None and record.get("sha256") == sha256 for record in records)
        return "this" if same else "another"

    def records(self, name: str) -> list[dict[str, Any]]:
        """Return the answers that are there for a file."""
        first = self._record(name, 1)
        pages = range(2, int(first.get("pages", 1)) + 1) if first else range(0)
        later = [self._record(name, page) for page in pages]
        return [record for record in (first, *later) if record is not None]

    def write(self, name: str, answers: Sequence[Answer]) -> None:
        """Write the answers of all pages of a file; on the disk when it returns.

        Page by page in their order, so that no gap ever stands before the last one.

        Raises
        ------
        OSError
            If they cannot be written. The folder itself is never made: where it is away, its
            share is not mounted.
        """
        for page, answer in enumerate(answers, start=1):
            if self.pictures is not None:
                self._write_picture(name, page, answer.png)
            record = answer.record | {"pages": len(answers)}
            text = json.dumps(record, ensure_ascii=True) + "\n"
            self._put(self.root, answer_name(name, page, "json"), text.encode("ascii"))
        self.tidy(name, len(answers))

    def tidy(self, name: str, pages: int) -> None:
        """Remove what an earlier content with more pages left, from the last page down.

        On the disk when it returns; what a crash left undone is done here too.
        """
        extra = []
        while (self.root / (leaf := answer_name(name, pages + 1, "json"))).exists():
            pages += 1
            extra.append(self.root / leaf)
            if self.pictures is not None:
                extra.append(self.pictures / answer_name(name, pages, "png"))
        for path in reversed(extra):
            path.unlink(missing_ok=True)
        for root in {self.root, self.pictures or self.root}:
            if (folder := (root / name).parent).is_dir():
                sync_folder(folder)

    def probe(self) -> None:
        """Raise the OSError of the day if the folder takes no file at all."""
        self._put(self.root, self._part + "-probe", _PROBE)
        (self.root / (self._part + "-probe")).unlink()

    def _write_picture(self, name: str, page: int, png: bytes | None) -> None:
        assert self.pictures is not None
        leaf = answer_name(name, page, "png")
        if png is None:
            with suppress(FileNotFoundError):
                (self.pictures / leaf).unlink()
            _make_folders(self.pictures, os.path.dirname(leaf))
        else:
            self._put(self.pictures, leaf, png)

    def _put(self, root: Path, leaf: str, content: bytes) -> None:
        # For each file: a share may go away between two pages.
        self._mounts[root].check()
        _make_folders(root, os.path.dirname(leaf))
        write_durably(root / leaf, content, root / self._part)

    def _record(self, name: str, page: int) -> dict[str, Any] | None:
        """Return an answer as it stands in the folder, None where there is none to trust."""
        try:
            text = (self.root / answer_name(name, page, "json")).read_text(encoding="utf-8")
        except (FileNotFoundError, NotADirectoryError, UnicodeDecodeError):
            return None
        try:
            record = json.loads(text)
            whole = isinstance(record, dict) and int(record.get("pages", 1)) >= 1
        except (ValueError, TypeError, RecursionError):
            return None
        return record if whole else None


def _make_folders(root: Path, folder: str) -> None:
    """Make the subfolders that mirror the watched folder's; never the root itself."""
    if not folder or (root / folder).is_dir():
        return
    if not root.is_dir():
        raise FileNotFoundError(2, "the folder is not there", str(root))
    path = root
    for part in Path(folder).parts:
        parent, path = path, path / part
        with suppress(FileExistsError):
            path.mkdir()
            sync_folder(parent)
