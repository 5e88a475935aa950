"""uvicorn's HTTP/1.1 protocol with bounds that it lacks, against slow and deaf clients."""

from __future__ import annotations

import asyncio

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from runtime.serve.settings import Settings

__all__ = ["bounded_protocol"]

_FULL = (
    b"HTTP/1.1 429 Too Many Requests\r\nRetry-After: 2\r\nContent-Length: 0\r\n"
    b"Connection: close\r\n\r\n"
)


def bounded_protocol(settings: Settings) -> type[H11Protocol]:
    """Return a protocol class for `uvicorn.Config(http=...)` with a service's bounds."""
    # A whole exchange: the body, waiting for a worker, the answer, and reading it.
    lifetime_s = settings.body_timeout_s + 2 * settings.answer_timeout_s + 30.0

    class BoundedProtocol(H11Protocol):
        """One connection."""

        _timer: asyncio.TimerHandle | None = None
        _in_request = False

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            if len(self.connections) > settings.max_connections:
                transport.write(_FULL)
                transport.close()
                return
            self._wait(settings.header_timeout_s)

        def connection_lost(self, exc: Exception | None) -> None:
            self._wait(None)
            super().connection_lost(exc)

        def handle_events(self) -> None:
            super().handle_events()
            begun = self.conn.their_state is not h11.IDLE
            if begun != self._in_request:
                self._in_request = begun
                # The head is there: now the body and the answer have their own, longer time.
                # Otherwise the next head has begun to come, or is awaited.
                self._wait(lifetime_s if begun else settings.header_timeout_s)

        def on_response_complete(self) -> None:
            self._in_request = False
            self._wait(settings.header_timeout_s)
            super().on_response_complete()

        def timeout_keep_alive_handler(self) -> None:
            self._end()

        def _wait(self, seconds: float | None) -> None:
            """End the connection after some seconds unless this is called again before."""
            if self._timer is not None:
                self._timer.cancel()
            self._timer = None if seconds is None else self.loop.call_later(seconds, self._end)

        def _end(self) -> None:
            # abort, not close: closing waits for a client that may never read what is buffered.
            self.transport.abort()

    return BoundedProtocol
