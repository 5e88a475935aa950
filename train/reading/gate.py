"""What is refused: pictures that are no ECG, and, wrongly, pages that are."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from PIL import Image

from train.negatives import negatives
from train.reading.ecg5 import Ecg5Page
from train.reading.rates import Rate, rate_of
from train.reading.reader import Reader

__all__ = ["false_rejects", "rejections"]


def rejections(reader: Reader, every: int = 1) -> tuple[list[Rate], list[str]]:
    """Show the reader the pictures that must be refused.

    Parameters
    ----------
    reader : Reader
        The device's reading; what its model thinks plays no part.
    every : int
        Take each ``every``-th picture of the part that no limit was set on.

    Returns
    -------
    rates : list of Rate
        Of all pictures, then of each kind.
    missed : list of str
        Names of those that passed for an ECG.
    """
    outcomes: dict[str, list[bool]] = defaultdict(list)
    missed = []
    for index, negative in enumerate(negatives("measure")):
        if index % every:
            continue
        refused = reader.read(negative.image()).refused
        outcomes[negative.kind].append(refused)
        if not refused:
            missed.append(f"{negative.kind}/{negative.name}")
    everything = [refused for kind in outcomes.values() for refused in kind]
    rates = [rate_of("pictures that are no readable 12-lead ECG, refused", everything, 0.99)]
    rates += [rate_of(f"of them: {kind}", seen) for kind, seen in outcomes.items()]
    return rates, missed


def false_rejects(
    reader: Reader, pages: Iterable[Ecg5Page]
) -> tuple[list[Rate], dict[str, tuple[str, ...]]]:
    """Read real pages and count those that are refused.

    A page whose layout the manifest marks ``?`` (HB_497 is a single strip) is counted apart.

    Returns
    -------
    rates : list of Rate
        Of all 12-lead pages, then of each layout.
    refused : dict
        Page to reasons.
    """
    outcomes: dict[str, list[bool]] = defaultdict(list)
    refused: dict[str, tuple[str, ...]] = {}
    for page in pages:
        with Image.open(page.path):
            data = page.path.read_bytes()
        reading = reader.read(data)
        outcomes[page.layout].append(reading.refused)
        if reading.refused:
            refused[page.name] = reading.reasons
    known = [r for layout, seen in outcomes.items() if layout != "?" for r in seen]
    rates = [rate_of("ecg5 pages refused", known, 0.01, at_most=True)]
    rates += [rate_of(f"of them: {layout}", seen) for layout, seen in sorted(outcomes.items())]
    return rates, refused
