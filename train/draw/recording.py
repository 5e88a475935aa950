"""A 12-lead recording in millivolts, and the reader of a folder of real recordings."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import median_filter

from runtime.errors import NoInputError
from runtime.labels import LABELS, LEADS

__all__ = ["RATE_HZ", "Recording", "RecordingFolder", "subtract_running_median"]

RATE_HZ: Final = 500
"""Sampling rate of every recording here, in Hz (../shared/data/README.md)."""

_MEDIAN_SECONDS: Final = 1.2
"""Length of the running median, in s: longer than any wave of a beat, shorter than a breath."""

_MEDIAN_STRIDE: Final = 25
"""The median looks at every 25th sample (20 Hz): drift is slow, and this is 600 times cheaper."""


@dataclass(frozen=True)
class Recording:
    """Twelve leads of one heart, and what is known about them.

    Parameters
    ----------
    values : ndarray of float32, shape [12, n]
        Millivolts at 500 Hz, leads in the order of ``runtime.labels.LEADS``.
    source : str
        Where it comes from, for example ``"synthetic/17"`` or ``"ptbxl/00001"``.
    label : str or None
        One of ``runtime.labels.LABELS``; None where the class is not one of ours.
    altered_leads : tuple of str
        Leads that carry the finding; empty where it is not known or not local.
    findings : dict
        Further facts, for example rhythm, rate and territory of a synthetic heart.
    """

    values: NDArray[np.float32]
    source: str
    label: str | None = None
    altered_leads: tuple[str, ...] = ()
    findings: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse values of another shape: a page of them would be nonsense."""
        if self.values.ndim != 2 or self.values.shape[0] != len(LEADS):
            raise ValueError(f"a recording has the shape [12, n], not {list(self.values.shape)}")

    @property
    def seconds(self) -> float:
        """Length in s."""
        return self.values.shape[1] / RATE_HZ

    def lead(self, name: str) -> NDArray[np.float32]:
        """Return one lead by name, float32 [n], mV."""
        row: NDArray[np.float32] = self.values[LEADS.index(name)]
        return row


def subtract_running_median(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Take away slow drift, as ../shared/data/README.md asks for the real recordings.

    Parameters
    ----------
    values : ndarray of float32, shape [leads, n]
        Millivolts at 500 Hz.

    Returns
    -------
    ndarray of float32, shape [leads, n]
        The same without drift slower than about 1 s.
    """
    coarse = values[:, ::_MEDIAN_STRIDE]
    width = int(_MEDIAN_SECONDS * RATE_HZ / _MEDIAN_STRIDE) | 1
    drift = median_filter(coarse, size=(1, width), mode="nearest")
    samples = np.arange(values.shape[1])
    knots = samples[::_MEDIAN_STRIDE]
    slow = np.stack([np.interp(samples, knots, row) for row in drift])
    return np.asarray(values - slow, dtype=np.float32)


class RecordingFolder:
    """The real recordings of a folder with ``signals.npz`` and ``manifest.csv``.

    Parameters
    ----------
    folder : Path
        For example ../shared/data/signals; see its README for the columns.

    Raises
    ------
    NoInputError
        Where the folder lacks one of the two files, or they do not belong together.
    """

    def __init__(self, folder: Path) -> None:
        signals, manifest = folder / "signals.npz", folder / "manifest.csv"
        for needed in (signals, manifest):
            if not needed.is_file():
                raise NoInputError(
                    f"{needed} is missing", "name a folder with signals.npz and manifest.csv"
                )
        with np.load(signals, allow_pickle=False) as archive:
            self._microvolts: NDArray[np.int16] = archive["signals"]
        with manifest.open(newline="", encoding="utf-8") as text:
            self._rows = list(csv.DictReader(text))
        if len(self._rows) != len(self._microvolts):
            raise NoInputError(
                f"{manifest} has {len(self._rows)} rows for {len(self._microvolts)} recordings",
                "use a manifest with one row a recording",
            )

    def __len__(self) -> int:
        """Count the recordings."""
        return len(self._rows)

    def seconds(self, index: int) -> float:
        """Return how long a recording is, s, without its padding."""
        return int(self._rows[index]["n_valid"]) / RATE_HZ

    def __getitem__(self, index: int) -> Recording:
        """Read one recording in mV, drift taken away, without its padding."""
        row = self._rows[index]
        valid = int(row["n_valid"])
        millivolts = self._microvolts[index, :, :valid].astype(np.float32) / 1000.0
        return Recording(
            values=subtract_running_median(millivolts),
            source=f"{row['source']}/{row['record']}",
            label=row["class"] if row["class"] in LABELS else None,
            findings={"detail": row["detail"], "patient": row["patient"]},
        )

    def __iter__(self) -> Iterator[Recording]:
        """Go through all recordings in the order of the manifest."""
        return (self[index] for index in range(len(self)))
