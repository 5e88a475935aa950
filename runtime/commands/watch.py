"""`watch`: the hot folder; answers what arrives, one JSON file a page."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Final

from runtime.cli import add_model_arguments

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from runtime.inputs import Input
    from runtime.prediction import Prediction

_LEDGER: Final = ".ecg-edge-ledger.sqlite"
_LONGEST_S: Final = 3600.0
_BESIDE_ANSWERS: Final = ""
"""``--explain`` without a folder: the pictures lie beside the answers."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("folder", metavar="DIR", help="the folder that files arrive in")
    parser.add_argument(
        "--out", required=True, metavar="DIR", help="answers: <name>.ecg.json a page"
    )
    parser.add_argument("--done", metavar="DIR", help="move answered files here")
    parser.add_argument("--failed", metavar="DIR", help="move files here that cannot be read")
    parser.add_argument(
        "--explain",
        nargs="?",
        const=_BESIDE_ANSWERS,
        metavar="DIR",
        help="write a PNG a page with the evidence marked: into DIR, or beside the answers",
    )
    parser.add_argument("--once", action="store_true", help="one pass, then exit")
    parser.add_argument(
        "--interval", type=_interval, default=2.0, metavar="S", help="between looks (default 2)"
    )
    parser.add_argument(
        "--settle",
        type=_settle,
        default=2.0,
        metavar="S",
        help="a file has arrived once it stood still this long (default 2)",
    )
    parser.add_argument(
        "--ledger", metavar="FILE", help=f"what was answered (default: {_LEDGER} in --out)"
    )
    parser.add_argument(
        "--audit-log", metavar="FILE", help="append one JSON line an answer, without names"
    )
    add_model_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Watch until told to stop."""
    import logging
    import os
    from contextlib import nullcontext
    from pathlib import Path

    from runtime.audit_log import AuditLog
    from runtime.mounts import file_system, is_network_share
    from runtime.watch.places import WatchSettings, check_places
    from runtime.watch.watcher import watch

    out = Path(args.out)
    settings = WatchSettings(
        # Without the last slash: "link/" would be the folder behind the link.
        folder=Path(args.folder.rstrip(os.sep) or os.sep),
        out=out,
        ledger=Path(args.ledger) if args.ledger else out / _LEDGER,
        done=_folder(args.done),
        failed=_folder(args.failed),
        explain=out if args.explain == _BESIDE_ANSWERS else _folder(args.explain),
        interval_s=args.interval,
        settle_s=args.settle,
        once=args.once,
        redact=args.redact_names,
    )
    check_places(settings, _folder(args.audit_log))
    if is_network_share(kind := file_system(settings.ledger.parent)):
        logging.getLogger("ecg_edge.watch").warning(
            "the ledger lies on a network share (%s), which may lock or keep it badly; "
            "name a local file with --ledger",
            kind,
        )
    # Before the model is loaded: a log that cannot be written should be known at once.
    log = AuditLog(args.audit_log, "watch") if args.audit_log else nullcontext()
    with log as audit:
        from runtime.classifier import Classifier

        classifier = Classifier.from_bundle(args.model, args.engine, args.threads)

        def isolated(item: Input) -> Iterator[Prediction]:
            from runtime.pool import answer_in_processes

            return answer_in_processes(classifier.bundle, args.engine, args.threads, [item], 1)

        return watch(settings, classifier, audit, isolated)


def _folder(name: str | None) -> Path | None:
    from pathlib import Path

    return Path(name) if name else None


def _interval(text: str) -> float:
    """Parse a number of seconds above 0."""
    value = float(text)
    if not 0 < value <= _LONGEST_S:
        raise argparse.ArgumentTypeError(f"{text} is not between 0 and {_LONGEST_S:g} seconds")
    return value


def _settle(text: str) -> float:
    """Parse a number of seconds from 0."""
    value = float(text)
    if not 0 <= value <= _LONGEST_S:
        raise argparse.ArgumentTypeError(f"{text} is not between 0 and {_LONGEST_S:g} seconds")
    return value
