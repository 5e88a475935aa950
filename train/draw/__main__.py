"""Run the drawing command alone: ``python -m train.draw SIGNALS --out DIR``."""

from __future__ import annotations

import argparse
import sys

from runtime.errors import EcgEdgeError
from train.draw.command import add_parser, run


def main() -> int:
    """Parse, draw, and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m train.draw")
    add_parser(parser.add_subparsers(required=True))
    args = parser.parse_args(["draw", *sys.argv[1:]])
    try:
        return run(args)
    except EcgEdgeError as error:
        print(f"error: {error}", file=sys.stderr)
        return int(error.exit_code)


if __name__ == "__main__":
    raise SystemExit(main())
