"""Real recordings of other hospitals beside the pages: half of the patients, never all.

The carts of ecg5 name the class (COVID-19 pages come from other devices), so a network that
sees nothing else takes every strange cart for COVID-19. Recordings with known labels, put into
canonical signals without a page between, break that. Each is drawn as a few pages as well and read
back, so that a network can be asked for the same answer whatever the page; recordings of no class
of ours ask for nothing else. The other half of the patients is what protocol P4 judges.
"""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import zlib
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np

from runtime.labels import LABELS, LEADS
from runtime.preprocess import Preprocess
from runtime.trace import LeadTrace
from train.draw import LAYOUTS, draw_page
from train.draw.recording import Recording, RecordingFolder
from train.progress import bar
from train.reduced import JPEG_QUALITY, jpeg_bytes, shrunk
from train.tensors import signals_as

PAGES = 4
"""Pages drawn of each recording."""

SEEN_STYLES = ("report", "report-plain", "strip-wide", "strip-tall")
"""Of these pages: those that look like ecg5's own. P4 judges pages of the others."""

CAPTURES = ("clean", "clean", "scan")
"""Ways in, of which one is taken; a page is clean twice as often as it is scanned."""

SIZES = (1.0, 0.76, 0.58, 0.43)
"""Shares of the drawn size, of which one is taken."""

SINGLE = "single"
"""The layout of `LAYOUTS` that is no 12-lead page."""


def for_training(recording: Recording) -> bool:
    """Tell whether a recording's patient belongs to the half that networks may be fitted on."""
    return zlib.crc32(str(recording.findings["patient"]).encode()) % 2 == 0


def recording_signals(recording: Recording, preprocess: Preprocess) -> np.ndarray:
    """Return a recording's canonical signals, float32 [12, m] mV, without drawing a page."""
    nothing = np.empty(0, np.float32)
    leads = [
        LeadTrace(name, nothing, recording.lead(name), nothing, nothing, 0.0, recording.seconds)
        for name in LEADS
    ]
    return preprocess.signals(leads)


def write_recordings(
    folder: Path, preprocess: Preprocess, file: Path, processes: int = 2
) -> dict[str, int | str]:
    """Write the canonical signals of the training half, unless the file holds them already.

    Parameters
    ----------
    folder
        With signals.npz and manifest.csv.
    preprocess
        How signals are resampled.
    file
        Gets ``signals`` float32 [n, 12, m] mV, ``labels`` int64 [n] (-1: no class of ours),
        ``drawn`` float32 [PAGES, n, 12, m], the same read from drawn pages (NaN: misread), and
        ``key``, a hash.
    processes
        Pages drawn and read side by side; a recording takes about a second.

    Returns
    -------
    dict
        ``n`` recordings, ``other`` among them of no class of ours, ``sha256``.

    Raises
    ------
    NoInputError
        If the folder holds no recordings.
    """
    chosen = [r for r in RecordingFolder(folder) if for_training(r)]
    signals = np.stack([recording_signals(r, preprocess) for r in chosen])
    labels = np.array([LABELS.index(r.label) if r.label else -1 for r in chosen], dtype=np.int64)
    key = _key(signals, labels, preprocess)
    if not file.is_file() or read_key(file) != key:
        jobs = [(recording, i, preprocess) for i, recording in enumerate(chosen)]
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(processes, mp_context=context) as pool:
            read = list(bar(pool.map(_drawn, jobs, chunksize=2), "recordings", len(jobs)))
        drawn = np.stack(read, axis=1)
        temporary = file.with_name("recordings.tmp.npz")
        np.savez_compressed(
            temporary, signals=signals, labels=labels, drawn=drawn, key=np.array(key)
        )
        os.replace(temporary, file)
    return {"n": len(labels), "other": int((labels < 0).sum()), "sha256": key}


def _key(signals: np.ndarray, labels: np.ndarray, preprocess: Preprocess) -> str:
    """Return the hash that names what was read of these recordings, and how."""
    parts = [preprocess.to_manifest(), PAGES, SEEN_STYLES, CAPTURES, SIZES, JPEG_QUALITY]
    settings = json.dumps(parts, sort_keys=True).encode()
    return hashlib.sha256(signals.tobytes() + labels.tobytes() + settings).hexdigest()


def _drawn(job: tuple[Recording, int, Preprocess]) -> np.ndarray:
    """Draw one recording as PAGES pages and read them, float32 [PAGES, 12, m] mV."""
    recording, number, preprocess = job
    layouts = [layout for layout in LAYOUTS if layout != SINGLE]
    read = []
    for k in range(PAGES):
        rng = np.random.default_rng([number, k])
        style, layout, capture = (
            str(rng.choice(some)) for some in (SEEN_STYLES, layouts, CAPTURES)
        )
        page, _ = draw_page(recording, style, number * PAGES + k, layout=layout, capture=capture)
        smaller = shrunk(page.convert("RGB"), float(rng.choice(SIZES)))
        read.append(signals_as(layout, jpeg_bytes(smaller, JPEG_QUALITY), preprocess))
    return np.stack(read)


def read_key(file: Path) -> str:
    """Return the hash of what a file of signals holds: recordings.npz or reduced.npz."""
    with np.load(file, allow_pickle=False) as stored:
        return str(stored["key"])
