"""Runs one measurement in a fresh process, so that no row inherits another's caches or threads."""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
from importlib import import_module
from typing import Any, Final

from runtime.cli import SEARCH_EVERY
from runtime.errors import EcgEdgeError, ExitCode

__all__ = ["ProbeError", "run_probe"]

_TIMEOUT_S: Final = 1800
_MARK: Final = "ecg-edge-probe:"
"""What the line with the result begins with: libraries print to stdout as well."""


class ProbeError(EcgEdgeError):
    """A measurement's process failed."""

    exit_code = ExitCode.INTERNAL


def run_probe(function: str, spec: dict[str, Any]) -> dict[str, Any]:
    """Call ``module:function(spec)`` in a new interpreter and return what it returns.

    Raises
    ------
    ProbeError
        If the process fails; the message holds the last line it printed.
    """
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.probe", function, json.dumps(spec)],
        capture_output=True,
        text=True,
        timeout=_TIMEOUT_S,
        env=environment,
        check=False,
    )
    for line in done.stdout.splitlines():
        if line.startswith(_MARK):
            return dict(json.loads(line.removeprefix(_MARK)))
    last = (done.stderr.strip().splitlines() or ["no message"])[-1]
    raise ProbeError(f"{function}: {last}", "install what it needs: pip install 'ecg-edge[bench]'")


def _main(function: str, spec: str) -> None:
    gc.set_threshold(SEARCH_EVERY)  # as the device's commands do, for ours and for peers alike
    module, _, name = function.partition(":")
    result = getattr(import_module(module), name)(json.loads(spec))
    print(_MARK + json.dumps(result))


if __name__ == "__main__":
    _main(*sys.argv[1:])
