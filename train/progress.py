"""Progress bars that appear on a terminal and nowhere else."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from typing import TypeVar

Item = TypeVar("Item")


def bar(
    items: Iterable[Item], what: str, total: int | None = None, line: int = 0
) -> Iterator[Item]:
    """Iterate over ``items``; where standard error is a terminal, show how far it is.

    Parameters
    ----------
    items
        What to iterate over.
    what
        Words in front of the bar.
    total
        Number of items where ``len(items)`` does not say it.
    line
        Line of the terminal, counted from 0, for bars of several processes.
    """
    from tqdm import tqdm

    yield from tqdm(
        items,
        desc=what,
        total=total,
        position=line,
        leave=line == 0,
        dynamic_ncols=True,
        disable=not sys.stderr.isatty(),
    )


def say(text: str) -> None:
    """Tell the user what happens, on standard error."""
    print(text, file=sys.stderr, flush=True)
