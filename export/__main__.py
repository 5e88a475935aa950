"""Entry point of `python -m export` and of the console script `ecg-export`."""

from __future__ import annotations

import sys

from export.cli import main

__all__ = ["main"]

if __name__ == "__main__":
    sys.exit(main())
