"""Entry point of `python -m benchmarks` and of the console script `ecg-benchmarks`."""

from __future__ import annotations

import sys

from benchmarks.cli import main

__all__ = ["main"]

if __name__ == "__main__":
    sys.exit(main())
