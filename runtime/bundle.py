"""A bundle: one folder with a manifest, the weights, golden pages and a model card.

Paths are text here: `pathlib` takes 2 ms of a first answer.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any, Final

from runtime.checksum import sha256_hex
from runtime.errors import BundleError
from runtime.record import Record

__all__ = [
    "DEFAULT_BUNDLE",
    "SCHEMA",
    "Bundle",
    "GoldenPage",
    "Label",
    "ModelFile",
    "available_bundles",
    "find_bundle",
    "load_bundle",
]

SCHEMA: Final = "ecg-edge/bundle/1"
DEFAULT_BUNDLE: Final = "ecg-tiny"
"""Answers when no ``--model`` is named and ``ECG_EDGE_MODEL`` is not set."""

OUTPUT_NAMES: Final = ("probabilities", "evidence", "features")
ENGINES: Final = ("litert", "onnxruntime", "keras")
_MANIFEST: Final = "manifest.json"
_PACKAGE: Final = os.path.dirname(os.path.realpath(__file__))


class ModelFile(Record):
    """The weights file and how to feed it."""

    path: str
    sha256: str
    content: bytes
    """The file as it was when its checksum was taken, so that what was checked is what runs."""
    engine: str
    """Kind of engine that reads the file: ``litert``, ``onnxruntime`` or ``keras``."""
    precision: str
    input_shape: tuple[int, ...]
    """For example ``(1, 192, 512, 1)``."""
    outputs: tuple[str | None, ...]
    """Meaning of each of the file's outputs in the file's own order; None = not used."""


class Label(Record):
    """One class of the model."""

    id: str
    name: str
    critical: bool


class GoldenPage(Record):
    """A page whose probabilities are known, to check an installation with."""

    path: str
    sha256: str
    probabilities: tuple[float, ...]
    atol: float


class Bundle(Record):
    """A bundle whose manifest was read and whose weights match their checksum."""

    directory: str
    name: str
    version: str
    model: ModelFile
    labels: tuple[Label, ...]
    golden: tuple[GoldenPage, ...]
    manifest: Mapping[str, Any]
    """The whole manifest as it stands in the file."""

    @property
    def label_ids(self) -> tuple[str, ...]:
        """Return the label ids in the order of the probabilities."""
        return tuple(label.id for label in self.labels)


def load_bundle(name_or_directory: str | os.PathLike[str] | None = None) -> Bundle:
    """Find a bundle, read its manifest and check its weights.

    Parameters
    ----------
    name_or_directory : str, os.PathLike or None
        A bundle folder, or the name of one beside the package; None takes ``ECG_EDGE_MODEL`` or
        `DEFAULT_BUNDLE`.

    Raises
    ------
    BundleError
        If there is no such bundle, its schema is unknown, a field or file is missing, or the
        checksum of the weights is wrong; the message names the file.
    """
    directory = find_bundle(name_or_directory)
    manifest = _read_manifest(directory)
    try:
        return _bundle(directory, manifest)
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as fault:
        raise BundleError(
            f"{os.path.join(directory, _MANIFEST)}: field missing or of the wrong kind ({fault!r})",
            "export the bundle again",
        ) from fault


def find_bundle(name_or_directory: str | os.PathLike[str] | None = None) -> str:
    """Return the folder of a bundle; see `load_bundle`."""
    wanted = str(name_or_directory or os.environ.get("ECG_EDGE_MODEL") or DEFAULT_BUNDLE)
    for candidate in (wanted, *(os.path.join(room, wanted) for room in _rooms())):
        if _holds_bundle(candidate):
            return os.path.realpath(candidate)
    known = ", ".join(available_bundles()) or "none"
    raise BundleError(
        f"no bundle '{wanted}': neither a folder with a {_MANIFEST} nor one of the bundles here",
        f"bundles here: {known}",
    )


def available_bundles() -> tuple[str, ...]:
    """Return the names of the bundles that came with this installation."""
    return tuple(
        sorted(
            {
                name
                for room in _rooms()
                for name in (os.listdir(room) if os.path.isdir(room) else ())
                if _holds_bundle(os.path.join(room, name))
            }
        )
    )


def _holds_bundle(folder: str) -> bool:
    return os.path.isfile(os.path.join(folder, _MANIFEST))


def read_checked(path: str, sha256: str) -> bytes:
    """Return a bundle file's bytes after comparing them with their checksum.

    Raises
    ------
    BundleError
        If the file is missing, cannot be read, or differs from its checksum.
    """
    try:
        content = _read(path)
    except OSError as fault:
        raise BundleError(
            f"{path}: cannot be read ({fault.strerror})", "copy the whole bundle again"
        ) from fault
    found = sha256_hex(content)
    if found != sha256:
        raise BundleError(
            f"{path}: checksum is {found[:12]}..., the manifest says {sha256[:12]}...",
            "the file was changed or damaged; copy the whole bundle again",
        )
    return content


def _read(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()


def _rooms() -> tuple[str, ...]:
    """Return the folders that may hold bundles: the installed package's, then the checkout's."""
    return tuple(os.path.join(room, "models") for room in (_PACKAGE, os.path.dirname(_PACKAGE)))


def _read_manifest(directory: str) -> dict[str, Any]:
    path = os.path.join(directory, _MANIFEST)
    try:
        manifest = json.loads(_read(path).decode("utf-8"))
    except (OSError, ValueError, RecursionError) as fault:
        raise BundleError(f"{path}: not readable as JSON ({fault})", "copy it again") from fault
    schema = manifest.get("schema") if isinstance(manifest, dict) else None
    if schema != SCHEMA:
        raise BundleError(
            f"{path}: schema {schema!r} is not known to this version, which reads {SCHEMA!r}",
            "update ecg-edge, or export the bundle again",
        )
    return dict(manifest)


def _bundle(directory: str, manifest: dict[str, Any]) -> Bundle:
    labels = tuple(
        Label(str(entry["id"]), str(entry["name"]), bool(entry["critical"]))
        for entry in manifest["labels"]
    )
    golden = tuple(
        GoldenPage(
            _plain(directory, entry["file"]),
            str(entry["sha256"]),
            tuple(float(entry["probabilities"][label.id]) for label in labels),
            float(entry["atol"]),
        )
        for entry in manifest["golden"]
    )
    return Bundle(
        directory=directory,
        name=str(manifest["name"]),
        version=str(manifest["version"]),
        model=_model_file(directory, manifest["model"]),
        labels=labels,
        golden=golden,
        manifest=manifest,
    )


def _model_file(directory: str, entry: Mapping[str, Any]) -> ModelFile:
    engine = str(entry["engine"])
    if engine not in ENGINES:
        raise ValueError(f"engine {engine!r} is none of {', '.join(ENGINES)}")
    outputs = tuple(output["name"] for output in entry["output"])
    if "probabilities" not in outputs:
        raise ValueError("no output is named 'probabilities'")
    path = _plain(directory, entry["file"])
    return ModelFile(
        path=path,
        sha256=str(entry["sha256"]),
        content=read_checked(path, str(entry["sha256"])),
        engine=engine,
        precision=str(entry["precision"]),
        input_shape=tuple(int(size) for size in entry["input"]["shape"]),
        outputs=tuple(name if name in OUTPUT_NAMES else None for name in outputs),
    )


def _plain(directory: str, name: str) -> str:
    """Return a file of the bundle; its name may have no folder part but ``golden/``."""
    folder, leaf = os.path.split(name)
    if folder not in ("", "golden") or leaf in ("", ".", "..") or leaf.startswith("~"):
        manifest = os.path.join(directory, _MANIFEST)
        raise BundleError(f"{manifest}: '{name}' is not a plain name in the folder")
    return os.path.join(directory, folder, leaf)
