"""The command line `python -m benchmarks`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from runtime import __version__
from runtime.cli import positive, run_command
from runtime.errors import ExitCode, GateError

__all__ = ["build_parser", "main"]


def build_parser() -> argparse.ArgumentParser:
    """Return the parser; it imports nothing heavy."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Measures bundles on this machine, one fresh process a row.",
    )
    parser.add_argument("--version", action="version", version=f"ecg-edge {__version__}")
    parser.add_argument("bundles", nargs="*", metavar="BUNDLE", help="default: all bundles here")
    parser.add_argument("--pages", type=Path, metavar="DIR", help="JPEG pages to measure with")
    parser.add_argument(
        "--engine", action="append", metavar="NAME", help="default: every one that fits"
    )
    parser.add_argument("--runs", type=positive, default=60, metavar="N", help="answers a row (60)")
    parser.add_argument(
        "--threads", type=positive, action="append", metavar="N", help="may be repeated (default 1)"
    )
    parser.add_argument(
        "--peers", action="store_true", help="others' ways, side by side (extra bench)"
    )
    parser.add_argument(
        "--roofline", action="store_true", help="this machine's floors (extra bench)"
    )
    parser.add_argument("--cold-start", action="store_true", help="whole processes, by the clock")
    parser.add_argument(
        "--memory", type=positive, metavar="PAGES", help="RSS and pace over PAGES pages"
    )
    parser.add_argument("--workers", type=positive, default=2, metavar="N", help="processes (2)")
    parser.add_argument("--all", action="store_true", help="all of the above, 10,000 pages")
    parser.add_argument(
        "--out", type=Path, metavar="FILE.json", help="also writes .csv, .txt and PNG plots"
    )
    parser.add_argument(
        "--baseline", type=Path, metavar="FILE.json", help="compare, exit 7 if worse"
    )
    parser.add_argument(
        "--tolerance", type=float, default=0.25, metavar="R", help="0.25 = 25 %% worse"
    )
    parser.add_argument("-v", "--verbose", action="store_true", help="tracebacks")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark and return its exit code."""
    args = build_parser().parse_args(arguments)
    return run_command(lambda: _run(args), verbose=args.verbose)


def _run(args: argparse.Namespace) -> int:
    from benchmarks.compare import compare
    from benchmarks.report import changes_table, text_report
    from benchmarks.run import Plan, load_result, run_plan, save_result

    result = run_plan(Plan.from_arguments(args), progress=lambda line: print(line, file=sys.stderr))
    print(text_report(result))
    if args.out:
        for path in save_result(result, args.out):
            print(f"wrote {path}", file=sys.stderr)
    if args.baseline:
        changes = compare(load_result(args.baseline), result)
        print(changes_table(changes, args.tolerance))
        worse = [c for c in changes if c.ratio > 1 + args.tolerance]
        if worse or not changes:
            raise GateError(
                f"{len(worse)} figures are worse than in {args.baseline}"
                if changes
                else f"{args.baseline} has no row in common with this run",
                "find what changed, or measure a new baseline on purpose",
            )
    return ExitCode.OK
