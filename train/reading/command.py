"""The command ``python -m train reading``: measures reading and writes report and contact sheet."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter
from typing import Any, Final

from runtime.errors import ExitCode, OutputError, UsageError

__all__ = ["PARTS", "add_parser", "run"]

PARTS: Final = ("drawn", "sheet", "blanking", "resolution", "styles", "gate", "speed")
"""What can be measured, in this order."""

SCHEMA: Final = "ecg-edge/reading/1"
"""Schema of reading.json."""

_DESCRIPTION: Final = """\
Measure how pages are read: panel, layout, orientation and scale on drawn pages; header, footer,
resolution, JPEG quality and style, which must change nothing; refusals; speed. Writes reading.json,
reading.md, contact-sheet.png and failures/ (pages that went wrong, with their truth).
"""


def add_parser(subparsers: Any) -> argparse.ArgumentParser:
    """Add the command to a parser.

    Parameters
    ----------
    subparsers : argparse subparsers action

    Returns
    -------
    ArgumentParser
        The command's own; its ``run`` default is ``run`` of this module.
    """
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "reading", help="measure how pages are read", description=_DESCRIPTION
    )
    parser.add_argument("--signals", type=Path, required=True, metavar="DIR", help="recordings")
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="ecg5 pages")
    parser.add_argument(
        "--originals",
        type=Path,
        metavar="DIR",
        help="full-size pages (default: originals beside --data)",
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="where to write")
    parser.add_argument("--report", type=Path, metavar="FILE.md", help="write the report here too")
    parser.add_argument("--model", metavar="NAME|DIR", help="bundle (default: the default one)")
    parser.add_argument(
        "--pages", type=int, default=100, metavar="N", help="drawn pages a way in (100)"
    )
    parser.add_argument(
        "--real-pages", type=int, default=0, metavar="N", help="ecg5 pages at most (0 = all)"
    )
    parser.add_argument(
        "--parts",
        default=",".join(PARTS),
        metavar="NAMES",
        help=f"what to measure ({','.join(PARTS)})",
    )
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="of all that is drawn (1)")
    parser.set_defaults(run=run)
    return parser  # fmt: skip


def run(args: argparse.Namespace) -> int:
    """Measure what the command line names.

    Parameters
    ----------
    args : Namespace
        As ``add_parser`` defines it.

    Returns
    -------
    int
        Exit code; a missed target does not change it, the report says so.

    Raises
    ------
    UsageError
        Where a part is unknown.
    OutputError
        Where DIR cannot be written.
    """
    chosen = [name for name in args.parts.split(",") if name]
    unknown = [name for name in chosen if name not in PARTS]
    if unknown:
        raise UsageError(f"unknown part {unknown[0]!r}", f"choose from {', '.join(PARTS)}")
    from train.reading.measure import Study

    study = Study(
        signals=args.signals,
        data=args.data,
        originals=args.originals or args.data.parent / "originals",
        out=args.out,
        model=args.model,
        pages=args.pages,
        real_pages=args.real_pages,
        seed=args.seed,
    )
    _make_folder(args.out)
    about = {"schema": SCHEMA, "about": study.about()}
    for name in PARTS:
        if name in chosen:
            with _timed(name):
                measured = study.part(name)
            _write(args.out, {**_earlier(args.out), **about, **measured}, args.report)
    print(args.out / "reading.md")
    return int(ExitCode.OK)


def _earlier(folder: Path) -> dict[str, Any]:
    """Parts measured before stay in the report: one can be measured again by itself."""
    path = folder / "reading.json"
    if not path.is_file():
        return {}
    results: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return results if results.get("schema") == SCHEMA else {}


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "reading.md").touch()
    except OSError as error:
        raise OutputError(f"{folder} cannot be written ({error})", "name another --out") from error


@contextmanager
def _timed(name: str) -> Iterator[None]:
    start = perf_counter()
    yield
    print(f"{name}: {perf_counter() - start:.0f} s", file=sys.stderr)


def _write(out: Path, results: dict[str, Any], report: Path | None) -> None:
    from train.reading.report import markdown

    text = markdown(results)
    data = json.dumps(results, indent=1, default=_plain)
    (out / "reading.json").write_text(data + "\n", encoding="utf-8")
    (out / "reading.md").write_text(text, encoding="utf-8")
    if report is not None:
        report.parent.mkdir(parents=True, exist_ok=True)
        report.write_text(text, encoding="utf-8")


def _plain(value: Any) -> Any:
    read: Callable[[], Any] | None = getattr(value, "to_record", None)
    if read is None:
        raise TypeError(f"{type(value).__name__} has no plain form")
    return read()
