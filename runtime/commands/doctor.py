"""`doctor`: what this machine has and lacks, with the remedy for each."""

from __future__ import annotations

import argparse

from runtime.cli import add_model_arguments


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    add_model_arguments(parser)
    parser.add_argument("--out", metavar="DIR", help="also look at the folder of the answers")
    parser.add_argument("--json", action="store_true", help="machine-readable result")


def run(args: argparse.Namespace) -> int:
    """Print the findings; exit 0 unless a problem makes answering pages impossible."""
    import json
    from pathlib import Path

    from runtime.doctor import Request, examine, exit_code, to_record, to_text

    out = Path(args.out) if args.out else None
    findings = examine(Request(args.model, args.engine, args.threads, out))
    print(json.dumps(to_record(findings), indent=2) if args.json else to_text(findings))
    return exit_code(findings)
