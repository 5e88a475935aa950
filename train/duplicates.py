"""Finds pages that are nearly the same picture, and joins what a split must not part."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from PIL import Image

HASH_SIDE = 8
MAX_HASH_DISTANCE = 6
"""Bits of 64 in which the hashes of two candidates may differ; the pictures then decide."""

MIN_CORRELATION = 0.97
"""Correlation of two pages at 256 x 256 px from which on they count as the same picture. ECG
pages of one cart share their grid and header, so hashes alone would pair strangers."""


def difference_hash(grey: np.ndarray) -> int:
    """Return the 64-bit difference hash of a grey picture [h, w] uint8.

    Each bit says whether a cell of a 9 x 8 thumbnail is brighter than its right neighbour
    (Krawetz 2013, "Kind of like that").
    """
    small = Image.fromarray(grey).resize((HASH_SIDE + 1, HASH_SIDE), Image.Resampling.BOX)
    cells = np.asarray(small, dtype=np.int16)
    bits = (cells[:, :-1] > cells[:, 1:]).ravel()
    return int.from_bytes(np.packbits(bits).tobytes(), "big")


def near_pairs(
    hashes: Sequence[int], picture: Callable[[int], np.ndarray]
) -> list[tuple[int, int]]:
    """Return the pairs of pictures that look alike.

    Parameters
    ----------
    hashes
        Difference hash of each picture.
    picture
        Reads picture ``i`` as a grey array of one common shape; called for candidates only.
    """
    candidates = _close_hashes(hashes)
    cache = {i: _standardised(picture(i)) for i in sorted({i for pair in candidates for i in pair})}
    return [(a, b) for a, b in candidates if float((cache[a] * cache[b]).mean()) >= MIN_CORRELATION]


def _close_hashes(hashes: Sequence[int]) -> list[tuple[int, int]]:
    bits = np.unpackbits(
        np.array(hashes, dtype=">u8").view(np.uint8).reshape(len(hashes), -1), axis=1
    ).astype(np.float32)
    ones = bits.sum(axis=1)
    distance = ones[:, None] + ones[None, :] - 2 * bits @ bits.T
    first, second = np.nonzero(np.triu(distance <= MAX_HASH_DISTANCE, k=1))
    return list(zip(first.tolist(), second.tolist(), strict=True))


def _standardised(grey: np.ndarray) -> np.ndarray:
    values = grey.astype(np.float32)
    return (values - values.mean()) / max(float(values.std()), 1e-6)


def join_groups(keys: Sequence[Sequence[str]], pairs: Sequence[tuple[int, int]]) -> list[int]:
    """Number the groups of samples that share a key or form a pair (union-find).

    Parameters
    ----------
    keys
        For each sample the keys it carries, e.g. its session and near-duplicate group.
    pairs
        Further pairs of samples that belong together.

    Returns
    -------
    list of int
        Group number of each sample, counted from 0 in order of appearance.
    """
    parent = list(range(len(keys)))

    def find(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    first_with: dict[str, int] = {}
    for i, own in enumerate(keys):
        for key in own:
            parent[find(i)] = find(first_with.setdefault(key, i))
    for a, b in pairs:
        parent[find(a)] = find(b)
    numbers: dict[int, int] = {}
    return [numbers.setdefault(find(i), len(numbers)) for i in range(len(keys))]
