"""Reads a data set (a folder a class, or a manifest.csv), verifies it and finds its duplicates."""

from __future__ import annotations

import csv
import hashlib
import io
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image

from runtime.errors import NoInputError, UsageError
from runtime.labels import LABELS
from train.duplicates import difference_hash, join_groups, near_pairs

MANIFEST = "manifest.csv"

SUFFIXES = frozenset((".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp", ".webp"))
"""What counts as a picture in a folder without a manifest."""

MAX_PIXELS = 60_000_000
"""Larger training pictures are refused; an A3 scan at 300 dpi has 17 million pixels."""

FOLDER_NAMES = {
    "abnormal heart beats": "abnormal_heartbeat",
    "abnormal heartbeats": "abnormal_heartbeat",
    "abnormal": "abnormal_heartbeat",
    "history of mi": "history_of_mi",
    "history": "history_of_mi",
    "pmi": "history_of_mi",
    "myocardial infarction patients": "myocardial_infarction",
    "mi": "myocardial_infarction",
    "normal person": "normal",
    "covid-19": "covid19",
    "covid": "covid19",
}
"""Other spellings of the class folders in the wild -> label id; compared in lower case."""


@dataclass(frozen=True)
class Sample:
    """One page of a data set.

    Attributes
    ----------
    path
        Path below the data folder, with forward slashes.
    label
        Label id.
    session_group, near_duplicate_group
        What must not be parted by a split; empty where the data set does not say.
    sha256
        Of the file's bytes.
    size
        Width and height, px.
    file_bytes
        Length of the file.
    dhash
        64-bit difference hash.
    layout, title, printed
        What the manifest says of the page, for the audit only; empty where it does not.
    original_size
        Width and height before re-encoding, px, for the audit only.
    """

    path: str
    label: str
    session_group: str = ""
    near_duplicate_group: str = ""
    sha256: str = ""
    size: tuple[int, int] = (0, 0)
    file_bytes: int = 0
    dhash: int = 0
    layout: str = ""
    title: str = ""
    printed: str = ""
    original_size: tuple[int, int] = (0, 0)


@dataclass(frozen=True)
class Dataset:
    """A verified data set.

    Attributes
    ----------
    root
        The data folder.
    samples
        Usable pages, in a fixed order; exact copies appear once.
    groups
        Group number of each sample: samples that share a session, a near-duplicate group or
        were found to look alike have the same one.
    unreadable
        (path, reason) of files left out because they are no picture.
    copies
        Tuples of paths whose bytes are identical; the first of each was kept.
    look_alikes
        Pairs of paths whose pictures are nearly the same.
    conflicts
        Tuples of paths that are copies or look-alikes and have different labels. Exact copies in
        conflict are all left out, since nobody knows which label is right.
    """

    root: Path
    samples: tuple[Sample, ...]
    groups: tuple[int, ...]
    unreadable: tuple[tuple[str, str], ...] = ()
    copies: tuple[tuple[str, ...], ...] = ()
    look_alikes: tuple[tuple[str, str], ...] = ()
    conflicts: tuple[tuple[str, ...], ...] = ()

    @property
    def labels(self) -> np.ndarray:
        """Class index of each sample, int64 [n]."""
        return np.array([LABELS.index(sample.label) for sample in self.samples])

    @property
    def sha256(self) -> str:
        """Hash of all paths, labels and file hashes: names exactly this data set."""
        digest = hashlib.sha256()
        for sample in self.samples:
            digest.update(f"{sample.path}\0{sample.label}\0{sample.sha256}\n".encode())
        return digest.hexdigest()

    def subset(self, indices: Sequence[int]) -> Dataset:
        """Return the data set of the given samples only, groups kept."""
        return replace(
            self,
            samples=tuple(self.samples[i] for i in indices),
            groups=tuple(self.groups[i] for i in indices),
        )


def label_of_folder(name: str) -> str:
    """Return the label id that a class folder stands for, or an empty string."""
    plain = name.strip().lower()
    if plain.replace("-", "_").replace(" ", "_") in LABELS:
        return plain.replace("-", "_").replace(" ", "_")
    for spelling, label in FOLDER_NAMES.items():
        if plain == spelling or plain.startswith(f"ecg images of {spelling}"):
            return label
    return ""


def list_samples(root: Path) -> tuple[Sample, ...]:
    """List the pages of a data folder, unverified.

    Raises
    ------
    NoInputError
        If the folder is missing or holds neither a manifest nor class folders.
    UsageError
        If the manifest lacks a column or names an unknown class.
    """
    if not root.is_dir():
        raise NoInputError(f"{root} is not a folder", "name the folder that holds the data set")
    manifest = root / MANIFEST
    samples = _from_manifest(manifest) if manifest.is_file() else _from_folders(root)
    if not samples:
        raise NoInputError(
            f"{root} holds no pages",
            f"put the pages into a folder a class ({', '.join(LABELS)}) or add {MANIFEST}",
        )
    return tuple(samples)


