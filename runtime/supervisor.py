"""What a program that runs for months owes its supervisor: orderly ends and signs of life."""

from __future__ import annotations

import os
import select
import signal
import socket
from contextlib import suppress
from types import FrameType, TracebackType
from typing import Any, Final

__all__ = ["StopSignal", "notify"]

_NOTIFY_S: Final = 0.1
"""Seconds to wait for the supervisor's queue, which takes some ten messages."""
_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)


class StopSignal:
    """Turns SIGTERM and SIGINT into a wish, so that what is in hand is finished first.

    A context manager; inside it the signals interrupt nothing but `wait`.
    """

    def __init__(self) -> None:
        self.received: signal.Signals | None = None
        self._former: dict[signal.Signals, Any] = {}
        self._read = self._write = -1

    def wait(self, seconds: float) -> None:
        """Rest, or return at once when a signal comes or came."""
        if self.received is None and seconds > 0:
            select.select([self._read], [], [], seconds)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self.received = signal.Signals(number)
        with suppress(OSError):
            os.write(self._write, b".")

    def __enter__(self) -> StopSignal:
        self._read, self._write = os.pipe()
        os.set_blocking(self._write, False)
        self._former = {number: signal.signal(number, self._on_signal) for number in _SIGNALS}
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, former in self._former.items():
            signal.signal(number, former)
        os.close(self._read)
        os.close(self._write)


def notify(*messages: str) -> None:
    """Tell systemd how the service is, for example ``"READY=1"``; nothing happens without it.

    Protocol: sd_notify(3), one datagram to the socket that ``NOTIFY_SOCKET`` names.
    """
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        # A supervisor that does not listen must not stop the service.
        channel.settimeout(_NOTIFY_S)
        channel.connect(address)
        channel.sendall("\n".join(messages).encode())
