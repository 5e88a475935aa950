"""Bundles: found by name or folder, and refused with the file's name when damaged."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from runtime.bundle import find_bundle, load_bundle
from runtime.errors import BundleError, ExitCode
from runtime.labels import LABELS

WEIGHTS = b"weights of a model"


def manifest() -> dict[str, Any]:
    return {
        "schema": "ecg-edge/bundle/1",
        "name": "toy",
        "version": "1.0.0",
        "model": {
            "file": "model.tflite",
            "sha256": hashlib.sha256(WEIGHTS).hexdigest(),
            "bytes": len(WEIGHTS),
            "engine": "litert",
            "precision": "int8",
            "input": {"shape": [1, 192, 512, 1]},
            "output": [{"name": "features"}, {"name": "probabilities"}, {"name": "spare"}],
        },
        "labels": [{"id": x, "name": x, "critical": x == "myocardial_infarction"} for x in LABELS],
        "golden": [
            {
                "file": "golden/a.png",
                "sha256": "00",
                "probabilities": dict.fromkeys(reversed(LABELS), 0.2) | {"normal": 0.3},
                "atol": 0.01,
            }
        ],
    }


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    folder = tmp_path / "toy"
    folder.mkdir()
    (folder / "model.tflite").write_bytes(WEIGHTS)
    write(folder, manifest())
    return folder


def write(folder: Path, content: dict[str, Any]) -> None:
    (folder / "manifest.json").write_text(json.dumps(content))


def test_a_whole_bundle_loads(bundle: Path) -> None:
    loaded = load_bundle(bundle)
    assert loaded.label_ids == LABELS
    assert loaded.model.content == WEIGHTS
    assert loaded.model.outputs == ("features", "probabilities", None)
    assert loaded.golden[0].probabilities == (0.3, 0.2, 0.2, 0.2, 0.2)


def test_a_changed_byte_in_the_weights_is_refused_with_the_files_name(bundle: Path) -> None:
    (bundle / "model.tflite").write_bytes(WEIGHTS.replace(b"w", b"v", 1))
    with pytest.raises(BundleError, match=r"model\.tflite: checksum") as fault:
        load_bundle(bundle)
    assert fault.value.exit_code == ExitCode.BUNDLE


def test_missing_weights_are_refused_with_the_files_name(bundle: Path) -> None:
    (bundle / "model.tflite").unlink()
    with pytest.raises(BundleError, match=r"model\.tflite: cannot be read"):
        load_bundle(bundle)


def test_an_unknown_schema_is_refused(bundle: Path) -> None:
    write(bundle, manifest() | {"schema": "ecg-edge/bundle/2"})
    with pytest.raises(BundleError, match=r"schema 'ecg-edge/bundle/2'"):
        load_bundle(bundle)


@pytest.mark.parametrize("text", ["", "{", "[]", '"x"', "\ufeff{}", "[" * 100_000])
def test_a_damaged_manifest_is_refused(bundle: Path, text: str) -> None:
    (bundle / "manifest.json").write_text(text)
    with pytest.raises(BundleError, match=r"manifest\.json"):
        load_bundle(bundle)


@pytest.mark.parametrize("field", ["name", "version", "model", "labels", "golden"])
def test_a_missing_field_is_named(bundle: Path, field: str) -> None:
    content = manifest()
    del content[field]
    write(bundle, content)
    with pytest.raises(BundleError, match=field):
        load_bundle(bundle)


@pytest.mark.parametrize(
    "name", ["../model.tflite", "/etc/passwd", "a/b/c", "golden/../../x", ".."]
)
def test_a_file_outside_the_folder_is_refused(bundle: Path, name: str) -> None:
    content = manifest()
    content["model"]["file"] = name
    write(bundle, content)
    with pytest.raises(BundleError, match="not a plain name"):
        load_bundle(bundle)


def test_an_unknown_name_tells_which_bundles_there_are() -> None:
    with pytest.raises(BundleError, match="bundles here"):
        find_bundle("no-such-bundle")


def test_the_environment_names_the_default(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ECG_EDGE_MODEL", str(bundle))
    assert load_bundle().name == "toy"
