"""Latency of one bundle on one engine: load, first answer, inference, end to end by stage."""

from __future__ import annotations

import resource
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any, Final

from benchmarks.pages import scaled_grey_decode
from benchmarks.statistics import median, summary

__all__ = ["STAGES", "measure", "timed"]

STAGES: Final = ("decode", "panel", "preprocess", "infer", "decide")
_WARM_UP: Final = 3
"""Pages answered before the clock counts: the first ones fault in memory and code."""


def measure(spec: dict[str, Any]) -> dict[str, Any]:
    """Measure one row; call it in a fresh process (`benchmarks.probe`).

    Parameters
    ----------
    spec : dict
        ``bundle`` (folder), ``engine``, ``threads``, ``pages`` (paths), ``runs``.

    Returns
    -------
    dict
        Durations in milliseconds (``infer_us`` in microseconds), memory in MB (10^6 bytes).
    """
    started = perf_counter()
    from runtime.classifier import Classifier

    imported = perf_counter()
    classifier = Classifier.from_bundle(spec["bundle"], spec["engine"], spec["threads"])
    loaded = perf_counter()
    pages = [Path(page).read_bytes() for page in spec["pages"]]
    opened = perf_counter()
    classifier.classify(pages[0])
    first = perf_counter() - opened
    stages, floors = _stages(classifier, pages, spec["runs"])
    totals = [sum(stages[stage][i] for stage in STAGES) for i in range(len(floors))]
    return {
        "import_ms": (imported - started) * 1e3,
        "load_ms": (loaded - imported) * 1e3,
        "first_answer_ms": first * 1e3,
        "infer_us": summary(_infer_only(classifier, pages[0], max(200, spec["runs"]))),
        "end_to_end_ms": summary(totals),
        "stages_ms": {stage: median(stages[stage]) for stage in STAGES},
        "pillow_scaled_grey_decode_ms": summary(floors),
        "end_to_end_over_decode": median([t / f for t, f in zip(totals, floors, strict=True)]),
        "pages_per_second": 1e3 * len(totals) / sum(totals),
        "peak_rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6,
        "engine_version": classifier.engine.version,
    }


def _stages(
    classifier: Any, pages: list[bytes], runs: int
) -> tuple[dict[str, list[float]], list[float]]:
    """Time the stages of `runs` answers over the pages in turn, in milliseconds.

    Returns
    -------
    durations : dict of list of float
        Stage -> one duration an answer.
    floors : list of float
        Pillow's scaled grey decode of the same page, each right after its answer: a machine
        that slows down slows both.
    """
    durations: dict[str, list[float]] = {stage: [] for stage in STAGES}
    floors = []
    for index in range(-_WARM_UP, runs):
        data = pages[index % len(pages)]
        marks = _answer(classifier, data)
        floor = timed(partial(scaled_grey_decode, data), 1, warm_up=0)[0] / 1e3
        if index >= 0:
            floors.append(floor)
            for stage, begin, end in zip(STAGES, marks, marks[1:], strict=False):
                durations[stage].append((end - begin) * 1e3)
    return durations, floors


def _answer(classifier: Any, data: bytes) -> tuple[float, ...]:
    """Answer one page as `Classifier` does and return the clock at each stage's end."""
    from runtime.classifier import normalised
    from runtime.page import open_document
    from runtime.panel import find_panel
    from runtime.quality import check_page, check_panel

    marks = [perf_counter()]
    with open_document(data) as document:
        page = document.read(1)
    marks.append(perf_counter())
    check_page(page, classifier.limits)
    panel = find_panel(page)
    check_panel(page, panel, classifier.limits)
    marks.append(perf_counter())
    tensor = classifier.preprocess.tensor(panel)
    marks.append(perf_counter())
    outputs = classifier.engine.run(tensor[None])
    marks.append(perf_counter())
    classifier.decision.decide(normalised(outputs["probabilities"]))
    marks.append(perf_counter())
    return tuple(marks)


def _infer_only(classifier: Any, data: bytes, runs: int) -> list[float]:
    """Time the engine alone on a real page's tensor, in microseconds."""
    from runtime.page import open_document
    from runtime.panel import find_panel

    with open_document(data) as document:
        tensor = classifier.preprocess.tensor(find_panel(document.read(1)))[None]
    return timed(lambda: classifier.engine.run(tensor), runs)


def timed(action: Callable[[], object], runs: int, warm_up: int = 10) -> list[float]:
    """Return the durations of `runs` calls in microseconds, after some that do not count."""
    for _ in range(warm_up):
        action()
    return list(_clock(action, range(runs)))


def _clock(action: Callable[[], object], runs: Iterable[int]) -> Iterable[float]:
    for _ in runs:
        begin = perf_counter()
        action()
        yield (perf_counter() - begin) * 1e6
