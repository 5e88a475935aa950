"""The command line of the training stage; parses first, imports what is heavy afterwards."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from runtime import __version__
from runtime.cli import run_command
from runtime.errors import ExitCode, MissingExtraError, UsageError

SUBCOMMANDS = {
    "audit": "what in a data set gives the class away",
    "evaluate": "score a bundle or a RUN on labelled pages",
    "draw": "draw pages from synthetic hearts or recordings",
    "reading": "measure how well pages are read",
    "explained": "where the evidence marked by --explain lies",
    "try": "fit one recipe on some folds of a RUN, or average several",
}
"""First words that are no data folder, and what they do."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run ``python -m train``; return the exit code (runtime.errors.ExitCode)."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    return run_command(lambda: _run(given), verbose="-v" in given)


def _run(given: list[str]) -> int:
    options = _parser(given[0] if given else "").parse_args(given)
    try:
        return int(options.run(options))
    except ModuleNotFoundError as missing:
        if not missing.name or missing.name.partition(".")[0] in ("train", "runtime"):
            raise
        raise MissingExtraError("train", f"training ({missing.name})") from missing


def _parser(first: str) -> argparse.ArgumentParser:
    """Return the parser that suits the first word: a subcommand's, or that of a training run."""
    if first not in SUBCOMMANDS:
        return _training_parser()
    parser = argparse.ArgumentParser("python -m train", description="The training stage.")
    _add_version(parser)
    commands = parser.add_subparsers(dest="command", required=True)
    if first == "audit":
        _add_audit(commands)
    elif first == "evaluate":
        _add_evaluate(commands)
    elif first == "draw":
        from train.draw import command

        command.add_parser(commands)
    elif first == "try":
        _add_try(commands)
    elif first == "explained":
        _add_explained(commands)
    else:
        from train import reading

        reading.add_parser(commands)
    return parser


