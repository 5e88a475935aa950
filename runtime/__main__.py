"""Entry point of `python -m runtime` and of the console script `ecg-runtime`."""

from __future__ import annotations

import gc
import sys

# Imports make many objects and no garbage; looking through them again and again delays the first
# answer. A service that runs for months has the usual thresholds.
_USUAL = gc.get_threshold()
gc.set_threshold(20_000, 20, 20)

from runtime.cli import main  # noqa: E402

gc.set_threshold(*_USUAL)

__all__ = ["main"]

if __name__ == "__main__":
    sys.exit(main())
