"""The folder of a bundle: replaced as a whole or not at all, with its manifest."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from runtime.errors import OutputError

__all__ = ["replaced_folder", "write_manifest"]


@contextmanager
def replaced_folder(target: Path) -> Iterator[Path]:
    """Yield an empty folder that takes the target's place only when the block ends well.

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    part = target.with_name(f".{target.name}.part-{os.getpid()}")
    old = target.with_name(f".{target.name}.old-{os.getpid()}")
    try:
        part.mkdir(parents=True)
        yield part
        for file in part.rglob("*"):
            if file.is_file():
                _sync(file)
        if target.exists():
            os.replace(target, old)
        try:
            os.replace(part, target)
        except BaseException:
            if old.exists():
                os.replace(old, target)
            raise
        shutil.rmtree(old, ignore_errors=True)
    except BaseException as fault:
        with contextlib.suppress(OSError):
            shutil.rmtree(part)
        if isinstance(fault, OSError):
            raise OutputError(
                f"{target}: cannot be written ({fault.strerror or fault})",
                "name a folder that is writable and has space; nothing was left behind",
            ) from fault
        raise


def _sync(file: Path) -> None:
    """Make sure that a file is on the disk before its folder is renamed."""
    descriptor = os.open(file, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_manifest(folder: Path, manifest: Mapping[str, Any]) -> None:
    """Write manifest.json."""
    text = json.dumps(manifest, indent=1, allow_nan=False) + "\n"
    (folder / "manifest.json").write_text(text, encoding="utf-8")
