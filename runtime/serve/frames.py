"""Messages between the service and its workers: a JSON head and bytes, with their lengths."""

from __future__ import annotations

import json
import struct
from typing import TYPE_CHECKING, Any, BinaryIO

if TYPE_CHECKING:
    import asyncio

__all__ = ["pack", "read_frame", "receive_frame"]

_LENGTHS = struct.Struct(">IQ")


def pack(head: dict[str, Any], body: bytes | bytearray = b"") -> bytes:
    """Return one message, but for the body, which follows as it is."""
    text = json.dumps(head).encode()
    return _LENGTHS.pack(len(text), len(body)) + text


def read_frame(stream: BinaryIO) -> tuple[dict[str, Any], bytes] | None:
    """Read one message from a blocking stream; None at its end."""
    lengths = stream.read(_LENGTHS.size)
    if len(lengths) < _LENGTHS.size:
        return None
    head, body = _LENGTHS.unpack(lengths)
    return json.loads(stream.read(head)), stream.read(body)


async def receive_frame(stream: asyncio.StreamReader) -> tuple[dict[str, Any], bytes]:
    """Read one message.

    Raises
    ------
    asyncio.IncompleteReadError
        If the stream ends.
    """
    head, body = _LENGTHS.unpack(await stream.readexactly(_LENGTHS.size))
    return json.loads(await stream.readexactly(head)), await stream.readexactly(body)
