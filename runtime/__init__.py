"""Turns a picture of a 12-lead ECG into a class, a calibrated probability and a reason."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from runtime.bundle import Bundle, load_bundle
    from runtime.classifier import Classifier
    from runtime.prediction import Prediction

__version__ = "0.1.0"
__all__ = ["Bundle", "Classifier", "Prediction", "__version__", "load_bundle"]

_HOMES = {
    "Bundle": "runtime.bundle",
    "Classifier": "runtime.classifier",
    "Prediction": "runtime.prediction",
    "load_bundle": "runtime.bundle",
}


def __getattr__(name: str) -> Any:
    """Import a public name on first use, so that `--help` pays for none of them."""
    if name not in _HOMES:
        raise AttributeError(f"module 'runtime' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)
