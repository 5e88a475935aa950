"""What must not change an answer: header and footer, resolution, JPEG quality, style and layout."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from train.draw import Recording, Truth, draw_page, encode_page
from train.reading.ecg5 import Ecg5Page
from train.reading.rates import Rate, rate_of
from train.reading.reader import Reader
from train.reduced import jpeg_bytes, shrunk

__all__ = [
    "FOUR_LAYOUTS",
    "ROUNDING",
    "SIX_STYLES",
    "StyledPage",
    "blanking",
    "rates_of_styles",
    "resolution",
    "styles",
]

ROUNDING: Final = 1.0 / 255.0
"""Largest change of a tensor that counts as rounding: one grey level."""

SCALES: Final = (1.0, 0.5, 0.43, 0.25)
QUALITIES: Final = (95, 75, 50)
"""Sizes and JPEG qualities at which the answer must stand (issue 3)."""

SAME_LABEL: Final = 0.99
MAX_CHANGE: Final = 0.02
"""Least share of pages with the same label, most mean change of a probability (issue 3)."""

SIX_STYLES: Final = ("report", "report-plain", "strip-wide", "boston", "azure", "verde")
FOUR_LAYOUTS: Final = ("3x4+1", "3x4", "6x2", "12x1")
"""Styles and layouts in which the same signal must have the same answer (issue 3: 6 x 4)."""


@dataclass(frozen=True)
class Blanked:
    """How one page took the blanking of its header and footer.

    Parameters
    ----------
    path : str
        The page.
    change : float
        Largest change of the tensor when all of both bands is white.
    text_change : float
        The same when only ink that does not reach out of a band is white: letters and rules go,
        a wave that rises into the header stays.
    """

    path: str
    change: float
    text_change: float


def blanking(reader: Reader, pages: Iterable[Ecg5Page]) -> list[Blanked]:
    """Blank header and footer of real pages with white and compare the tensors."""
    results = []
    for page in pages:
        with Image.open(page.path) as opened:
            grey = np.asarray(opened.convert("L"))
        top, bottom = page.bands(grey.shape[0])
        if top == 0 and bottom == grey.shape[0]:
            continue
        before = _tensor(reader, grey)
        whole = grey.copy()
        whole[:top], whole[bottom:] = 255, 255
        change = _change(before, _tensor(reader, whole))
        text = change
        if change > ROUNDING:
            text = _change(before, _tensor(reader, _without_text(grey, top, bottom)))
        results.append(Blanked(page.name, change, text))
    return results


def _tensor(reader: Reader, grey: NDArray[np.uint8]) -> NDArray[np.float32] | None:
    panel = reader.read(Image.fromarray(grey)).panel
    return None if panel is None else reader.tensor(panel)


def _change(one: NDArray[np.float32] | None, other: NDArray[np.float32] | None) -> float:
    if one is None or other is None:
        return 0.0 if one is other else 1.0
    return float(np.abs(one - other).max())


def _without_text(grey: NDArray[np.uint8], top: int, bottom: int) -> NDArray[np.uint8]:
    """Whiten the connected pieces of ink that lie wholly in the header or the footer."""
    pieces, count = ndimage.label(grey < 160, structure=np.ones((3, 3)))
    result = grey.copy()
    for number, place in enumerate(ndimage.find_objects(pieces, count), start=1):
        if place is not None and (place[0].stop <= top or place[0].start >= bottom):
            grown = ndimage.binary_dilation(np.pad(pieces[place] == number, 2), iterations=2)
            rows = slice(max(0, place[0].start - 2), place[0].stop + 2)
            columns = slice(max(0, place[1].start - 2), place[1].stop + 2)
            cut = grown[2 - (place[0].start - rows.start) :, 2 - (place[1].start - columns.start) :]
            patch = result[rows, columns]
            patch[cut[: patch.shape[0], : patch.shape[1]]] = 255
    return result


@dataclass(frozen=True)
class Answer:
    """What came out for one page.

    Parameters
    ----------
    tensor : ndarray of float32 or None
        None where the page was refused.
    probabilities : ndarray of float64 or None
        None where it was refused or no model is there.
    """

    tensor: NDArray[np.float32] | None
    probabilities: NDArray[np.float64] | None


@dataclass(frozen=True)
class Stability:
    """How answers stand under one treatment.

    Parameters
    ----------
    name : str
        The treatment.
    tensor_change : float
        Mean absolute change of the tensors.
    refused : int
        Pages refused only after the treatment.
    same : Rate or None
        Share of pages with the same label; None without a model.
    probability_change : float
        Mean absolute change of the probabilities.
    """

    name: str
    tensor_change: float
    refused: int
    same: Rate | None
    probability_change: float

    def to_record(self) -> dict[str, Any]:
        """Return plain numbers for reading.json."""
        record: dict[str, Any] = {
            "name": self.name,
            "mean_change_of_tensor": round(self.tensor_change, 5),
            "refused": self.refused,
        }
        if self.same is not None:
            record["same_label"] = self.same.to_record()
            record["mean_change_of_probability"] = round(self.probability_change, 5)
            record["mean_change_target"] = MAX_CHANGE
        return record


def resolution(reader: Reader, pages: list[Image.Image]) -> list[Stability]:
    """Shrink and recompress pages and compare with the page as it is.

    Parameters
    ----------
    reader : Reader
        The device's reading, with or without a model.
    pages : list of PIL images
        Full-size pages.
    """
    before = [_answer(reader, jpeg_bytes(page, 95)) for page in pages]
    results = []
    for scale in SCALES:
        after = [_answer(reader, jpeg_bytes(shrunk(page, scale), 95)) for page in pages]
        results.append(_stability(f"{scale:.0%} of its size", before, after))
    for quality in QUALITIES:
        after = [_answer(reader, jpeg_bytes(page, quality)) for page in pages]
        results.append(_stability(f"JPEG quality {quality}", before, after))
    return results


def _answer(reader: Reader, data: bytes) -> Answer:
    tensor = reader.read(data).tensor
    if tensor is None or not reader.has_model:
        return Answer(tensor, None)
    return Answer(tensor, reader.probabilities(tensor))


def _stability(name: str, before: list[Answer], after: list[Answer]) -> Stability:
    pairs = [(b, a) for b, a in zip(before, after, strict=True) if b.tensor is not None]
    tensors, changes, same = [], [], []
    for b, a in pairs:
        if a.tensor is not None and b.tensor is not None:
            tensors.append(float(np.abs(a.tensor - b.tensor).mean()))
        if b.probabilities is not None:
            same.append(
                a.probabilities is not None and a.probabilities.argmax() == b.probabilities.argmax()
            )
            if a.probabilities is not None:
                changes.append(float(np.abs(a.probabilities - b.probabilities).mean()))
    return Stability(
        name,
        float(np.mean(tensors)) if tensors else float("nan"),
        len(pairs) - len(tensors),
        rate_of(name, same, SAME_LABEL) if same else None,
        float(np.mean(changes)) if changes else float("nan"),
    )


@dataclass(frozen=True)
class StyledPage:
    """One recording drawn in one style and layout.

    Parameters
    ----------
    signal : int
        Index of the recording.
    truth : Truth
        How it was drawn.
    grey : ndarray of uint8, shape [96, 128]
        The raw page, small and grey: what a network without panel finder would see.
    tensor : ndarray of float32 or None
        The canonical tensor; None where the page was refused.
    label : int or None
        The model's best guess.
    """

    signal: int
    truth: Truth
    grey: NDArray[np.uint8]
    tensor: NDArray[np.float32] | None
    label: int | None


def styles(
    reader: Reader, recording_of: Callable[[int], Recording], signals: int, seed: int
) -> list[StyledPage]:
    """Draw each recording in six styles times four layouts, and read every page."""
    pages = []
    for index in range(signals):
        recording = recording_of(index)
        for s, style in enumerate(SIX_STYLES):
            for k, layout in enumerate(FOUR_LAYOUTS):
                number = ((seed * 1000 + index) * 10 + s) * 10 + k
                page, truth = draw_page(recording, style, number, layout=layout)
                reading = reader.read(encode_page(page, truth)[0])
                label = None
                if reading.tensor is not None and reader.has_model:
                    label = int(reader.probabilities(reading.tensor).argmax())
                small = page.convert("L").resize((128, 96), Image.Resampling.BOX)
                pages.append(StyledPage(index, truth, np.asarray(small), reading.tensor, label))
    return pages


def rates_of_styles(pages: list[StyledPage]) -> list[Rate]:
    """Count how often a page has the label that most drawings of its recording have."""
    by_signal: dict[int, list[int | None]] = {}
    for page in pages:
        by_signal.setdefault(page.signal, []).append(page.label)
    usual = {
        signal: Counter(label for label in labels if label is not None).most_common(1)[0][0]
        for signal, labels in by_signal.items()
        if any(label is not None for label in labels)
    }
    agree = [page.label == usual[page.signal] for page in pages if page.signal in usual]
    return [
        rate_of("page has its recording's usual label", agree, 0.95),
        rate_of(
            "all 24 drawings of a recording have one label",
            (len(set(by_signal[signal])) == 1 for signal in usual),
        ),
    ]
