"""A stand-in for the classifier that answers made-up pages, so that the watch is tested alone.

A page file is ``STUB <pages> <label> <text> END``; anything else is an error, as a truncated
picture would be.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator
from pathlib import Path

from runtime.errors import PageError
from runtime.inputs import Input, read_input
from runtime.prediction import Evidence, ModelIdentity, Prediction

_PAGE = re.compile(rb"STUB (\d+) (\w+) .* END", re.DOTALL)
_EVIDENCE = Evidence(None, None, None)
KILLER = b"STUB killer END"
"""Takes the process down, as a picture that hits a fault of the decoder would."""


def stub_page(label: str = "normal", pages: int = 1, text: str = "x") -> bytes:
    """Return the content of a page file."""
    return f"STUB {pages} {label} {text} END".encode()


class StubReader:
    """Answers stub pages; counts what it was asked."""

    identity = ModelIdentity("stub", "1", "0" * 64, "litert", "float32")

    def __init__(self) -> None:
        self.asked: list[str] = []

    def classify_pages(
        self, source: Input, *, name: str | None = None, keep_evidence: bool = False
    ) -> Iterator[Prediction]:
        shown = name or source.source
        self.asked.append(shown)
        try:
            data = read_input(source)
        except PageError as fault:
            yield self._prediction(shown, 1, "", "error", None, (str(fault),))
            return
        if data == KILLER:
            os._exit(139)
        sha256 = hashlib.sha256(data).hexdigest()
        match = _PAGE.fullmatch(data)
        if match is None:
            yield self._prediction(shown, 1, sha256, "error", None, ("not a page",))
            return
        for number in range(1, int(match[1]) + 1):
            answer = self._prediction(shown, number, sha256, "ok", match[2].decode(), ())
            yield answer._replace(evidence=_EVIDENCE) if keep_evidence else answer

    def _prediction(self, source, page, sha256, status, label, reasons) -> Prediction:
        confidence = None if label is None else 0.9
        return Prediction(
            source, page, sha256, status, self.identity, label, confidence, reasons=reasons
        )


def put(folder: Path, name: str, content: bytes) -> Path:
    """Put a file into a folder in one step, as a careful cart does."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(".put.part")
    part.write_bytes(content)
    os.replace(part, path)
    return path
