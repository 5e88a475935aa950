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
from typing import Any

import numpy as np

from runtime.errors import PageError
from train.dataset import Dataset
from train.progress import bar

FLUSH_EVERY = 64
"""Pages after which an interrupted reading can go on from where it was."""

LEVELS = 255
"""Tensors are kept as uint8; x = value / 255."""


@dataclass(frozen=True)
class Tensors:
    """Canonical tensors of a data set.

    Attributes
    ----------
    values
        uint8 [n, 192, 512], in the order of the data set; x = value / 255.
    layouts
        What runtime.panel took each page for, str [n]; ``error`` where it could not be read.
    """

    values: np.ndarray
    layouts: np.ndarray


def read_page(path: Path, preprocess: Any) -> tuple[np.ndarray, str]:
    """Read one page exactly as the device does.

    Returns
    -------
    (ndarray, str)
        The canonical tensor as uint8 [H, W] and the layout that was found; zeros and ``error``
        for a page that runtime cannot read.
    """
    from runtime.page import open_document
    from runtime.panel import find_panel

    height, width = preprocess.shape[:2]
    try:
        with open_document(path.read_bytes(), path.name) as document:
            panel = find_panel(document.read(1))
        tensor = preprocess.tensor(panel)
    except PageError:
        return np.zeros((height, width), np.uint8), "error"
    return np.rint(tensor[..., 0] * LEVELS).astype(np.uint8), panel.layout


def cache_key(dataset: Dataset, preprocess: Any) -> str:
    """Return the hash that names these tensors: data and preprocessing parameters."""
    manifest = json.dumps(preprocess.to_manifest(), sort_keys=True)
    return hashlib.sha256(f"{manifest}\n{dataset.sha256}".encode()).hexdigest()


def load(dataset: Dataset, preprocess: Any, file: Path, processes: int = 2) -> Tensors:
    """Return the tensors of a data set from ``file``, reading the pages where needed.

    Parameters
    ----------
    dataset
        The pages.
    preprocess
        runtime.preprocess.Preprocess.
    file
        tensors.npz; written when the reading is complete. An interrupted reading leaves
        ``tensors.part.npy`` beside it and goes on from there.
    processes
        Pages read side by side; 1 reads them in this process.
    """
    key = cache_key(dataset, preprocess)
    if file.is_file():
        with np.load(file, allow_pickle=False) as stored:
            if str(stored["key"]) == key:
                return Tensors(stored["values"], stored["layouts"])
    tensors = _read_all(dataset, preprocess, file, key, processes)
    temporary = file.with_name("tensors.tmp.npz")
    np.savez_compressed(
        temporary,
        values=tensors.values,
        layouts=tensors.layouts,
        key=np.array(key),
        paths=np.array([sample.path for sample in dataset.samples]),
    )
    os.replace(temporary, file)
    for leftover in _partial_files(file):
        leftover.unlink(missing_ok=True)
    return tensors


def _partial_files(file: Path) -> tuple[Path, Path]:
    return file.with_name("tensors.part.npy"), file.with_name("tensors.part.json")


def _read_all(dataset: Dataset, preprocess: Any, file: Path, key: str, processes: int) -> Tensors:
    values_file, state_file = _partial_files(file)
    shape = (len(dataset.samples), *preprocess.shape[:2])
    layouts: list[str] = []
    if state_file.is_file() and values_file.is_file():
        state = json.loads(state_file.read_text())
        layouts = state["layouts"] if state["key"] == key else []
    values = np.lib.format.open_memmap(
        values_file, mode="r+" if layouts else "w+", dtype=np.uint8, shape=shape
    )
    paths = [dataset.root / sample.path for sample in dataset.samples[len(layouts) :]]
    for tensor, layout in bar(_results(paths, preprocess, processes), "reading pages", len(paths)):
        values[len(layouts)] = tensor
        layouts.append(layout)
        if len(layouts) % FLUSH_EVERY == 0:
            values.flush()
            state_file.write_text(json.dumps({"key": key, "layouts": layouts}))
    return Tensors(np.array(values), np.array(layouts))


def _results(
    paths: list[Path], preprocess: Any, processes: int
) -> Iterator[tuple[np.ndarray, str]]:
    """Yield the pages in order, reading several at a time."""
    if processes == 1 or len(paths) < FLUSH_EVERY:
        for path in paths:
            yield read_page(path, preprocess)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, mp_context=context) as pool:
        yield from pool.map(read_page, paths, [preprocess] * len(paths), chunksize=8)
