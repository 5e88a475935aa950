"""The command line `python -m runtime`: parses, then imports the command's own module."""

from __future__ import annotations

import argparse
import gc
import logging
import os
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any, Final

from runtime import __version__
from runtime.errors import EcgEdgeError, ExitCode, MissingExtraError

__all__ = ["add_model_arguments", "build_parser", "main", "run_command"]

COMMANDS: Final = {
    "classify": "answer pages: files, folders, globs, lists, stdin",
    "info": "what a bundle is: labels, input, operating points, metrics, gates",
    "verify": "checksums and golden pages on this very device",
    "doctor": "what this machine has and lacks, with the remedy",
    "watch": "answer what arrives in a folder",
    "serve": "HTTP service and the page for a tablet",
    "archive": "score a hospital's archive on many cores or a cluster",
}
"""Command -> one line of help; each lives in ``runtime/commands/<command>.py``."""

#: Objects made between two searches for cycles, Python's own default being 700: the modules of a
#: first answer are tens of thousands of objects, none of them garbage.
SEARCH_EVERY: Final = 50_000

INTENDED_USE: Final = (
    "Research and decision support; not a diagnosis. A person trained in reading ECGs decides."
)


class _Help(argparse.HelpFormatter):
    """Help as wide as the terminal; asking `shutil`, as argparse does, would load compressors."""

    def __init__(self, prog: str, **settings: Any) -> None:
        if settings.get("width") is None:
            settings["width"] = _columns() - 2
        super().__init__(prog, **settings)


def _columns() -> int:
    """Return the width of the terminal; ``COLUMNS`` overrides it, 80 where there is none."""
    stated = os.environ.get("COLUMNS", "")
    if stated.isdigit() and int(stated) > 0:
        return int(stated)
    try:
        return os.get_terminal_size().columns or 80
    except OSError:
        return 80


def build_parser(chosen: str | None = None) -> argparse.ArgumentParser:
    """Return the parser.

    Parameters
    ----------
    chosen : str or None
        Where the command is known already, only its arguments are built: the first answer should
        not wait for the others' modules.
    """
    parser = argparse.ArgumentParser(
        prog="python -m runtime",
        description="Reads pictures of 12-lead ECGs.",
        epilog=INTENDED_USE,
        formatter_class=_Help,
    )
    parser.add_argument("--version", action="version", version=f"ecg-edge {__version__}")
    commands = parser.add_subparsers(
        dest="command", required=True, metavar="COMMAND", prog=parser.prog
    )
    for name, summary in COMMANDS.items():
        child = commands.add_parser(
            name,
            help=summary,
            description=summary,
            epilog=INTENDED_USE,
            formatter_class=_Help,
        )
        child.add_argument("--version", action="version", version=f"ecg-edge {__version__}")
        if chosen in (None, name):
            _module(name).add_arguments(child)
            add_logging_arguments(child)
    return parser


def add_model_arguments(parser: argparse.ArgumentParser) -> None:
    """Add ``--model``, ``--engine`` and ``--threads``, which every answering command takes."""
    parser.add_argument(
        "--model", metavar="NAME|DIR", help="bundle: a name beside the package, or a folder"
    )
    parser.add_argument(
        "--engine",
        choices=("auto", "litert", "onnxruntime", "tflite-runtime"),
        default="auto",
        help="inference engine (default: the first installed one that reads the bundle)",
    )
    parser.add_argument(
        "--threads", type=positive, default=1, metavar="N", help="threads of the engine (default 1)"
    )


def add_logging_arguments(parser: argparse.ArgumentParser) -> None:
    """Add ``-q``, ``-v`` and ``--redact-names``."""
    parser.add_argument("-q", "--quiet", action="store_true", help="errors only on stderr")
    parser.add_argument("-v", "--verbose", action="store_true", help="details on stderr")
    parser.add_argument(
        "--redact-names",
        action="store_true",
        help="logs hold no file names or page text (results still name their source)",
    )


def positive(text: str) -> int:
    """Parse a whole number of at least 1."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not at least 1")
    return value


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code."""
    # NumPy's linear algebra starts a thread a core, which spin for 0.1 s, and nothing here asks
    # for more than one: on a small board they would take the cores from what is read meanwhile.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    gc.set_threshold(SEARCH_EVERY)
    words = list(sys.argv[1:] if arguments is None else arguments)
    chosen = words[0] if words and words[0] in COMMANDS else None
    args = build_parser(chosen).parse_args(words)
    level = logging.ERROR if args.quiet else logging.DEBUG if args.verbose else logging.WARNING
    logging.basicConfig(stream=sys.stderr, level=level, format="%(levelname)s: %(message)s")
    # Debug lines are ours to show; libraries' own would tell a nurse nothing.
    for library in ("PIL", "pydicom", "asyncio", "distributed", "fsspec", "python_multipart"):
        logging.getLogger(library).setLevel(logging.ERROR)
    return run_command(lambda: _module(args.command).run(args), verbose=args.verbose)


def run_command(command: Callable[[], int], verbose: bool) -> int:
    """Run a command and turn what it raises into a line on stderr and an exit code."""
    try:
        return int(command())
    except EcgEdgeError as fault:
        if str(fault):
            print(f"ecg-edge: {fault}", file=sys.stderr)
        return int(fault.exit_code)
    except ModuleNotFoundError as fault:
        missing = MissingExtraError("dev", f"this command ({fault.name})")
        print(f"ecg-edge: {missing}", file=sys.stderr)
        return int(missing.exit_code)
    except KeyboardInterrupt:
        print("ecg-edge: interrupted", file=sys.stderr)
        return int(ExitCode.INTERRUPTED)
    except BrokenPipeError:
        return int(ExitCode.OUTPUT)
    except Exception as fault:
        if verbose:
            import traceback

            traceback.print_exc()
        print(
            f"ecg-edge: internal error ({type(fault).__name__}: {fault}); "
            "run again with -v and report what it prints",
            file=sys.stderr,
        )
        return int(ExitCode.INTERNAL)


def _module(command: str) -> Any:
    return import_module(f"runtime.commands.{command}")
