"""Hears what libtiff would print on stderr, so that a spoilt TIFF is an error and not a picture.

Where a fax line or a packed strip is damaged, libtiff complains on stderr, Pillow carries on, and
the page comes out with rows of invented ink.
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

__all__ = ["DamagedTiffError", "heed_libtiff"]

#: ``typedef void (*TIFFErrorHandler)(const char *module, const char *format, va_list arguments)``
#: (libtiff, tiffio.h). The list of arguments is not looked at.
_Handler = ctypes.CFUNCTYPE(None, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_void_p)


class _Heard(threading.local):
    count = 0


_heard = _Heard()


class DamagedTiffError(Exception):
    """libtiff found the packed data of a page damaged."""


def _count(_module: bytes, _format: bytes, _arguments: int) -> None:
    _heard.count += 1


@cache
def _listen() -> Callable[..., Any] | None:
    """Take over libtiff's error handler for this process; None where libtiff cannot be reached."""
    from PIL import Image

    try:
        # Symbols of the libraries that Pillow is linked with are found through its own.
        library = ctypes.CDLL(Image.core.__file__)
        handler = _Handler(_count)
        library.TIFFSetErrorHandler.argtypes = [ctypes.c_void_p]
        library.TIFFSetErrorHandler.restype = ctypes.c_void_p
        library.TIFFSetErrorHandler(ctypes.cast(handler, ctypes.c_void_p))
    except (OSError, AttributeError):
        return None
    return handler  # must outlive every call of libtiff


@contextmanager
def heed_libtiff() -> Iterator[None]:
    """Run a block that decodes a TIFF page; complain where libtiff complained within it.

    Raises
    ------
    DamagedTiffError
        If libtiff reported an error in this thread, though the block itself went well.
    """
    _listen()
    _heard.count = 0
    yield
    if _heard.count:
        raise DamagedTiffError
