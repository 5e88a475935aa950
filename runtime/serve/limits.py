"""Bounds of the service: bodies in bytes and time, memory of all of them, requests at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

from runtime.serve.problems import Problem

if TYPE_CHECKING:
    from runtime.serve.settings import Settings

__all__ = ["RETRY_AFTER_S", "Gate", "Intake", "Receipt", "busy"]

RETRY_AFTER_S: Final = 1
"""What ``Retry-After`` says: some pages later."""

Receive = Callable[[], Awaitable[Any]]


def busy() -> Problem:
    """Return the refusal of a request that is one too many."""
    return Problem(
        429,
        "the service is busy with other pages",
        "send the page again in a moment",
        {"Retry-After": str(RETRY_AFTER_S)},
    )


@dataclass(slots=True)
class Gate:
    """Lets a fixed number in at once and refuses the others.

    Attributes
    ----------
    places : int
        How many may be in.
    taken : int
        How many are.
    """

    places: int
    taken: int = 0

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Hold a place.

        Raises
        ------
        Problem
            429 if none is free.
        """
        if self.taken >= self.places:
            raise busy()
        self.taken += 1
        try:
            yield
        finally:
            self.taken -= 1


@dataclass(slots=True)
class Intake:
    """Receives bodies, counting what really comes: a stated length is not trusted.

    Attributes
    ----------
    settings : Settings
    uploads : Gate
        Bodies in memory, whole or in part.
    in_hand : int
        Bytes of all bodies in memory.
    """

    settings: Settings
    uploads: Gate = field(init=False)
    in_hand: int = 0

    def __post_init__(self) -> None:
        self.uploads = Gate(self.settings.max_uploads)

    def check_stated_length(self, headers: Any) -> None:
        """Refuse a body that says it is too large before any of it is read.

        Raises
        ------
        Problem
            413.
        """
        stated = headers.get("content-length", "")
        if stated.isdigit() and int(stated) > self.settings.max_body_bytes:
            raise self.too_large()

    @contextmanager
    def opened(self) -> Iterator[Receipt]:
        """Receive one body; its bytes count as in memory until the block ends.

        Raises
        ------
        Problem
            429 if too many bodies are in memory already.
        """
        with self.uploads.entered():
            receipt = Receipt(self)
            try:
                yield receipt
            finally:
                self.in_hand -= receipt.received

    def too_large(self) -> Problem:
        """Return the refusal of a body above the limit."""
        limit = self.settings.max_body_bytes / 2**20
        return Problem(
            413,
            f"the upload is larger than {limit:g} MB",
            "save the page at 300 dpi or less, as JPEG",
            close=True,
        )


@dataclass(slots=True)
class Receipt:
    """One body on its way in.

    Attributes
    ----------
    intake : Intake
    received : int
        Bytes so far.
    """

    intake: Intake
    received: int = 0

    async def chunks(self, receive: Receive) -> AsyncIterator[bytes]:
        """Yield the body as it comes.

        Raises
        ------
        Problem
            408 if it comes too slowly, 413 if it is too large, 429 if too many bytes are in
            memory, 400 if the client goes away.
        """
        settings, begun = self.intake.settings, monotonic()
        while True:
            allowed = min(
                settings.body_grace_s + self.received / settings.body_rate, settings.body_timeout_s
            )
            try:
                async with asyncio.timeout(begun + allowed - monotonic()):
                    message = await receive()
            except TimeoutError:
                raise Problem(
                    408, "the page came too slowly", "send it over a better connection", close=True
                ) from None
            if message["type"] != "http.request":
                raise Problem(400, "the connection ended before the page was complete", close=True)
            chunk = message.get("body", b"")
            self._count(len(chunk))
            if chunk:
                yield chunk
            if not message.get("more_body", False):
                return

    def _count(self, size: int) -> None:
        intake = self.intake
        if self.received + size > intake.settings.max_body_bytes:
            raise intake.too_large()
        if intake.in_hand + size > intake.settings.max_bytes_in_hand:
            raise busy()
        self.received += size
        intake.in_hand += size
