"""Reads the pages of a data set at smaller sizes too, so that an answer does not hang on the size.

A page of fewer pixels is read less sharply: narrow waves lose height, flanks move. A network that
has seen every page at one size only takes such a difference for one of the heart. A fit shows
the reading of a smaller page beside the page's own (`train.examples`).
"""

from __future__ import annotations

import hashlib
import io
import json
import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image

from runtime.labels import LEADS
from runtime.preprocess import Preprocess
from train.dataset import Dataset
from train.progress import bar
from train.tensors import signals_as

SIZES = (0.76, 0.58)
"""Of the pages of ecg5, which are at 43 % of the carts' own size: 33 and 25 % of that."""

JPEG_QUALITY = 95


def load_reduced(
    dataset: Dataset, layouts: np.ndarray, preprocess: Preprocess, file: Path, processes: int = 2
) -> np.ndarray:
    """Return the signals of the smaller pages from ``file``, reading the pages where needed.

    Parameters
    ----------
    dataset
        The pages.
    layouts
        What each was taken for at its own size, str [n]; a smaller page that is taken for another
        layout was misread and stays out.
    preprocess
        How signals are resampled.
    file
        reduced.npz; written when all is read, in about a minute.
    processes
        Pages read side by side.

    Returns
    -------
    ndarray
        float32 [len(SIZES), n, 12, m], mV; NaN = nothing, all of a page that stays out.
    """
    key = _key(dataset, layouts, preprocess)
    if file.is_file():
        with np.load(file, allow_pickle=False) as stored:
            if str(stored["key"]) == key:
                return np.asarray(stored["signals"])
    jobs = [
        (dataset.root / sample.path, str(layout), preprocess)
        for sample, layout in zip(dataset.samples, layouts, strict=True)
    ]
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, mp_context=context) as pool:
        read = list(bar(pool.map(_read, jobs, chunksize=8), "smaller pages", len(jobs)))
    signals = np.stack(read, axis=1)
    temporary = file.with_name("reduced.tmp.npz")
    np.savez_compressed(temporary, signals=signals, key=np.array(key), sizes=np.array(SIZES))
    os.replace(temporary, file)
    return signals


def _key(dataset: Dataset, layouts: np.ndarray, preprocess: Preprocess) -> str:
    """Return the hash that names these signals: data, layouts, preprocessing and sizes."""
    parts = [preprocess.to_manifest(), layouts.tolist(), SIZES, JPEG_QUALITY]
    settings = json.dumps(parts, sort_keys=True)
    return hashlib.sha256(f"{settings}\n{dataset.sha256}".encode()).hexdigest()


def _read(job: tuple[Path, str, Preprocess]) -> np.ndarray:
    """Return the signals of one page at all sizes, float32 [len(SIZES), 12, m] mV."""
    path, layout, preprocess = job
    try:
        with Image.open(path) as opened:
            page = opened.convert("RGB")
    except OSError:  # what cannot be read stays out, as it does at its own size
        return np.full((len(SIZES), len(LEADS), preprocess.samples), np.nan, np.float32)
    copies = (jpeg_bytes(shrunk(page, size), JPEG_QUALITY) for size in SIZES)
    return np.stack([signals_as(layout, copy, preprocess) for copy in copies])


def shrunk(page: Image.Image, scale: float) -> Image.Image:
    """Return a page at `scale` times its size; at 1, as it is."""
    if scale == 1.0:
        return page
    size = (max(1, round(page.width * scale)), max(1, round(page.height * scale)))
    return page.resize(size, Image.Resampling.LANCZOS)


def jpeg_bytes(picture: Image.Image, quality: int) -> bytes:
    """Encode a picture as JPEG."""
    stream = io.BytesIO()
    picture.save(stream, "JPEG", quality=quality)
    return stream.getvalue()
