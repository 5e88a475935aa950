"""A service whose pages are really read and whose model is a double, on a real socket."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from runtime.bundle import Bundle, Label, ModelFile
from runtime.classifier import Classifier
from runtime.commands.info import gather
from runtime.labels import CRITICAL_LABELS, LABEL_NAMES, LABELS
from runtime.preprocess import Preprocess
from runtime.quality import QualityLimits
from runtime.serve.answers import Answers
from runtime.serve.settings import Settings
from runtime.serve.worker import answer

ANSWERS = {
    "infarction": (0.04, 0.03, 0.06, 0.85, 0.02),
    "normal": (0.93, 0.03, 0.02, 0.01, 0.01),
    "hidden": (0.71, 0.05, 0.03, 0.19, 0.02),
    "unsure": (0.38, 0.35, 0.12, 0.08, 0.07),
}
"""Probabilities by a word in the file's name; `normal` for all others."""


def bundle() -> Bundle:
    """Return a bundle that exists in memory only."""
    weights = b"no weights"
    model = ModelFile("model.tflite", "5e" * 32, weights, "litert", "int8", (1, 192, 512, 1), ())
    manifest = {
        "model": {"file": "model.tflite", "sha256": "5e" * 32, "bytes": 10, "precision": "int8"},
        "preprocess": Preprocess().to_manifest(),
        "decision": {
            "min_confidence": 0.6,
            "operating_points": {"myocardial_infarction": 0.15, "history_of_mi": 0.3},
            "conformal": {"0.90": 0.7},
        },
        "quality": {"page": QualityLimits().to_manifest()},
    }
    labels = tuple(Label(x, LABEL_NAMES[x], x in CRITICAL_LABELS) for x in LABELS)
    return Bundle("ecg-double", "ecg-double", "1.0.0", model, labels, (), manifest)


class DoubleEngine:
    """Gives the probabilities that it was told, and evidence in three leads."""

    name = "litert"
    version = "0"

    def __init__(self) -> None:
        self.probabilities = ANSWERS["normal"]
        self.gives_evidence = True

    def run(self, tensor: np.ndarray) -> dict[str, np.ndarray]:
        outputs = {"probabilities": np.array(self.probabilities, np.float32)}
        if self.gives_evidence:
            index = 3 if self.probabilities[3] > 0.15 else int(np.argmax(self.probabilities))
            evidence = np.zeros((3, 32, 5), np.float32)
            evidence[0, 18:21, index] = 0.8  # V1
            evidence[1, 17:20, index] = 0.6  # V2
            evidence[1, 21:23, index] = 1.0
            evidence[2, 18:20, index] = 0.35  # V3
            evidence[0, 2:4, index] = -0.7  # I
            outputs["evidence"] = evidence
        return outputs


class InProcess:
    """Answers like a worker, in a thread; `pause_s` makes it slow."""

    def __init__(self, pause_s: float = 0.0) -> None:
        self.engine = DoubleEngine()
        self.classifier = Classifier(bundle(), self.engine)
        self.model = self.classifier.identity.to_record()
        self.facts = gather(self.classifier.bundle)
        self.deaths = 0
        self.ready = True
        self.pause_s = pause_s
        self._lock = threading.Lock()

    async def answer(self, body: bytes | bytearray, name: str, explain: bool) -> Answers:
        await asyncio.sleep(self.pause_s)
        return await asyncio.to_thread(self._answer, bytes(body), name, explain)

    def _answer(self, body: bytes, name: str, explain: bool) -> Answers:
        with self._lock:
            word = next((word for word in ANSWERS if word in name), "normal")
            self.engine.probabilities = ANSWERS[word]
            head: dict[str, Any] = {"name": name, "explain": explain, "pages": 20}
            return answer(self.classifier, body, head)


@contextmanager
def running(settings: Settings, answerer: Any) -> Iterator[str]:
    """Run the service in a thread on a free port of 127.0.0.1 and give its address."""
    import uvicorn

    from runtime.serve.app import Service
    from runtime.serve.server import uvicorn_config

    service = Service(bundle(), settings, answerer)
    server = uvicorn.Server(uvicorn_config(service, settings))
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port = listening.getsockname()[1]
        thread = threading.Thread(
            target=lambda: asyncio.run(server.serve(sockets=[listening])), daemon=True
        )
        thread.start()
        while not server.started:
            time.sleep(0.01)
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            server.should_exit = True
            thread.join(10)
