"""The command line `python -m export`: parses, then imports what the command needs."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from runtime import __version__
from runtime.cli import INTENDED_USE, run_command
from runtime.errors import UsageError

__all__ = ["build_parser", "main"]


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of ``python -m export RUN``."""
    parser = argparse.ArgumentParser(
        prog="python -m export",
        description="Converts the models of a RUN, judges every format on held-out pages, and "
        "writes a bundle of each that keeps its limits. `python -m export check BUNDLE DATA` "
        "measures a bundle on labelled pages of your own; `python -m export golden BUNDLE` asks "
        "one for its golden pages anew.",
        epilog="Exit 7: a format missed a limit and was not written. " + INTENDED_USE,
    )
    parser.add_argument("run", metavar="RUN", nargs="?", type=Path, help="folder made by train")
    parser.add_argument(
        "--formats", default="tflite-int8,onnx-baseline", metavar="A,B|all",
        help="formats to make (default: tflite-int8,onnx-baseline)",
    )  # fmt: skip
    parser.add_argument("--out", type=Path, metavar="DIR", help="folder that holds the bundles")
    parser.add_argument("--models", metavar="A,B", help="models of the RUN (default: all)")
    parser.add_argument("--limits", type=Path, metavar="FILE.toml", help="limits of the gates")
    parser.add_argument(
        "--engines", metavar="A,B",
        help="engines to judge on (default: all that are here; see docs/engines.md)",
    )  # fmt: skip
    parser.add_argument(
        "--audit", type=Path, metavar="DIR", help="folder of train audit, for the model card"
    )
    parser.add_argument(
        "--fine-tune",
        action="store_true",
        help="let networks get used to integer rounding first; for an int8 that misses a gate",
    )
    parser.add_argument("--list-formats", action="store_true", help="list the formats and stop")
    _add_common(parser)
    return parser


def _check_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m export check",
        description="Measures a bundle on labelled pages: a folder a class, or a manifest.csv "
        "with the columns path and class.",
        epilog="Exit 7: a limit was missed. " + INTENDED_USE,
    )
    parser.add_argument("bundle", metavar="BUNDLE", help="folder or name of a bundle")
    parser.add_argument("data", metavar="DATA", type=Path, help="folder of labelled pages")
    parser.add_argument("--engine", default="auto", help="inference engine (default auto)")
    parser.add_argument("--min-accuracy", type=float, metavar="P", help="0..1")
    parser.add_argument("--min-recall", type=float, metavar="P", help="of every critical class")
    parser.add_argument("--max-rejected", type=float, metavar="P", help="0..1")
    parser.add_argument("--json", action="store_true", help="machine-readable figures")
    _add_common(parser)
    return parser


def _golden_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m export golden",
        description="Asks bundles for their golden pages anew and tries the answers on each engine "
        "that they were judged on, and gives them this release's limits of readable pages: for a "
        "release that reads pages better. Weights stay.",
        epilog="Exit 7: the engines disagree. " + INTENDED_USE,
    )
    parser.add_argument("bundles", metavar="BUNDLE", nargs="+", type=Path, help="its folder")
    _add_common(parser)
    return parser


def _add_common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--version", action="version", version=f"ecg-edge {__version__}")
    parser.add_argument("-v", "--verbose", action="store_true", help="details on stderr")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    # A service manager's stop must leave as little behind as Ctrl-C does.
    signal.signal(signal.SIGTERM, _interrupt)
    if words[:1] == ["check"]:
        args = _check_parser().parse_args(words[1:])
        return run_command(lambda: _check(args), args.verbose)
    if words[:1] == ["golden"]:
        args = _golden_parser().parse_args(words[1:])
        return run_command(lambda: _golden(args), args.verbose)
    args = build_parser().parse_args(words)
    return run_command(lambda: _export(args), args.verbose)


def _interrupt(number: int, frame: Any) -> None:
    raise KeyboardInterrupt


def _check(args: argparse.Namespace) -> int:
    from export.check import CheckLimits, run_check

    limits = CheckLimits(args.min_accuracy, args.min_recall, args.max_rejected)
    run_check(args.bundle, args.data, args.engine, limits, args.json)
    return 0


def _golden(args: argparse.Namespace) -> int:
    from export.golden import renew_golden_pages
    from export.judge import engines_at_hand

    at_hand = engines_at_hand()
    for bundle in args.bundles:
        for rung in renew_golden_pages(bundle, at_hand):
            print(f"{bundle.name}: {rung.name} {rung.measured:.6f} (limit {rung.limit:g})")
    return 0


def _export(args: argparse.Namespace) -> int:
    from export.formats import chosen, table

    if args.list_formats:
        print(table())
        return 0
    if args.run is None or args.out is None:
        raise UsageError("RUN and --out are needed", "see python -m export --help")
    from export.pipeline import Order, export

    export(
        Order(
            run=args.run,
            out=args.out,
            formats=chosen(args.formats),
            models=_names(args.models),
            limits=args.limits,
            engines=_names(args.engines),
            audit=args.audit,
            fine_tune=args.fine_tune,
        )
    )
    return 0


def _names(text: str | None) -> tuple[str, ...] | None:
    return tuple(name.strip() for name in text.split(",") if name.strip()) if text else None
