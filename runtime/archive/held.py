"""What a destination already holds, in a few bytes a page, so that ten million fit in memory."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["KEY_BYTES", "Held", "HeldRows", "key_of"]

KEY_BYTES: Final = 16
"""128 bits of hash a name: among ten million, two alike have odds of 1 in 10^25."""

_RECENT: Final = 65_536
"""Names of this run that are kept in a set before they are merged into the sorted array."""


def key_of(source: str) -> bytes:
    """Return the key of a page file: a hash of its name, `KEY_BYTES` long."""
    return blake2b(source.encode("utf-8", "surrogatepass"), digest_size=KEY_BYTES).digest()


def _key_array(keys: Sequence[bytes]) -> NDArray[np.bytes_]:
    return np.frombuffer(b"".join(keys), dtype=f"S{KEY_BYTES}")


def stamp_hash(stamp: str) -> int:
    """Return 64 bits of hash of a stamp; 0 for an unknown one, which equals nothing."""
    if not stamp:
        return 0
    return int.from_bytes(blake2b(stamp.encode(), digest_size=8).digest(), "little") | 1


@dataclass(frozen=True, slots=True)
class HeldRows:
    """The keys of one part file, as read from the destination."""

    part: str
    keys: Sequence[bytes]
    stamps: Sequence[str]
    failed: Sequence[bool]
    """Whether the row's status is ``error``."""


class Held:
    """Finds out which part file holds the answer for a page file, and for which content.

    Parameters
    ----------
    parts : iterable of HeldRows
        The rows of each part file.
    """

    def __init__(self, parts: Iterable[HeldRows] = ()) -> None:
        names: list[str] = []
        keys: list[NDArray[np.bytes_]] = [np.empty(0, f"S{KEY_BYTES}")]
        stamps: list[NDArray[np.uint64]] = [np.empty(0, np.uint64)]
        failed: list[NDArray[np.bool_]] = [np.empty(0, np.bool_)]
        index: list[NDArray[np.int32]] = [np.empty(0, np.int32)]
        for rows in parts:
            keys.append(_key_array(rows.keys))
            stamps.append(np.array([stamp_hash(stamp) for stamp in rows.stamps], np.uint64))
            failed.append(np.array(rows.failed, np.bool_))
            index.append(np.full(len(rows.keys), len(names), np.int32))
            names.append(rows.part)
        self.parts = names
        every = np.concatenate(keys)
        order = np.argsort(every, kind="stable")
        self._keys = every[order]
        self._stamps = np.concatenate(stamps)[order]
        self._failed = np.concatenate(failed)[order]
        self._part = np.concatenate(index)[order]

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self._keys)

    def find(self, keys: Sequence[bytes]) -> NDArray[np.int64]:
        """Return the place of each key in the index, -1 where the destination lacks it."""
        wanted = _key_array(keys)
        if not len(self._keys):
            return np.full(len(wanted), -1, np.int64)
        place = np.minimum(np.searchsorted(self._keys, wanted), len(self._keys) - 1)
        return np.where(self._keys[place] == wanted, place, -1)

    def is_current(self, place: int, stamp: str) -> bool:
        """Tell whether the row at a place answers the content that the stamp stands for."""
        return bool(stamp) and int(self._stamps[place]) == stamp_hash(stamp)

    def is_failed(self, place: int) -> bool:
        """Tell whether the row at a place has the status ``error``."""
        return bool(self._failed[place])

    def part_of(self, place: int) -> str:
        """Return the part file that holds the row at a place."""
        return self.parts[int(self._part[place])]

    def surplus(self) -> dict[str, set[bytes]]:
        """Return, by part file, the keys that an earlier part file holds as well."""
        found: dict[str, set[bytes]] = {}
        same = self._keys[1:] == self._keys[:-1]
        # The sort is stable, so the first of a run of equal keys is in the earliest part file.
        for place in np.flatnonzero(same) + 1:
            first = int(np.searchsorted(self._keys, self._keys[place]))
            if self._part[place] != self._part[first]:
                key = bytes(self._keys[place]).ljust(KEY_BYTES, b"\0")
                found.setdefault(self.part_of(int(place)), set()).add(key)
        return found


class Seen:
    """Remembers the keys of this run, so that a name listed twice is answered once."""

    def __init__(self) -> None:
        self._old = np.empty(0, f"S{KEY_BYTES}")
        self._recent: set[bytes] = set()

    def is_new(self, key: bytes) -> bool:
        """Tell whether the key comes for the first time, and remember it."""
        if key in self._recent:
            return False
        if len(self._old):
            place = min(int(np.searchsorted(self._old, key)), len(self._old) - 1)
            if self._old[place] == key.rstrip(b"\0"):
                return False
        self._recent.add(key)
        if len(self._recent) >= _RECENT:
            self._merge()
        return True

    def _merge(self) -> None:
        recent = _key_array(sorted(self._recent))
        self._recent = set()
        self._old = np.sort(np.concatenate([self._old, recent]), kind="stable")
