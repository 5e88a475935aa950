"""`archive`: scores an archive on many cores or a cluster, and reports on what came out."""

from __future__ import annotations

import argparse
from importlib.util import find_spec
from typing import TYPE_CHECKING, Final

from runtime.cli import add_model_arguments, positive
from runtime.errors import ExitCode, MissingExtraError, UsageError

if TYPE_CHECKING:
    from runtime.archive.schedule import Totals

_REPORT: Final = "report"
_USAGE: Final = """python -m runtime archive SOURCE --out DEST [options]
       python -m runtime archive report DEST [--labels FILE.csv] [options]"""
_PACKAGES: Final = ("distributed", "fsspec", "pyarrow")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.usage = _USAGE
    parser.add_argument(
        "source",
        metavar="SOURCE",
        help="folder (with its subfolders), quoted glob, list file, CSV with a column 'path', zip, "
        "- for a list on stdin, or URL (s3://, gs://, abfs://, sftp://); "
        "'report DEST' reports instead (a source of that name: ./report)",
    )
    parser.add_argument("destination", nargs="?", metavar="DEST", help=argparse.SUPPRESS)
    add_model_arguments(parser)
    scoring = parser.add_argument_group("scoring")
    scoring.add_argument(
        "--out", metavar="DEST", help="Parquet data set: a folder or URL that every worker reaches"
    )
    scoring.add_argument(
        "--scheduler",
        metavar="ADDRESS|FILE",
        help="a Dask cluster that runs already; without it this computer's cores",
    )
    scoring.add_argument(
        "--workers", type=positive, metavar="N", help="processes on this computer (one a core)"
    )
    scoring.add_argument(
        "--batch", type=positive, default=64, metavar="N", help="files a task (default 64)"
    )
    scoring.add_argument(
        "--retry-errors", action="store_true", help="answer again what ended as an error before"
    )
    reporting = parser.add_argument_group("report")
    reporting.add_argument(
        "--labels", metavar="FILE.csv", help="what is known: columns 'path' and 'label'"
    )
    reporting.add_argument(
        "--label-column", metavar="NAME", help="column of the labels (default label)"
    )
    reporting.add_argument(
        "--time-column", metavar="NAME", help="column with the recording time (default: file time)"
    )


def run(args: argparse.Namespace) -> int:
    """Score the source, or report on a destination."""
    if any(find_spec(package) is None for package in _PACKAGES):
        raise MissingExtraError("archive", "scoring an archive")
    if args.destination is None:
        return _score(args)
    if args.source != _REPORT:
        raise UsageError(
            f"two places named, '{args.source}' and '{args.destination}'",
            "write: archive SOURCE --out DEST, or archive report DEST",
        )
    return _report(args)


def _score(args: argparse.Namespace) -> int:
    if not args.out:
        raise UsageError("no destination", "add --out DEST")
    if args.labels or args.label_column or args.time_column:
        raise UsageError(
            "labels and times belong to the report", "use them with: archive report DEST"
        )
    if args.workers and args.scheduler:
        raise UsageError("a cluster has its own number of workers", "leave out --workers")
    from runtime.archive.run import run_archive

    totals = run_archive(args)
    print(_summary(totals, args.out))
    return ExitCode.SOME_INPUTS_FAILED if totals.statuses["error"] else ExitCode.OK


def _summary(totals: Totals, destination: str) -> str:
    pages = sum(totals.statuses.values())
    counts = ", ".join(f"{n} {status}" for status, n in sorted(totals.statuses.items()))
    line = f"{destination}: {pages} pages answered"
    if counts:
        line += f" ({counts})"
    if totals.kept:
        line += f", {totals.kept} files unchanged"
    return line + f", {totals.skipped} files held already"


def _report(args: argparse.Namespace) -> int:
    if args.out or args.scheduler or args.workers or args.retry_errors:
        raise UsageError(
            "--out, --scheduler, --workers and --retry-errors belong to scoring",
            "leave them out; the report is written to DEST/_report",
        )
    if args.label_column and not args.labels:
        raise UsageError("no labels", "add --labels FILE.csv")
    if args.time_column and not args.labels:
        raise UsageError("no table with that column", "add --labels FILE.csv")
    from runtime.archive.report import write_report

    print(write_report(args.destination, args.labels, args.label_column, args.time_column))
    return ExitCode.OK
