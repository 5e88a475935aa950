"""`python -m benchmarks.readme`: writes the README's figures from the files that commands wrote.

Each block between ``<!-- begin:NAME -->`` and ``<!-- end:NAME -->`` is made anew from: the bundles'
manifests, ``docs/results/audit.json`` (`python -m train audit`), ``docs/results/*/evaluation.json``
(`python -m train evaluate`), ``benchmarks/results/*.json`` (`python -m benchmarks`), and the sample
pages. With ``--check`` nothing is written, and exit 7 says that the README is behind.
"""

from __future__ import annotations

import argparse
import io
import json
import re
import sys
from collections.abc import Callable, Mapping
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any, Final

from runtime.bundle import available_bundles, load_bundle
from runtime.cli import run_command
from runtime.errors import ExitCode, GateError
from runtime.labels import LABELS
from runtime.outputs import atomic_text

__all__ = ["main", "renewed"]

_ROOT: Final = Path(__file__).resolve().parents[1]
_RESULTS: Final = _ROOT / "docs" / "results"
_BENCHMARKS: Final = _ROOT / "benchmarks" / "results"


def main(arguments: list[str] | None = None) -> int:
    """Renew the README, or check that it is up to date."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.readme", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 7 if behind")
    args = parser.parse_args(arguments)
    return run_command(lambda: _run(args.check), verbose=False)


def _run(check: bool) -> int:
    path = _ROOT / "README.md"
    before = path.read_text(encoding="utf-8")
    after = renewed(before, {name: block() for name, block in BLOCKS.items()})
    if before == after:
        return ExitCode.OK
    if check:
        raise GateError("README.md is behind the results", "run python -m benchmarks.readme")
    with atomic_text(path) as file:
        file.write(after)
    print(f"wrote {path}", file=sys.stderr)
    return ExitCode.OK


def renewed(text: str, blocks: Mapping[str, str]) -> str:
    """Return the text with each block's content replaced.

    Raises
    ------
    KeyError
        If the text has no such block.
    """
    for name, content in blocks.items():
        pattern = re.compile(rf"(<!-- begin:{name} -->\n).*?(<!-- end:{name} -->)", re.DOTALL)
        if not pattern.search(text):
            raise KeyError(f"README.md has no block {name}")
        text = pattern.sub(lambda found, body=content: found[1] + body + "\n" + found[2], text)  # type: ignore[misc]
    return text


def _demo() -> str:
    """Return what `make demo` prints."""
    from runtime.cli import main as runtime_main

    printed = io.StringIO()
    samples = Path("models") / "samples"
    with redirect_stdout(printed):
        runtime_main(["classify", str(samples)])
    return f"```\n{printed.getvalue().rstrip()}\n```"


def _audit() -> str:
    """Return the table of what gives the class away without any heart."""
    audit = _read(_RESULTS / "audit.json")
    rows = [
        "| what a random forest sees | split by | accuracy | recall of active MI |",
        "|---|---|---|---|",
    ]
    for probe in audit["probes"]:
        scores = probe["scores"]
        recall = scores["recall"].get("myocardial_infarction")
        rows.append(
            f"| {probe['name']}: {probe['sees']} | {probe['split']} | "
            f"{_interval(scores['accuracy'])} | {_interval(recall)} |"
        )
    about = (
        f"`python -m train audit`, {audit['data']['n']} pages in {audit['groups']} groups, "
        f"{audit['folds']} folds, 95 % intervals. {len(audit['copies'])} sets of identical files, "
        f"{len(audit['look_alikes'])} further look-alike pairs, {audit['mixed_groups']} sessions "
        f"with more than one label, {sum(audit['printed_diagnosis'].values())} pages with a "
        "printed diagnosis."
    )
    return "\n".join([*rows, "", about])


def _models() -> str:
    """Return the bundles' figures, then those of the protocols."""
    rows = [
        "| bundle | kB | precision | accuracy | macro recall | " + " | ".join(LABELS) + " |",
        "|---|---|---|---|---|" + "---|" * len(LABELS),
    ]
    protocol = ""
    for name in available_bundles():
        manifest = load_bundle(name).manifest
        metrics, model = manifest["metrics"], manifest["model"]
        recalls = " | ".join(_interval(metrics["recall"].get(label)) for label in LABELS)
        rows.append(
            f"| [{name}](models/{name}/MODEL_CARD.md) | {model['bytes'] / 1e3:.0f} | "
            f"{model['precision']} | {_interval(metrics['accuracy'])} | "
            f"{_interval(metrics.get('macro_recall'))} | {recalls} |"
        )
        protocol = (
            f"Protocol: {metrics['protocol']}, n = {metrics['n']}; recall by class, 95 % intervals."
        )
    return "\n".join([*rows, "", protocol, "", *_protocols()])


