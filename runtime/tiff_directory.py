"""Walks the directories of a TIFF before Pillow does: counts its pages and judges their tags.

Pillow copies the data of every tag of every page it passes, and turns numbers into Python objects;
directories that point at the same megabytes again and again would cost minutes and gigabytes.
"""

from __future__ import annotations

import struct

from runtime.errors import PageError

__all__ = ["count_pages"]

#: Bytes of one value, by type (TIFF 6.0, section 2, and the 8-byte types of BigTIFF).
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}
_SIZES |= {16: 8, 17: 8, 18: 8}
#: Types that stay bytes; the others become Python objects of some 30 bytes each.
_BYTES = (1, 2, 6, 7)
#: Numbers in one tag; a page of 35,000 lines in strips of one line has as many offsets.
MAX_NUMBERS = 200_000
#: Tags of one directory; real ones have 10 to 60.
MAX_TAGS = 1000


def count_pages(data: bytes, most: int) -> int:
    """Count the pages of a TIFF.

    Parameters
    ----------
    data : bytes
        The whole file, with a TIFF or BigTIFF signature.
    most : int
        Pages that are accepted.

    Returns
    -------
    int
        Directories that can be reached; a chain that bites its tail is counted once round.

    Raises
    ------
    PageError
        If there are more pages than `most`, or their tags are beyond all measure.
    """
    order = "<" if data.startswith(b"II") else ">"
    big = struct.unpack_from(order + "H", data, 2)[0] == 43
    word, head, entry = ("Q", "Q", "HHQ") if big else ("I", "H", "HHI")
    seen: set[int] = set()
    room = 2 * len(data) + 2**20  # tags of honest files share hardly any bytes
    try:
        (place,) = struct.unpack_from(order + word, data, 8 if big else 4)
        while place and place not in seen:
            seen.add(place)
            if len(seen) > most:
                raise PageError(
                    f"the file has more than {most} pages", "split it into smaller files"
                )
            (tags,) = struct.unpack_from(order + head, data, place)
            if tags > MAX_TAGS:
                raise PageError("the TIFF is damaged", "export or scan it again")
            step = struct.calcsize(order + entry) + struct.calcsize(word)
            place += struct.calcsize(order + head)
            for _ in range(tags):
                _, kind, count = struct.unpack_from(order + entry, data, place)
                room -= count * _SIZES.get(kind, 0)
                if room < 0 or (kind not in _BYTES and count > MAX_NUMBERS):
                    raise PageError("the tags of the TIFF are damaged", "export or scan it again")
                place += step
            (place,) = struct.unpack_from(order + word, data, place)
    except (struct.error, OverflowError):  # the chain leads out of the file: read what was reached
        return max(1, len(seen))
    return max(1, len(seen))
