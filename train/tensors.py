"""Turns the pages of a data set into canonical tensors, once, and keeps them in tensors.npz.

The reading is runtime's own (page, panel, preprocess): what the device sees is what is trained on.
"""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from runtime.errors import PageError
from runtime.labels import LEADS
from runtime.page import open_document
from runtime.panel import find_panel
from runtime.preprocess import SUBSAMPLES, Preprocess
from train.dataset import Dataset
from train.progress import bar

FLUSH_EVERY = 64
"""Pages after which an interrupted reading can go on from where it was."""

CONTENT = "values, signals, layouts"
"""What tensors.npz holds; part of the key, so that a file of another release is made anew."""

LEVELS = 255
"""Tensors are kept as uint8; x = value / 255."""


@dataclass(frozen=True)
class Tensors:
    """Canonical tensors of a data set.

    Attributes
    ----------
    values
        uint8 [n, 192, 512], in the order of the data set; x = value / 255.
    signals
        What they were drawn from, float32 [n, 12, m], mV; NaN = nothing.
    layouts
        What runtime.panel took each page for, str [n]; ``error`` where it could not be read.
    """

    values: np.ndarray
    signals: np.ndarray
    layouts: np.ndarray


def read_page(path: Path, preprocess: Preprocess) -> tuple[np.ndarray, np.ndarray, str]:
    """Read one page exactly as the device does.

    Returns
    -------
    (ndarray, ndarray, str)
        The canonical tensor as uint8 [H, W], the signals float32 [12, m] it was drawn from, and
        the layout that was found; an empty page and ``error`` where runtime cannot read it.
    """
    try:
        with open_document(path.read_bytes(), path.name) as document:
            panel = find_panel(document.read(1))
    except PageError:
        nothing = np.full((len(LEADS), _samples(preprocess)), np.nan, np.float32)
        return np.zeros(preprocess.shape[:2], np.uint8), nothing, "error"
    signals = preprocess.signals(panel.leads)
    tensor = preprocess.tensor(panel)
    return np.rint(tensor[..., 0] * LEVELS).astype(np.uint8), signals, panel.layout


def signals_as(layout: str, data: bytes, preprocess: Preprocess) -> np.ndarray:
    """Return the signals of a page in memory, float32 [12, m] mV, if it is taken for a layout.

    NaN throughout where it is taken for another one, so misread, or cannot be read.
    """
    nothing = np.full((len(LEADS), preprocess.samples), np.nan, np.float32)
    try:
        with open_document(data) as document:
            panel = find_panel(document.read(1))
    except PageError:
        return nothing
    return preprocess.signals(panel.leads) if panel.layout == layout else nothing


def _samples(preprocess: Preprocess) -> int:
    return preprocess.cell_width * SUBSAMPLES + 1


def cache_key(dataset: Dataset, preprocess: Preprocess) -> str:
    """Return the hash that names these tensors: data and preprocessing parameters."""
    manifest = json.dumps(preprocess.to_manifest(), sort_keys=True)
    return hashlib.sha256(f"{CONTENT}\n{manifest}\n{dataset.sha256}".encode()).hexdigest()


def load(dataset: Dataset, preprocess: Preprocess, file: Path, processes: int = 2) -> Tensors:
    """Return the tensors of a data set from ``file``, reading the pages where needed.

    Parameters
    ----------
    dataset
        The pages.
    preprocess
        How they are drawn.
    file
        tensors.npz; written when the reading is complete. An interrupted reading leaves
        ``tensors.part-*`` beside it and goes on from there.
    processes
        Pages read side by side; 1 reads them in this process.
    """
    key = cache_key(dataset, preprocess)
    if file.is_file():
        with np.load(file, allow_pickle=False) as stored:
            if str(stored["key"]) == key:
                return Tensors(stored["values"], stored["signals"], stored["layouts"])
    tensors = _read_all(dataset, preprocess, file, key, processes)
    temporary = file.with_name("tensors.tmp.npz")
    np.savez_compressed(
        temporary,
        values=tensors.values,
        signals=tensors.signals,
        layouts=tensors.layouts,
        key=np.array(key),
        paths=np.array([sample.path for sample in dataset.samples]),
        preprocess=np.array(json.dumps(preprocess.to_manifest())),
    )
    os.replace(temporary, file)
    for leftover in file.parent.glob("tensors.part-*"):
        leftover.unlink()
    return tensors


def _read_all(
    dataset: Dataset, preprocess: Preprocess, file: Path, key: str, processes: int
) -> Tensors:
    n, state_file = len(dataset.samples), file.with_name("tensors.part-state.json")
    layouts: list[str] = []
    if state_file.is_file():
        state = json.loads(state_file.read_text())
        layouts = state["layouts"] if state["key"] == key else []
    values, signals = (
        np.lib.format.open_memmap(
            file.with_name(f"tensors.part-{name}.npy"),
            mode="r+" if layouts else "w+",
            dtype=dtype,
            shape=(n, *shape),
        )
        for name, dtype, shape in (
            ("values", np.uint8, preprocess.shape[:2]),
            ("signals", np.float32, (len(LEADS), _samples(preprocess))),
        )
    )
    paths = [dataset.root / sample.path for sample in dataset.samples[len(layouts) :]]
    pages = bar(_results(paths, preprocess, processes), "reading pages", len(paths))
    for tensor, signal, layout in pages:
        values[len(layouts)], signals[len(layouts)] = tensor, signal
        layouts.append(layout)
        if len(layouts) % FLUSH_EVERY == 0:
            values.flush()
            signals.flush()
            state_file.write_text(json.dumps({"key": key, "layouts": layouts}))
    return Tensors(np.array(values), np.array(signals), np.array(layouts))


def _results(
    paths: list[Path], preprocess: Preprocess, processes: int
) -> Iterator[tuple[np.ndarray, np.ndarray, str]]:
    """Yield the pages in order, reading several at a time."""
    if processes == 1 or len(paths) < FLUSH_EVERY:
        for path in paths:
            yield read_page(path, preprocess)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, mp_context=context) as pool:
        yield from pool.map(read_page, paths, [preprocess] * len(paths), chunksize=8)
