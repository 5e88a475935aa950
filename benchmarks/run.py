"""Plans a run, measures its rows in fresh processes, and keeps the result as files."""

from __future__ import annotations

import argparse
import json
import os
import platform
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any, Final

from benchmarks.pages import default_folder, find_pages
from benchmarks.probe import ProbeError, run_probe
from runtime import host
from runtime.bundle import DEFAULT_BUNDLE, Bundle, available_bundles, load_bundle
from runtime.engine import installed_engines
from runtime.errors import NoInputError
from runtime.outputs import atomic_text

__all__ = ["SCHEMA", "Plan", "load_result", "run_plan", "save_result"]

SCHEMA: Final = "ecg-edge/benchmark/1"
_READERS: Final = {"litert": ("litert", "tflite-runtime"), "onnxruntime": ("onnxruntime",)}
_COLD_RUNS: Final = 15
_VERSIONS: Final = (
    "numpy",
    "pillow",
    "ai-edge-litert",
    "onnxruntime",
    "tflite-runtime",
    "tensorflow-cpu",
)


@dataclass(frozen=True, slots=True)
class Plan:
    """What to measure."""

    bundles: tuple[str, ...]
    engines: tuple[str, ...] | None
    threads: tuple[int, ...]
    folder: Path
    runs: int
    workers: int
    peers: bool
    roofline: bool
    cold_start: bool
    memory_pages: int

    @classmethod
    def from_arguments(cls, args: argparse.Namespace) -> Plan:
        """Return the plan that a command line asks for.

        Raises
        ------
        NoInputError
            If there is no bundle to measure.
        """
        bundles = tuple(args.bundles) or available_bundles()
        if not bundles:
            raise NoInputError("no bundle to measure", "name one, or run make models")
        return cls(
            bundles=bundles,
            engines=tuple(args.engine) if args.engine else None,
            threads=tuple(args.threads or (1,)),
            folder=args.pages or default_folder(),
            runs=args.runs,
            workers=args.workers,
            peers=args.peers or args.all,
            roofline=args.roofline or args.all,
            cold_start=args.cold_start or args.all,
            memory_pages=args.memory or (10_000 if args.all else 0),
        )


def run_plan(plan: Plan, progress: Callable[[str], None]) -> dict[str, Any]:
    """Measure everything in the plan and return one result, ready for JSON."""
    pages = find_pages(plan.folder)
    bundles = [load_bundle(name) for name in plan.bundles]
    result: dict[str, Any] = {
        "schema": SCHEMA,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine(),
        "pages": {"folder": plan.folder.name, "n": len(pages), "size": _size(pages[0])},
        "runs": plan.runs,
        "rows": list(_rows(plan, bundles, pages, progress)),
    }
    lead = _lead(bundles)
    if plan.roofline:
        progress("floors of this machine")
        networks = {
            b.name: {"bundle": b.directory, "architecture": _architecture(b)}
            for b in bundles
            if _is_network(b)
        }
        spec = {"pages": list(map(str, pages)), "runs": 100, "networks": networks}
        result["roofline"] = run_probe("benchmarks.roofline:measure", spec)
    if plan.cold_start:
        progress("cold start")
        spec = {"model": lead.model.path, "bundle": lead.directory}
        spec |= {"page": str(pages[0]), "runs": _COLD_RUNS, "tutorial": plan.peers}
        found = run_probe("benchmarks.cold_start:measure", spec)
        result["cold_start"] = {"bundle": lead.name, **found}
    if plan.memory_pages:
        result["memory"] = _memory(plan, lead, pages, progress)
    if plan.peers:
        progress("peers")
        spec = {"bundle": lead.directory, "architecture": _architecture(lead)}
        spec |= {"page": str(pages[0]), "runs": plan.runs}
        found = run_probe("benchmarks.peers:measure", spec)
        result["peers"] = {"bundle": lead.name, **found}
    return result


def _lead(bundles: Sequence[Bundle]) -> Bundle:
    """Return the bundle that stands for ours beside others: the one that answers by default."""
    return next((bundle for bundle in bundles if bundle.name == DEFAULT_BUNDLE), bundles[0])


