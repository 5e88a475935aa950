"""Pictures that are no readable 12-lead ECG: the quality gate is set and measured on them.

Everything is drawn here or taken from pictures that installed packages carry; none is downloaded.
Each picture is made anew from its kind and number, so the set is the same on every machine with the
same packages.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from PIL import Image

from train.negatives.charts import CHARTS
from train.negatives.codes import CODES
from train.negatives.papers import PAPERS
from train.negatives.photographs import photograph_names, photograph_variant
from train.negatives.ruined import RUINED
from train.negatives.scans import SCANS
from train.negatives.strips import STRIPS

__all__ = ["KINDS", "Negative", "negatives"]

Part = Literal["limits", "measure"]
Painter = Callable[[np.random.Generator], Image.Image]

#: Kinds of drawn pictures -> their painters, and how many of each painter go into each part.
KINDS: Final[dict[str, tuple[dict[str, Painter], int]]] = {
    "paper": (PAPERS, 4),
    "chart": (CHARTS, 4),
    "code": (CODES, 4),
    "scan": (SCANS, 6),
    "strip": (STRIPS, 8),
    "ruined": (RUINED, 24),
}
#: Variants of every photograph.
PHOTOGRAPH_VARIANTS: Final = 5


@dataclass(frozen=True)
class Negative:
    """One picture that must be rejected.

    Attributes
    ----------
    kind : str
        ``photograph`` or a key of `KINDS`.
    name : str
        What it shows and its number, for example ``"line-chart/3"``.
    part : str
        ``"limits"``: limits may be set on it; ``"measure"``: the gate is measured on it. A
        photograph is in one part with all its variants.
    """

    kind: str
    name: str
    part: Part

    def image(self) -> Image.Image:
        """Draw the picture; any mode."""
        what, _, number = self.name.rpartition("/")
        digest = hashlib.sha256(f"{self.part}/{self.name}".encode()).digest()
        rng = np.random.default_rng(int.from_bytes(digest[:8], "little"))
        if self.kind == "photograph":
            return photograph_variant(what, int(number), rng)
        return KINDS[self.kind][0][what](rng)


def negatives(part: Part) -> Iterator[Negative]:
    """List the pictures of one part.

    Parameters
    ----------
    part : str
        ``"limits"`` or ``"measure"``.

    Yields
    ------
    Negative
    """
    for index, what in enumerate(photograph_names()):
        if (index % 2 == 0) == (part == "limits"):
            for number in range(PHOTOGRAPH_VARIANTS):
                yield Negative("photograph", f"{what}/{number}", part)
    for kind, (painters, count) in KINDS.items():
        for what in painters:
            for number in range(count):
                yield Negative(kind, f"{what}/{number}", part)
