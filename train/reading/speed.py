"""Time of decoding, panel and preprocessing against Pillow's own scaled grey decode."""

from __future__ import annotations

import gc
import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from time import process_time
from typing import Any

import numpy as np
from PIL import Image

from runtime.cli import SEARCH_EVERY
from runtime.page import working_factor
from runtime.panel import find_panel
from train.reading.reader import Reader

__all__ = ["FileTiming", "measure_speed"]


@dataclass(frozen=True)
class FileTiming:
    """Medians of one file, ms of processor time, all taken in the same rounds.

    Parameters
    ----------
    file : str
        File name.
    width, height : int
        Size, px.
    pillow : float
        Pillow's scaled grey decode alone: ``draft("L", ...)`` at the same scale, and load.
    decode, panel, tensor : float
        The device's reading, by step.
    total : float
        Median of the sum.
    ratio : float
        Total over Pillow's decode.
    """

    file: str
    width: int
    height: int
    pillow: float
    decode: float
    panel: float
    tensor: float
    total: float
    ratio: float

    def to_record(self) -> dict[str, Any]:
        """Return plain numbers for reading.json."""
        return {k: round(v, 3) if isinstance(v, float) else v for k, v in asdict(self).items()}


def measure_speed(reader: Reader, files: list[Path], rounds: int) -> list[FileTiming]:
    """Time files; Pillow and ours take turns, and only the processor's time for us is counted.

    Parameters
    ----------
    reader : Reader
        The device's reading.
    files : list of Path
        JPEG files.
    rounds : int
        Turns; medians are reported.
    """
    results = []
    for path in files:
        data = path.read_bytes()
        with Image.open(io.BytesIO(data)) as opened:
            width, height = opened.size
        with _collecting_as_the_device():
            steps = np.array([_turn(reader, data) for _ in range(rounds + 1)][1:]) * 1e3
        pillow, decode, panel, tensor = np.median(steps, axis=0)
        total = float(np.median(steps[:, 1:].sum(axis=1)))
        results.append(
            FileTiming(
                path.name, width, height, float(pillow), float(decode), float(panel),
                float(tensor), total, total / float(pillow),
            )
        )  # fmt: skip
    return results


@contextmanager
def _collecting_as_the_device() -> Iterator[None]:
    """Search for cycles as seldom as the device's commands do (`runtime.cli.main`)."""
    before = gc.get_threshold()
    gc.set_threshold(SEARCH_EVERY)
    try:
        yield
    finally:
        gc.set_threshold(*before)


def _turn(reader: Reader, data: bytes) -> tuple[float, float, float, float]:
    start = process_time()
    with Image.open(io.BytesIO(data)) as picture:
        factor = working_factor(*picture.size)
        picture.draft("L", (picture.width // factor, picture.height // factor))
        picture.load()
    decoded_by_pillow = process_time()
    page = reader.decode(data)
    decoded = process_time()
    panel = find_panel(page)
    found = process_time()
    reader.tensor(panel)
    done = process_time()
    return decoded_by_pillow - start, decoded - decoded_by_pillow, found - decoded, done - found