def _training_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "python -m train",
        description="Train models on a folder of ECG pages and write a RUN folder.",
        epilog="further commands (each has its own --help):\n"
        + "\n".join(f"  python -m train {name:9} {does}" for name, does in SUBCOMMANDS.items()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _add_version(parser)
    parser.add_argument(
        "data", type=Path, metavar="DATA", help="folder with a folder a class, or with manifest.csv"
    )
    parser.add_argument(
        "--out",
        type=Path,
        required=True,
        metavar="RUN",
        help="RUN folder; an interrupted run in it goes on",
    )
    parser.add_argument(
        "--models",
        metavar="NAMES",
        help="cnn,cnn-accurate,svm,random-forest,decision-tree (default: all but cnn-accurate)",
    )
    parser.add_argument("--folds", type=int, metavar="N", help="parts of the cross-validation (5)")
    parser.add_argument("--epochs", type=int, metavar="N", help="passes over the data at most")
    parser.add_argument("--seed", type=int, metavar="N", help="of everything random (1)")
    parser.add_argument("--processes", type=int, metavar="N", help="folds fitted side by side (2)")
    parser.add_argument(
        "--signals",
        metavar="DIR",
        help="recordings of other hospitals: half of their patients are fitted on beside the pages",
    )
    parser.add_argument("--config", type=Path, metavar="FILE.toml", help="further settings")
    _add_verbose(parser)
    parser.set_defaults(run=_train)
    return parser


def _add_version(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--version", action="version", version=f"ecg-edge {__version__}")


def _add_verbose(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-v", action="store_true", help="show where an internal error arose")


def _add_audit(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    audit = commands.add_parser("audit", help=SUBCOMMANDS["audit"])
    audit.add_argument("data", type=Path, metavar="DATA", help="data folder")
    audit.add_argument("--out", type=Path, required=True, metavar="DIR", help="where to write")
    audit.add_argument("--seed", type=int, default=1, metavar="N", help="of the splits (1)")
    audit.add_argument("--folds", type=int, default=5, metavar="N", help="of the probes (5)")
    _add_verbose(audit)
    audit.set_defaults(run=_audit)


def _add_evaluate(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    evaluate = commands.add_parser("evaluate", help=SUBCOMMANDS["evaluate"])
    evaluate.add_argument("data", type=Path, metavar="DATA", help="data folder; for P4 of signals")
    evaluate.add_argument(
        "--model",
        required=True,
        metavar="BUNDLE|RUN",
        help="RUN folder, or folder or name of a bundle",
    )
    evaluate.add_argument(
        "--protocol",
        choices=("P1", "P2", "P3", "P4"),
        default="P2",
        help="P1 published, P2 honest (default), P3 same cart, P4 other heart",
    )
    evaluate.add_argument("--name", default="cnn", metavar="NAME", help="model of the RUN (cnn)")
    evaluate.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help="also write evaluation.json, evaluation.md and figures here",
    )
    evaluate.add_argument("--seed", type=int, default=1, metavar="N", help="of draws (1)")
    _add_verbose(evaluate)
    evaluate.set_defaults(run=_evaluate)


def _add_explained(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("explained", help=SUBCOMMANDS["explained"])
    parser.add_argument("model", metavar="BUNDLE", help="folder or name of a bundle")
    parser.add_argument("--data", type=Path, metavar="DATA", help="real pages (none)")
    parser.add_argument("--count", type=_count, default=200, metavar="N", help="pages a kind (200)")
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="of pages (1)")
    _add_verbose(parser)
    parser.set_defaults(run=_explained)


def _explained(options: argparse.Namespace) -> ExitCode:
    from train.explained import explained

    print(explained(options.model, options.data, options.count, options.seed))
    return ExitCode.OK


def _add_try(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    trial = commands.add_parser("try", help=SUBCOMMANDS["try"])
    trial.add_argument("data", type=Path, metavar="RUN", help="finished RUN folder")
    trial.add_argument(
        "--name", default="cnn", metavar="NAME", help="cnn (default), cnn-accurate, measured"
    )
    trial.add_argument(
        "--architecture", default="", metavar="NAME", help="of train/architecture.py (the model's)"
    )
    trial.add_argument(
        "--folds",
        type=_folds,
        default=(0, 1),
        metavar="K,K",
        help="folds to hold out (0,1)",
    )
    trial.add_argument("--out", type=Path, metavar="DIR", help="folder of this trial")
    trial.add_argument("--seed", type=int, default=1, metavar="N", help="of weights and order (1)")
    trial.add_argument(
        "--processes", type=int, default=1, metavar="N", help="folds fitted side by side (1)"
    )
    trial.add_argument("--signals", metavar="DIR", help="recordings fitted beside the pages")
    trial.add_argument("--config", type=Path, metavar="FILE.toml", help="settings")
    trial.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="one setting over those, as in TOML, e.g. fit.mixup=0.2; may be repeated",
    )
    trial.add_argument(
        "--average",
        nargs="+",
        type=Path,
        metavar="DIR",
        help="fit nothing: score the mean of these folders' oof.csv",
    )
    trial.add_argument(
        "--moved",
        type=_folds,
        metavar="X,X",
        help="fit nothing: judge the RUN's models by the mean over pages moved by these columns "
        "instead of their own, e.g. --moved=-9,-3,3,9",
    )
    _add_verbose(trial)
    trial.set_defaults(run=_try)


def _folds(text: str) -> tuple[int, ...]:
    """Read whole numbers with commas between."""
    return tuple(int(word) for word in text.split(","))


def _count(text: str) -> int:
    """Read a whole number from 1 on."""
    if int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} is less than 1")
    return int(text)


def _try(options: argparse.Namespace) -> ExitCode:
    from train.config import TrainConfig, check, read_toml, with_settings
    from train.trial import (
        HEAD,
        Trial,
        average,
        fit_trial,
        moved_pages,
        table_row,
    )

    if options.average:
        name = " + ".join(folder.name for folder in options.average)
        print(HEAD, table_row(name, average(options.average)), sep="\n")
        return ExitCode.OK
    if options.out is None:
        raise UsageError("try needs --out DIR", "name a folder for this trial")
    config = read_toml(options.config) if options.config else TrainConfig()
    config = replace(config, seed=options.seed, processes=options.processes)
    config = replace(config, signals=options.signals or config.signals)
    config = check(with_settings(config, "\n".join(options.set), "--set"))
    trial = Trial(
        options.data, options.name, options.folds, config, options.out, options.architecture
    )
    row = moved_pages(trial, options.moved) if options.moved else fit_trial(trial)
    print(HEAD, row, sep="\n")
    return ExitCode.OK


def _train(options: argparse.Namespace) -> ExitCode:
    from train.config import TrainConfig, check, read_toml
    from train.pipeline import train

    config = read_toml(options.config) if options.config else TrainConfig()
    if options.models:
        config = replace(config, models=tuple(options.models.split(",")))
    for name in ("folds", "seed", "processes", "signals"):
        if getattr(options, name) is not None:
            config = replace(config, **{name: getattr(options, name)})
    if options.epochs is not None:
        config = replace(
            config,
            fit=replace(config.fit, epochs=options.epochs),
            fit_accurate=replace(config.fit_accurate, epochs=options.epochs),
        )
    folder = train(options.data, options.out, check(config))
    print(folder.report)
    return ExitCode.OK


def _audit(options: argparse.Namespace) -> ExitCode:
    from train.audit import audit

    print(audit(options.data, options.out, options.folds, options.seed))
    return ExitCode.OK


def _evaluate(options: argparse.Namespace) -> ExitCode:
    from train.evaluate import evaluate

    print(
        evaluate(
            options.data, options.model, options.protocol, options.name, options.out, options.seed
        )
    )
    return ExitCode.OK
