"""Compares the installed packages with the ones that bundles are meant to be converted with."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

__all__ = ["differences", "locked"]

_LOCK: Final = Path(__file__).with_name("requirements.lock")


def locked() -> dict[str, str]:
    """Return package -> version of ``export/requirements.lock``."""
    lines = (line.split("#")[0].strip() for line in _LOCK.read_text(encoding="utf-8").splitlines())
    return dict(line.split("==") for line in lines if line)


def differences() -> list[str]:
    """Return ``package installed (locked)`` for each installed package that differs.

    A package that is not installed is no difference: TensorFlow, for one, has another name on
    aarch64, and conversions that need a missing package say so themselves.
    """
    found = []
    for package, wanted in locked().items():
        try:
            installed = version(package)
        except PackageNotFoundError:
            continue
        if installed != wanted:
            found.append(f"{package} {installed} ({wanted})")
    return found
