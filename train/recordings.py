"""Real recordings of other hospitals beside the pages: half of the patients, never all.

The carts of ecg5 name the class (COVID-19 pages come from other devices), so a network that
sees nothing else takes every strange cart for COVID-19. Recordings with known labels, put into
canonical signals without a page between, break that. The other half of the patients is what
protocol P4 judges.
"""

from __future__ import annotations

import hashlib
import os
import zlib
from pathlib import Path

import numpy as np

from runtime.labels import LABELS, LEADS
from runtime.preprocess import Preprocess
from runtime.trace import LeadTrace
from train.draw.recording import Recording, RecordingFolder


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


def write_recordings(folder: Path, preprocess: Preprocess, file: Path) -> int:
    """Write the canonical signals of the training half; return how many recordings these are.

    Parameters
    ----------
    folder
        With signals.npz and manifest.csv; recordings of no class of ours are left out.
    preprocess
        How signals are resampled.
    file
        Gets ``signals`` float32 [n, 12, m] mV, ``labels`` int64 [n] and ``key``, a hash of both.

    Raises
    ------
    NoInputError
        If the folder holds no recordings.
    """
    chosen = [r for r in RecordingFolder(folder) if r.label is not None and for_training(r)]
    signals = np.stack([recording_signals(r, preprocess) for r in chosen])
    labels = np.array([LABELS.index(str(r.label)) for r in chosen], dtype=np.int64)
    key = hashlib.sha256(signals.tobytes() + labels.tobytes()).hexdigest()
    temporary = file.with_name("recordings.tmp.npz")
    np.savez_compressed(temporary, signals=signals, labels=labels, key=np.array(key))
    os.replace(temporary, file)
    return len(chosen)


def read_key(file: Path) -> str:
    """Return the hash of what a file of signals holds: recordings.npz or reduced.npz."""
    with np.load(file, allow_pickle=False) as stored:
        return str(stored["key"])
