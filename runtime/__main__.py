"""Entry point of `python -m runtime` and of the console script `ecg-runtime`."""

from __future__ import annotations

import sys

from runtime.cli import main

__all__ = ["main"]

if __name__ == "__main__":
    sys.exit(main())