def _from_manifest(manifest: Path) -> list[Sample]:
    with manifest.open(newline="", encoding="utf-8-sig") as stream:
        reader = csv.DictReader(stream)
        missing = {"path", "class"} - set(reader.fieldnames or ())
        if missing:
            raise UsageError(
                f"{manifest} has no column {', '.join(sorted(missing))}",
                "the first line must name at least the columns path and class",
            )
        return [_from_row(row, manifest) for row in reader]


def _from_row(row: dict[str, str], manifest: Path) -> Sample:
    label = label_of_folder(row["class"])
    if not label:
        raise UsageError(
            f"{manifest}: unknown class {row['class']!r} of {row['path']}",
            f"use one of {', '.join(LABELS)}",
        )
    width, height = row.get("original_width") or "0", row.get("original_height") or "0"
    return Sample(
        path=row["path"],
        label=label,
        session_group=row.get("session_group") or "",
        near_duplicate_group=row.get("near_duplicate_group") or "",
        layout=row.get("layout") or "",
        title=row.get("title") or "",
        printed=row.get("printed_interpretation") or "",
        original_size=(int(width), int(height)),
    )


def _from_folders(root: Path) -> list[Sample]:
    samples: list[Sample] = []
    for folder in sorted(path for path in root.iterdir() if path.is_dir()):
        label = label_of_folder(folder.name)
        if not label:
            continue
        samples += [
            Sample(path=path.relative_to(root).as_posix(), label=label)
            for path in sorted(folder.rglob("*"))
            if path.suffix.lower() in SUFFIXES and path.is_file()
        ]
    return samples


def verify(root: Path, sample: Sample) -> Sample:
    """Read one file, check that it is a whole picture and measure it.

    Returns
    -------
    Sample
        With ``sha256``, ``size``, ``file_bytes`` and ``dhash`` filled in.

    Raises
    ------
    ValueError
        With the reason in plain words, if the file cannot be used.
    """
    try:
        data = (root / sample.path).read_bytes()
    except OSError as fault:
        raise ValueError(f"cannot be read: {fault.strerror}") from fault
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            image = Image.open(io.BytesIO(data))
            if image.width * image.height > MAX_PIXELS:
                raise ValueError(f"has {image.width} x {image.height} pixels, too many")
            grey = np.asarray(image.convert("L"))
    except ValueError:
        raise
    except Exception as fault:  # Pillow raises many kinds for broken files
        raise ValueError(f"is no readable picture ({type(fault).__name__})") from fault
    return replace(
        sample,
        sha256=hashlib.sha256(data).hexdigest(),
        size=(image.width, image.height),
        file_bytes=len(data),
        dhash=difference_hash(grey),
    )


def load(
    root: Path, progress: Callable[[Iterable[Sample]], Iterable[Sample]] = lambda items: items
) -> Dataset:
    """List, verify and de-duplicate a data set.

    Parameters
    ----------
    root
        Data folder.
    progress
        Wraps the loop over the files, e.g. to show a bar.

    Raises
    ------
    NoInputError
        If no file is usable.
    """
    verified: list[Sample] = []
    unreadable: list[tuple[str, str]] = []
    for sample in progress(list_samples(root)):
        try:
            verified.append(verify(root, sample))
        except ValueError as fault:
            unreadable.append((sample.path, str(fault)))
    if not verified:
        raise NoInputError(f"{root} holds no readable page", "check the files and their paths")
    samples, copies, conflicts = _without_copies(verified)
    pairs = near_pairs([sample.dhash for sample in samples], _pictures(root, samples))
    groups = join_groups(
        [
            [f"s{sample.session_group}"] * bool(sample.session_group)
            + [f"d{sample.near_duplicate_group}"] * bool(sample.near_duplicate_group)
            for sample in samples
        ],
        pairs,
    )
    for a, b in pairs:
        if samples[a].label != samples[b].label:
            conflicts.append((samples[a].path, samples[b].path))
    return Dataset(
        root=root,
        samples=tuple(samples),
        groups=tuple(groups),
        unreadable=tuple(unreadable),
        copies=tuple(copies),
        look_alikes=tuple((samples[a].path, samples[b].path) for a, b in pairs),
        conflicts=tuple(conflicts),
    )


def _without_copies(
    verified: list[Sample],
) -> tuple[list[Sample], list[tuple[str, ...]], list[tuple[str, ...]]]:
    """Keep one of each set of identical files; none where their labels differ."""
    by_hash: dict[str, list[Sample]] = {}
    for sample in verified:
        by_hash.setdefault(sample.sha256, []).append(sample)
    kept, copies, conflicts = [], [], []
    for same in by_hash.values():
        paths = tuple(sample.path for sample in same)
        if len(same) > 1:
            copies.append(paths)
        if len({sample.label for sample in same}) > 1:
            conflicts.append(paths)
        else:
            kept.append(same[0])
    return kept, copies, conflicts


def _pictures(root: Path, samples: Sequence[Sample]) -> Callable[[int], np.ndarray]:
    """Return a function that reads sample ``i`` as a small grey picture."""

    def read(index: int) -> np.ndarray:
        with Image.open(root / samples[index].path) as image:
            image.draft("L", (512, 512))
            return np.asarray(image.convert("L").resize((256, 256), Image.Resampling.BOX))

    return read
