"""`info`: what a bundle is and what it runs on."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from runtime.errors import ExitCode

if TYPE_CHECKING:
    from runtime.bundle import Bundle


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("--model", metavar="NAME|DIR", help="bundle: a name, or a folder")
    parser.add_argument("--json", action="store_true", help="everything, machine-readable")


def run(args: argparse.Namespace) -> int:
    """Print the facts."""
    import json

    from runtime.bundle import load_bundle

    facts = gather(load_bundle(args.model))
    print(json.dumps(facts, indent=2) if args.json else _text(facts))
    return ExitCode.OK


def gather(bundle: Bundle) -> dict[str, Any]:
    """Return what there is to know, ready for JSON; `serve` answers ``/info`` with it as well."""
    import platform

    from runtime import __version__
    from runtime.bundle import available_bundles
    from runtime.engine import installed_engines
    from runtime.host import cpu_features

    manifest = bundle.manifest
    parts = ("preprocess", "decision", "quality", "metrics", "gates", "provenance", "requires")
    return {
        "ecg_edge": __version__,
        "runs_from": str(__file__).removesuffix("/commands/info.py"),
        "bundle": bundle.directory,
        "bundles_here": list(available_bundles()),
        "name": bundle.name,
        "version": bundle.version,
        "intended_use": manifest.get("intended_use", ""),
        "license": manifest.get("license", ""),
        "labels": [{"id": x.id, "name": x.name, "critical": x.critical} for x in bundle.labels],
        "model": dict(manifest["model"]),
        **{part: manifest.get(part, {}) for part in parts},
        "machine": {
            "python": platform.python_version(),
            "system": f"{platform.system()} {platform.release()}",
            "processor": platform.machine(),
            "cpu_features": list(cpu_features()),
            "engines": installed_engines(),
        },
    }


def _text(facts: dict[str, Any]) -> str:
    model, machine, metrics = facts["model"], facts["machine"], facts["metrics"]
    lines = [
        f"{facts['name']} {facts['version']}  ({facts['bundle']})",
        f"ecg-edge {facts['ecg_edge']} from {facts['runs_from']}",
        f"use        {facts['intended_use']}",
        f"weights    {model['file']}, {model['bytes'] / 1000:.0f} kB, {model['precision']}, "
        f"sha256 {model['sha256'][:16]}",
        f"input      {model['input']['shape']}",
        "labels     "
        + ", ".join(
            label["id"] + (" (critical)" if label["critical"] else "") for label in facts["labels"]
        ),
        f"uncertain  below {facts['decision'].get('min_confidence')}",
    ]
    for label, point in facts["decision"].get("operating_points", {}).items():
        lines.append(f"flag       {label} at {_figure(point)}")
    lines.append(f"measured   {metrics.get('protocol', 'nothing')}, n = {metrics.get('n', 0)}")
    lines += [f"           {name} {_figure(value)}" for name, value in _measured(metrics)]
    lines.append(f"gates      {'passed' if facts['gates'].get('passed') else 'not passed'}")
    engines = ", ".join(f"{name} {v}" for name, v in machine["engines"].items()) or "none"
    lines.append(f"engines    {engines}")
    lines.append(f"machine    {machine['processor']}, Python {machine['python']}")
    lines.append(f"cpu        {' '.join(machine['cpu_features']) or 'no features of interest'}")
    return "\n".join(lines)


def _measured(metrics: dict[str, Any]) -> list[tuple[str, Any]]:
    rows = [
        (name, metrics[name]) for name in ("accuracy", "macro_recall", "ece") if name in metrics
    ]
    return rows + [(f"recall {k}", v) for k, v in metrics.get("recall", {}).items()]


def _figure(value: Any) -> str:
    """Return a figure with its interval, whatever of the two there is."""
    if not isinstance(value, dict):
        return f"{value:.3f}" if isinstance(value, float) else str(value)
    parts = []
    for key, item in value.items():
        if isinstance(item, list) and len(item) == 2:
            parts.append(f"[{item[0]:.3f}, {item[1]:.3f}]")
        elif isinstance(item, (int, float)):
            parts.append(f"{item:.3f}" if key in ("value", "threshold") else f"{key} {item:.3g}")
    return " ".join(parts)
