"""Ships a bundle to the workers as bytes, so that a cluster needs no shared disk for it."""

from __future__ import annotations

import hashlib
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Final, Protocol

from runtime.bundle import Bundle
from runtime.inputs import Input
from runtime.prediction import ModelIdentity, Prediction

__all__ = ["PackedModel", "PageAnswerer", "classifier_of", "pack"]

_LOADER: Final = "runtime.archive.model:open_classifier"
_DIGITS: Final = 16
"""Hexadecimal digits of the manifest's SHA-256 that name a model in a destination: 64 bits."""


class PageAnswerer(Protocol):
    """What a worker needs of a classifier."""

    identity: ModelIdentity

    def classify_pages(self, source: Input) -> Iterator[Prediction]:
        """Answer every page of an input; see `runtime.classifier.Classifier`."""
        ...


@dataclass(frozen=True, slots=True)
class PackedModel:
    """A bundle's files and how to open them, ready to travel."""

    key: str
    """First digits of the SHA-256 of the manifest, which holds the weights' SHA-256."""
    identity: ModelIdentity
    files: tuple[tuple[str, bytes], ...]
    engine: str = "auto"
    threads: int = 1
    loader: str = _LOADER
    """``module:function`` that opens a folder with the files; the seam for tests."""

    def unpack(self, folder: Path) -> None:
        """Write the files into a folder."""
        for name, content in self.files:
            (folder / name).write_bytes(content)

    def open(self) -> PageAnswerer:
        """Open the model in this process."""
        with tempfile.TemporaryDirectory(prefix="ecg-edge-") as folder:
            self.unpack(Path(folder))
            return load(self.loader, Path(folder), self.engine, self.threads)


def pack(bundle: Bundle, engine: str = "auto", threads: int = 1) -> PackedModel:
    """Read the files of a bundle that answering needs: manifest and weights."""
    manifest = Path(bundle.directory, "manifest.json").read_bytes()
    return PackedModel(
        key=hashlib.sha256(manifest).hexdigest()[:_DIGITS],
        identity=ModelIdentity(
            bundle.name,
            bundle.version,
            bundle.model.sha256,
            bundle.model.engine,
            bundle.model.precision,
        ),
        files=(("manifest.json", manifest), (Path(bundle.model.path).name, bundle.model.content)),
        engine=engine,
        threads=threads,
    )


def load(loader: str, folder: Path, engine: str, threads: int) -> PageAnswerer:
    """Open the bundle in a folder with the function that `loader` names."""
    module, _, function = loader.partition(":")
    return getattr(import_module(module), function)(folder, engine, threads)


def open_classifier(folder: Path, engine: str, threads: int) -> Any:
    """Open a bundle folder as the classifier that every other command uses."""
    from runtime.classifier import Classifier

    return Classifier.from_bundle(folder, engine, threads)


_models: dict[str, PackedModel] = {}
"""What this process was sent, by model key."""
_opened = threading.local()
"""Each thread's own classifiers: an engine keeps its tensors in place and serves one thread."""


def install(model: PackedModel) -> None:
    """Make a model known to this process."""
    _models[model.key] = model


def packed(key: str) -> PackedModel:
    """Return a model that this process was sent."""
    return _models[key]


def classifier_of(key: str) -> PageAnswerer:
    """Return this thread's classifier, opened on first use."""
    model = _models[key]
    cache: dict[PackedModel, PageAnswerer] = _opened.__dict__.setdefault("cache", {})
    if model not in cache:
        cache.clear()  # a worker serves one run at a time; the last run's model may go
        cache[model] = model.open()
    return cache[model]
