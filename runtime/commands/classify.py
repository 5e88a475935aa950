"""`classify`: answers pages and writes one record a page, in the order of the inputs."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from itertools import chain
from typing import TYPE_CHECKING

from runtime.cli import add_model_arguments, positive
from runtime.errors import ExitCode, NoInputError, UsageError

if TYPE_CHECKING:
    from runtime.ahead import ReadAhead
    from runtime.audit_log import AuditLog
    from runtime.inputs import Input
    from runtime.prediction import Prediction

_log = logging.getLogger("ecg_edge.classify")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument(
        "inputs", nargs="*", metavar="INPUT", help="file, folder, quoted glob, or - for stdin"
    )
    parser.add_argument("-r", "--recursive", action="store_true", help="descend into folders")
    parser.add_argument(
        "--paths-from", metavar="FILE|-", help="read paths, one a line; answered line by line"
    )
    add_model_arguments(parser)
    parser.add_argument(
        "--workers",
        type=positive,
        default=1,
        metavar="N",
        help="processes that answer side by side (default 1); the order of the records stays",
    )
    parser.add_argument("--format", choices=("text", "json", "jsonl", "csv"), default="text")
    parser.add_argument("-o", "--output", metavar="FILE", help="write to a file, in one step")
    parser.add_argument(
        "--explain", metavar="DIR", help="write a PNG a page: the page with the evidence marked"
    )
    parser.add_argument(
        "--audit-log", metavar="FILE", help="append one JSON line an answer, without names"
    )


def run(args: argparse.Namespace) -> int:
    """Answer all inputs; see interface.md for the exit codes."""
    from runtime.outputs import open_writer
    from runtime.progress import Progress

    if not args.inputs and not args.paths_from:
        raise UsageError("nothing to read", "name files, folders or -, or use --paths-from")
    if args.explain and args.workers > 1:
        raise UsageError("--explain draws in one process", "leave out --workers")
    progress = Progress(_count(args))
    seen = failed = found = 0
    answers = _answers(args)
    with ExitStack() as stack:
        audit = _audit_log(args.audit_log, stack)
        writer = stack.enter_context(open_writer(args.format, sys.stdout, args.output))
        for prediction in answers:
            writer.write(prediction)
            if audit is not None:
                audit.write(prediction.to_record())
            progress.step()
            seen += 1
            failed += prediction.status == "error"
            found += bool(prediction.sha256)
            _log_answer(prediction, args.redact_names)
    progress.close()
    if not found:
        raise NoInputError(
            "no usable input: none of the inputs could be opened" if seen else "no page found",
            "check the names; folders are read without their subfolders unless -r is given",
        )
    return ExitCode.SOME_INPUTS_FAILED if failed else ExitCode.OK


def _audit_log(path: str | None, stack: ExitStack) -> AuditLog | None:
    """Open the audit log where one is asked for; the stack closes it."""
    if path is None:
        return None
    from runtime.audit_log import AuditLog

    return stack.enter_context(AuditLog(path, "classify"))


def _answers(args: argparse.Namespace) -> Iterator[Prediction]:
    """Yield the predictions of all inputs, from this process or from workers."""
    if args.workers > 1:
        from runtime.bundle import load_bundle
        from runtime.pool import answer_in_processes

        bundle = load_bundle(args.model)
        yield from answer_in_processes(
            bundle, args.engine, args.threads, _inputs(args), args.workers
        )
        return
    # The first page is decoded while all that follows is loaded.
    inputs = _begun_inputs(args)
    from runtime.classifier import Classifier

    classifier = Classifier.from_bundle(args.model, args.engine, args.threads)
    if args.explain is None:
        for item in inputs:
            yield from classifier.classify_pages(item)
        return
    from runtime.explain import Explainer

    explainer = Explainer(args.explain)
    for item in inputs:
        for prediction in classifier.classify_pages(item, keep_evidence=True):
            explainer.write(prediction)
            yield prediction


def _inputs(args: argparse.Namespace) -> Iterable[Input]:
    from runtime.inputs import expand, read_list

    listed = read_list(args.paths_from) if args.paths_from else ()
    return chain(expand(args.inputs, args.recursive), listed)


def _begun_inputs(args: argparse.Namespace) -> Iterable[Input | ReadAhead]:
    """Return the inputs, the first one begun, unless they come bit by bit from elsewhere."""
    from runtime.ahead import first_ahead
    from runtime.inputs import STDIN

    inputs = _inputs(args)
    return inputs if args.paths_from or STDIN in args.inputs else first_ahead(inputs)


def _count(args: argparse.Namespace) -> int | None:
    """Count the inputs for the progress bar, where one is shown and they can be counted twice."""
    if not sys.stderr.isatty() or args.paths_from or "-" in args.inputs:
        return None
    return sum(1 for _ in _inputs(args))


def _log_answer(prediction: Prediction, redact: bool) -> None:
    if not _log.isEnabledFor(logging.INFO):
        return
    name = f"sha256 {prediction.sha256[:12]}" if redact else prediction.source
    _log.info("%s page %d: %s", name, prediction.page, prediction.status)
