"""From the typed command to the answer, beside a bare script and the tutorial's way."""

from __future__ import annotations

import importlib.metadata as metadata
import os
import subprocess
import sys
from pathlib import Path
from time import perf_counter
from typing import Any, Final

from benchmarks.statistics import summary

__all__ = ["base_install_mb", "import_breakdown", "measure"]

_ROOT: Final = Path(__file__).resolve().parents[1]
BASE: Final = ("ai-edge-litert", "numpy", "pillow")
"""What `pip install ecg-edge` brings, with what these need."""


def measure(spec: dict[str, Any]) -> dict[str, Any]:
    """Time whole processes in turn; call it in a fresh process (`benchmarks.probe`).

    Each round runs every command once, so that a busy moment meets all of them alike. The fresh
    process matters: Linux counts a parent's memory at the fork as part of its child's peak.

    Parameters
    ----------
    spec : dict
        ``model`` (weights file, for the bare script), ``bundle`` (folder), ``page`` (a JPEG),
        ``runs`` (rounds), ``tutorial`` (whether to time the tutorial's way too, some seconds a
        round).

    Returns
    -------
    dict
        Milliseconds of each command (p50, p95, p99, n), peak RSS in MB (10^6 bytes), and ours
        over the bare script, the median of the ratios of neighbours.
    """
    model, bundle, page, runs = spec["model"], spec["bundle"], spec["page"], spec["runs"]
    commands = {
        "python": [sys.executable, "-c", "pass"],
        "bare_script": [
            sys.executable,
            str(_ROOT / "benchmarks" / "bare.py"),
            str(model),
            str(page),
        ],
        "classify": [
            *(sys.executable, "-m", "runtime", "classify", page),
            *("--model", bundle, "--format", "jsonl"),
        ],
    }
    if spec["tutorial"]:
        commands["tutorial"] = [sys.executable, "-m", "benchmarks.peers", page]
    times: dict[str, list[float]] = {name: [] for name in commands}
    peaks = dict.fromkeys(commands, 0.0)
    for run in range(-1, runs):  # the first round warms the disk cache and writes .pyc files
        for name, command in commands.items():
            duration, peak = _run(command)
            peaks[name] = max(peaks[name], peak)
            if run >= 0:
                times[name].append(duration)
    pairs = zip(times["classify"], times["bare_script"], strict=True)
    return {
        "ms": {name: summary(series) for name, series in times.items()},
        "peak_rss_mb": peaks,
        "classify_over_bare": summary([ours / bare for ours, bare in pairs])["p50"],
        "imports_ms": import_breakdown(page, bundle),
        "base_install_mb": base_install_mb(),
    }


def _run(command: list[str]) -> tuple[float, float]:
    """Return a process's duration in ms and its peak RSS in MB."""
    # An installation has its .pyc files; a shell that forbids writing them would hide that.
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    begin = perf_counter()
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, cwd=_ROOT, env=environment
    )
    assert process.stderr is not None
    with process.stderr:
        complaint = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    duration = (perf_counter() - begin) * 1e3
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{command[1:4]} failed: {complaint.decode(errors='replace')[-500:]}")
    return duration, usage.ru_maxrss * 1024 / 1e6


def import_breakdown(page: str, bundle: str, most: int = 12) -> dict[str, float]:
    """Return the slowest imports of one `classify`, module -> own time in milliseconds."""
    done = subprocess.run(
        [
            *(sys.executable, "-X", "importtime", "-m", "runtime", "classify", page),
            *("--model", bundle),
        ],
        capture_output=True,
        text=True,
        cwd=_ROOT,
        check=True,
    )
    own: dict[str, float] = {}
    for line in done.stderr.splitlines():
        parts = line.removeprefix("import time:").split("|")
        if line.startswith("import time:") and len(parts) == 3 and parts[0].strip().isdigit():
            package = parts[2].strip().split(".")[0]
            own[package] = own.get(package, 0.0) + int(parts[0]) / 1e3
    slowest = sorted(own.items(), key=lambda item: -item[1])[:most]
    return {name: round(ms, 2) for name, ms in slowest}


def base_install_mb(names: tuple[str, ...] = BASE) -> dict[str, float]:
    """Return what the base installation and what it needs take on disk, in MB (10^6 bytes)."""
    sizes: dict[str, float] = {}
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        if name in sizes:
            continue
        try:
            distribution = metadata.distribution(name)
        except metadata.PackageNotFoundError:
            continue
        located = [Path(str(file.locate())) for file in distribution.files or ()]
        sizes[name] = round(sum(f.stat().st_size for f in located if f.is_file()) / 1e6, 1)
        needs = distribution.requires or ()
        waiting += [_name_of(need) for need in needs if "extra ==" not in need]
    return {**dict(sorted(sizes.items())), "total": round(sum(sizes.values()), 1)}


def _name_of(requirement: str) -> str:
    """Return the distribution that a requirement names, without version and marker."""
    end = next((i for i, c in enumerate(requirement) if not (c.isalnum() or c in "-_.")), None)
    return requirement[:end]
