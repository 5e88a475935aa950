"""Resident memory and throughput over many pages: neither may creep."""

from __future__ import annotations

import sys
from itertools import cycle, islice
from pathlib import Path
from time import perf_counter
from typing import Any

__all__ = ["measure"]

_SAMPLES = 50


def measure(spec: dict[str, Any]) -> dict[str, Any]:
    """Answer many pages in one process; call it in a fresh one (`benchmarks.probe`).

    Parameters
    ----------
    spec : dict
        ``bundle``, ``engine``, ``pages`` (paths, repeated as often as needed), ``count``,
        ``workers``.

    Returns
    -------
    dict
        Pages a second, resident memory in MB (10^6 bytes) after a tenth of the pages and at the
        end, its growth in kB a page between the two, and the slowdown of the last tenth over the
        second.
    """
    from runtime.bundle import load_bundle
    from runtime.inputs import Input

    count = spec["count"]
    # Files, as a folder's are: bytes would be copied to the workers through a pipe.
    inputs = (Input(page) for page in islice(cycle(spec["pages"]), count))
    answers = _answers(load_bundle(spec["bundle"]), spec, inputs)
    marks: list[tuple[int, float, float]] = []
    step = max(1, count // _SAMPLES)
    begin = perf_counter()
    for done, _ in enumerate(answers, start=1):
        if done % step == 0:
            marks.append((done, perf_counter() - begin, resident_mb()))
            if sys.stderr.isatty():
                print(f"\r{done}/{count}", end="", file=sys.stderr)
    early, late = marks[len(marks) // 10], marks[-1]
    tenth = max(1, len(marks) // 10)
    first_pace = _pace(marks[tenth], marks[2 * tenth]) if len(marks) > 2 * tenth else 1.0
    return {
        "count": count,
        "workers": spec["workers"],
        "pages_per_second": count / late[1],
        "rss_mb_early": early[2],
        "rss_mb_end": late[2],
        "growth_kb_per_page": (late[2] - early[2]) * 1e3 / max(1, late[0] - early[0]),
        "last_tenth_over_first": _pace(marks[-1 - tenth], marks[-1]) / first_pace,
    }


def _answers(bundle: Any, spec: dict[str, Any], inputs: Any) -> Any:
    if spec["workers"] > 1:
        from runtime.pool import answer_in_processes

        return answer_in_processes(bundle, spec["engine"], 1, inputs, spec["workers"])
    from runtime.classifier import Classifier

    classifier = Classifier.from_bundle(bundle, spec["engine"], 1)
    return (answer for item in inputs for answer in classifier.classify_pages(item))


def _pace(a: tuple[int, float, float], b: tuple[int, float, float]) -> float:
    """Return seconds a page between two marks."""
    return (b[1] - a[1]) / max(1, b[0] - a[0])


def resident_mb() -> float:
    """Return this process's resident memory in MB (10^6 bytes)."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    import resource

    return pages * resource.getpagesize() / 1e6
