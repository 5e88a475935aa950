"""Measures how well pages are read: panel, layout, scale, invariance, refusal and speed (issue 3).

``python -m train reading --signals DIR --data DIR --out DIR`` writes reading.json, reading.md, a
contact sheet of real pages and the pages that failed.
"""

from __future__ import annotations

from train.reading.command import add_parser, run

__all__ = ["add_parser", "run"]
