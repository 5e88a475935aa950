"""SHA-256 checksums that wait for OpenSSL only where there is much to sum."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["sha256_hex"]

#: Bytes that a process sums without OpenSSL. Loading it takes about 3 ms and 4 MB of memory; the
#: interpreter's own sum takes about 4 ms more a megabyte. One page and the weights stay below.
LEAN_BYTES: Final = 1_500_000

_summed = 0


def sha256_hex(data: bytes) -> str:
    """Return the SHA-256 of `data`, 64 hexadecimal digits.

    Parameters
    ----------
    data : bytes
    """
    global _summed  # what was summed so far decides which of two equal ways is quicker
    _summed += len(data)
    lean = _lean() if _summed <= LEAN_BYTES else None
    if lean is None:
        from hashlib import sha256

        return sha256(data).hexdigest()
    return lean(data)


def _lean() -> Callable[[bytes], str] | None:
    """Return the interpreter's own sum, as the standard library's `random` takes it; or None."""
    try:
        own = import_module("_sha2" if sys.version_info >= (3, 12) else "_sha256")
    except ImportError:
        return None
    return lambda data: str(own.sha256(data).hexdigest())