def machine() -> dict[str, Any]:
    """Return the facts about this machine that a figure must stand beside."""
    versions = {}
    for name in _VERSIONS:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return {
        "cpu": host.cpu_model(),
        "processor": platform.machine(),
        "cores": os.cpu_count(),
        "cpu_features": list(host.cpu_features()),
        "governor": host.governor(),
        "temperature_c": host.temperature_c(),
        "memory_mb": host.memory_mb().get("total"),
        "load_average": os.getloadavg()[0],
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "versions": versions,
    }


def save_result(result: dict[str, Any], path: Path) -> list[Path]:
    """Write the result as JSON, CSV and text, and its plots; return what was written."""
    from benchmarks.plots import draw
    from benchmarks.report import rows_csv, text_report

    written = []
    path.parent.mkdir(parents=True, exist_ok=True)
    for suffix, text in (
        (".json", json.dumps(result, indent=1) + "\n"),
        (".csv", rows_csv(result["rows"])),
        (".txt", text_report(result) + "\n"),
    ):
        target = path.with_suffix(suffix)
        with atomic_text(target) as file:
            file.write(text)
        written.append(target)
    return written + draw(result["rows"], path.parent, path.stem)


def load_result(path: Path) -> dict[str, Any]:
    """Read a result file.

    Raises
    ------
    NoInputError
        If it is missing or no result of this benchmark.
    """
    try:
        result = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as fault:
        raise NoInputError(f"{path}: no readable result ({fault})", "name a --out file") from fault
    if not isinstance(result, dict) or result.get("schema") != SCHEMA:
        raise NoInputError(f"{path}: not a result of this benchmark", "name a --out file")
    return result


def _rows(
    plan: Plan, bundles: list[Bundle], pages: list[Path], progress: Callable[[str], None]
) -> Iterator[dict[str, Any]]:
    here = installed_engines()
    for bundle in bundles:
        for engine in _READERS.get(bundle.model.engine, ()):
            if engine not in here or (plan.engines and engine not in plan.engines):
                continue
            for threads in plan.threads:
                progress(f"{bundle.name} on {engine}, {threads} thread(s)")
                spec = {"bundle": bundle.directory, "engine": engine, "threads": threads}
                spec |= {"pages": list(map(str, pages)), "runs": plan.runs}
                yield _facts(bundle) | {"engine": engine, "threads": threads} | _measured(spec)


def _measured(spec: dict[str, Any]) -> dict[str, Any]:
    try:
        return run_probe("benchmarks.latency:measure", spec)
    except ProbeError as fault:
        return {"failed": str(fault)}


def _facts(bundle: Bundle) -> dict[str, Any]:
    metrics = bundle.manifest.get("metrics", {})
    return {
        "bundle": bundle.name,
        "precision": bundle.model.precision,
        "size_bytes": len(bundle.model.content),
        "size_kb": len(bundle.model.content) / 1e3,
        "accuracy": _value(metrics.get("accuracy")),
        "mi_recall": _value(metrics.get("recall", {}).get("myocardial_infarction")),
    }


def _value(figure: Any) -> float | None:
    """Return a figure of a manifest without its interval."""
    value = figure.get("value") if isinstance(figure, dict) else figure
    return float(value) if isinstance(value, (int, float)) else None


def _is_network(bundle: Bundle) -> bool:
    """Tell whether a bundle holds one of our networks, not a classical model."""
    from train.config import NETWORKS

    return bundle.manifest["provenance"].get("model") in NETWORKS


def _architecture(bundle: Bundle) -> str:
    """Return the name that `train.architecture` knows the bundle's network by."""
    from train.config import NETWORKS

    return NETWORKS[bundle.manifest["provenance"]["model"]]


def _memory(
    plan: Plan, bundle: Bundle, pages: list[Path], progress: Callable[[str], None]
) -> dict[str, Any]:
    """Answer many pages with one process and with several; return both and the speed-up."""
    found = {}
    for name, workers in (("one_process", 1), ("workers", plan.workers)):
        progress(f"{plan.memory_pages} pages, {workers} process(es)")
        spec = {"bundle": bundle.directory, "engine": "auto", "workers": workers}
        spec |= {"pages": list(map(str, pages)), "count": plan.memory_pages}
        found[name] = run_probe("benchmarks.memory:measure", spec)
    pace = found["workers"]["pages_per_second"] / found["one_process"]["pages_per_second"]
    return found | {"speed_up": pace}


def _size(page: Path) -> str:
    from PIL import Image

    with Image.open(page) as image:
        return f"{image.width}x{image.height}"
