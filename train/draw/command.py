"""The command ``python -m train draw``: recordings in, pages and their truth files out."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from runtime.errors import ExitCode, OutputError
from runtime.labels import LABELS
from train.draw.capture import CAPTURES
from train.draw.layout import LAYOUTS
from train.draw.page import draw_page, encode_page
from train.draw.recording import Recording, RecordingFolder
from train.draw.samples import write_golden, write_samples
from train.draw.style import STYLES
from train.draw.synthesis import heart_of_class, synthesise

__all__ = ["add_parser", "run"]

_DESCRIPTION: Final = """\
Draw 12-lead recordings as ECG pages: any cart style, layout, scan, fax or phone photo. Beside every
page stands NAME.json, its truth: layout, panel and lead boxes in pixels, scale, turn, class.
"""


def add_parser(subparsers: Any) -> argparse.ArgumentParser:
    """Add the command to a parser.

    Parameters
    ----------
    subparsers : argparse subparsers action
        What ``ArgumentParser.add_subparsers()`` returned.

    Returns
    -------
    ArgumentParser
        The command's own parser; its ``run`` default is ``run`` of this module.
    """
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "draw", help="draw recordings as pages, with the truth of each", description=_DESCRIPTION
    )
    parser.add_argument(
        "signals",
        metavar="SIGNALS",
        help="a folder with signals.npz and manifest.csv, 'synthetic' (our own hearts), "
        "'samples' (the sample pages of models/samples) or 'golden' (golden pages of a bundle)",
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="where pages go")
    parser.add_argument("--style", choices=["any", *STYLES], default="any", help="cart style")
    parser.add_argument("--layout", choices=["any", *LAYOUTS], default="any", help="page layout")
    parser.add_argument("--capture", choices=CAPTURES, default="clean", help="how it comes in")
    parser.add_argument("--speed", type=float, choices=(25.0, 50.0), help="mm/s")
    parser.add_argument("--gain", type=float, choices=(5.0, 10.0, 20.0), help="mm/mV")
    parser.add_argument("--count", type=int, default=10, metavar="N", help="pages (10)")
    parser.add_argument(
        "--seed", type=int, default=0, metavar="N", help="same seed, same pages (0)"
    )
    parser.set_defaults(run=run)
    return parser


def run(args: argparse.Namespace) -> int:
    """Draw what the command line asks for.

    Parameters
    ----------
    args : Namespace
        As ``add_parser`` defines it.

    Returns
    -------
    int
        Exit code.

    Raises
    ------
    NoInputError
        Where SIGNALS is not a folder of recordings.
    OutputError
        Where DIR cannot be written.
    """
    out: Path = args.out
    try:
        out.mkdir(parents=True, exist_ok=True)
        if args.signals in ("samples", "golden"):
            write = write_samples if args.signals == "samples" else write_golden
            written = write(out, args.seed)
        else:
            written = _draw_many(_recordings(args.signals, args.seed), args)
    except OSError as error:
        raise OutputError(f"{out} cannot be written ({error})", "name another --out") from error
    print(f"{len(written)} pages written to {out}", file=sys.stderr)
    return int(ExitCode.OK)


def _recordings(signals: str, seed: int) -> Callable[[int], Recording]:
    """Give a function that makes the i-th recording."""
    if signals == "synthetic":

        def synthetic(index: int) -> Recording:
            label = LABELS[index % len(LABELS)]
            number = seed * 100_000 + index
            return synthesise(heart_of_class(label, number), number)

        return synthetic
    folder = RecordingFolder(Path(signals))
    return lambda index: folder[(index + seed * 7) % len(folder)]


def _draw_many(recording_of: Callable[[int], Recording], args: argparse.Namespace) -> list[Path]:
    written = []
    for index in range(args.count):
        page, truth = draw_page(
            recording_of(index),
            None if args.style == "any" else args.style,
            args.seed * 100_000 + index,
            capture=args.capture,
            layout=None if args.layout == "any" else args.layout,
            speed_mm_s=args.speed,
            gain_mm_mv=args.gain,
        )
        data, suffix = encode_page(page, truth)
        path = args.out / f"page-{index:05d}{suffix}"
        path.write_bytes(data)
        record = json.dumps(truth.to_record(), indent=1)
        path.with_suffix(".json").write_text(record + "\n", encoding="utf-8")
        written.append(path)
    return written
