"""Makes virtual environments that hold one inference engine each, from pinned packages."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Final

from runtime.errors import MissingExtraError

__all__ = ["ENGINES", "environment", "find_environment"]

ENGINES: Final = {
    "litert": ("ai-edge-litert==2.3.0", "numpy==2.4.6", "pillow==13.0.0"),
    "onnxruntime": ("onnxruntime==1.32.0", "numpy==2.4.6", "pillow==13.0.0"),
    "tflite-runtime": ("tflite-runtime==2.14.0", "numpy==1.26.4", "pillow==13.0.0"),
}
"""Engine -> what its environment holds. tflite-runtime was built against numpy 1 (its
``Interpreter()`` raises SystemError with numpy 2) and has no wheel after Python 3.11."""

_HOME: Final = Path(__file__).resolve().parent.parent / ".cache" / "engines"


def find_environment(engine: str) -> Path | None:
    """Return the interpreter of an engine's environment, or None where it was not made.

    ``ECG_EDGE_PYTHON_TFLITE_RUNTIME`` (and so on for the others) names another interpreter.
    """
    named = os.environ.get(f"ECG_EDGE_PYTHON_{engine.upper().replace('-', '_')}")
    python = Path(named) if named else _HOME / engine / "bin" / "python"
    return python if (python.parent / ".ready").is_file() or (named and python.exists()) else None


def environment(engine: str) -> Path:
    """Return the interpreter of an engine's environment, making it first where needed.

    Raises
    ------
    MissingExtraError
        If the packages cannot be installed: no network, or a Python without a wheel.
    """
    found = find_environment(engine)
    if found is not None:
        return found
    folder = _HOME / engine
    python = folder / "bin" / "python"
    try:
        subprocess.run(
            [sys.executable, "-m", "venv", "--clear", str(folder)], check=True, capture_output=True
        )
        subprocess.run(
            [str(python), "-m", "pip", "install", "--quiet", *ENGINES[engine]],
            check=True,
            capture_output=True,
        )
    except (OSError, subprocess.CalledProcessError) as fault:
        raise MissingExtraError(engine, f"an environment for {engine}") from fault
    (python.parent / ".ready").touch()
    return python
