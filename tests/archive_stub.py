"""A classifier for the archive's tests that answers from the bytes alone, in any process."""

from __future__ import annotations

import hashlib
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

from runtime.archive.model import PackedModel
from runtime.inputs import Input
from runtime.labels import LABELS
from runtime.prediction import ModelIdentity, PictureFacts, Prediction

IDENTITY = ModelIdentity("stub", "1", "00" * 32, "litert", "int8")
LOADER = "archive_stub:open_stub"


class Stub:
    """Takes what a page does from its text: ``poison``, ``broken``, ``reject``, ``2 pages`` ..."""

    identity = IDENTITY

    def classify_pages(self, source: Input) -> Iterator[Prediction]:
        data = source.data or b""
        sha256 = hashlib.sha256(data).hexdigest()
        if b"poison" in data:
            os.kill(os.getpid(), signal.SIGKILL)
        if b"slow" in data:
            time.sleep(0.02)
        for number in range(1, 3 if b"2 pages" in data else 2):
            yield self._answer(source.source, number, sha256, data)

    def _answer(self, source: str, number: int, sha256: str, data: bytes) -> Prediction:
        common = {"source": source, "page": number, "sha256": sha256, "model": IDENTITY}
        picture = PictureFacts("JPEG", (1100, 850), 4.0 + int(sha256[:2], 16) / 256)
        if b"broken" in data:
            return Prediction(status="error", reasons=("broken",), **common)
        if b"reject" in data:
            return Prediction(status="rejected", reasons=("no ECG",), picture=picture, **common)
        weights = [1 + int(sha256[2 * i : 2 * i + 2], 16) for i in range(len(LABELS))]
        p = {k: w / sum(weights) for k, w in zip(LABELS, weights, strict=True)}
        label = max(p, key=lambda k: p[k])
        return Prediction(
            status="ok" if p[label] > 0.3 else "uncertain",
            label=label,
            confidence=p[label],
            probabilities=p,
            flags=(label,) if label == "myocardial_infarction" else (),
            layout="3x4+1",
            timing_ms={"decode": 1.0, "preprocess": 1.0, "infer": 1.0, "total": 3.0},
            picture=picture,
            **common,
        )


def open_stub(folder: Path, engine: str, threads: int) -> Stub:
    """Open nothing; the signature is that of `runtime.archive.model.open_classifier`."""
    return Stub()


def packed(key: str = "feedfacefeedface") -> PackedModel:
    """Return the stub as a model that travels."""
    return PackedModel(key, IDENTITY, files=(), loader=LOADER)


def write_pages(folder: Path, texts: dict[str, str]) -> None:
    """Write files whose text says what the stub does with them."""
    for name, text in texts.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