def _protocols() -> list[str]:
    """Return one row a protocol and model."""
    rows = [
        _protocol_row(result, name, scores)
        for path in sorted(_RESULTS.glob("*/evaluation.json"))
        for result in [_read(path)]
        for name, scores in result.get("models", {"": result.get("scores")}).items()
    ]
    head = "| protocol | what it asks | model | n | accuracy | macro recall | recall of active MI |"
    return [head, "|---|---|---|---|---|---|---|", *rows] if rows else []


def _protocol_row(result: Mapping[str, Any], name: str, scores: Mapping[str, Any]) -> str:
    source = name or result.get("source", "").partition(":")[0]
    figures = (
        scores["accuracy"],
        scores["macro_recall"],
        scores["recall"].get("myocardial_infarction"),
    )
    return (
        f"| {result['protocol']} | {result['about']}{_areas(result)} | {source} | {result['n']} | "
        + " | ".join(map(_interval, figures))
        + " |"
    )


def _areas(result: Mapping[str, Any]) -> str:
    """Return P4's areas under the ROC curve, which its targets are about."""
    names = {"any_mi_against_normal": "any MI against normal", "normal_against_rest": "normal"}
    found = [
        f"AUROC of {text} {_interval(result[f'auroc_{key}'])}"
        for key, text in names.items()
        if f"auroc_{key}" in result
    ]
    return f" ({'; '.join(found)})" if found else ""


def _speed() -> str:
    """Return the benchmark rows of every machine that sent a result."""
    lines = []
    for path in sorted(_BENCHMARKS.glob("*.json")):
        result = _read(path)
        if "rows" not in result:
            continue
        machine = result["machine"]
        lines += [
            f"{machine['cpu']} ({machine['processor']}, {machine['cores']} cores, "
            f"{machine['system']}), pages {result['pages']['size']} px, one thread, median / 99th "
            f"percentile, {result['date'][:10]} (`python -m benchmarks`, "
            f"[{path.name}](benchmarks/results/{path.name})):",
            "",
            "| bundle | engine | inference us | end to end ms | times Pillow's own decode | "
            "peak RSS MB |",
            "|---|---|---|---|---|---|",
        ]
        for row in result["rows"]:
            if "failed" in row or row["threads"] != 1:
                continue
            infer, whole = row["infer_us"], row["end_to_end_ms"]
            lines.append(
                f"| {row['bundle']} | {row['engine']} | {infer['p50']:.0f} / {infer['p99']:.0f} | "
                f"{whole['p50']:.1f} / {whole['p99']:.1f} | {row['end_to_end_over_decode']:.2f} | "
                f"{row['peak_rss_mb']:.0f} |"
            )
        lines.append("")
    base = _base_size()
    return "\n".join([*lines, *base]).rstrip()


def _base_size() -> list[str]:
    sizes = []
    for path in sorted(_BENCHMARKS.glob("*.json")):
        installed = _read(path).get("cold_start", {}).get("base_install_mb", {})
        if installed:
            parts = ", ".join(
                f"{k} {v:.0f}" for k, v in installed.items() if k != "total" and v >= 1
            )
            sizes.append(f"The base installation takes {installed['total']:.0f} MB ({parts}).")
    return sizes[:1]


BLOCKS: Final[dict[str, Callable[[], str]]] = {
    "demo": _demo,
    "audit": _audit,
    "models": _models,
    "speed": _speed,
}


def _read(path: Path) -> dict[str, Any]:
    return dict(json.loads(path.read_text(encoding="utf-8")))


def _interval(figure: Any) -> str:
    """Return ``0.81 [0.79, 0.83]`` of a figure in any of the forms that our files use."""
    if not isinstance(figure, Mapping):
        return "-" if figure is None else f"{figure:.3f}"
    low, high = figure.get("interval", (figure.get("low"), figure.get("high")))
    return f"{figure['value']:.3f} [{low:.3f}, {high:.3f}]"


if __name__ == "__main__":
    sys.exit(main())
