"""Stands in front of every route: origin, token, headers, counting, and a clean end of refusals."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import MutableMapping
from traceback import format_tb
from typing import TYPE_CHECKING, Any, Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException

from runtime.serve.auth import check_origin, check_token
from runtime.serve.problems import Problem

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from runtime.serve.metrics import Metrics
    from runtime.serve.settings import Settings

__all__ = ["SECURITY_HEADERS", "Shield"]

_log = logging.getLogger("ecg_edge.serve")

SECURITY_HEADERS: Final = {
    # Only what this service itself sends; pictures may also come from the page's own memory.
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self' blob: data:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "geolocation=(), microphone=(), payment=(), usb=()",
}
_OPEN: Final = frozenset({"/", "/healthz", "/readyz", "/openapi.json", "/favicon.ico"})
"""Asked for before a token can be typed, or by a supervisor; nothing of a page is in them."""

_DRAIN_S: Final = 2.0
_DRAIN_BYTES: Final = 16 * 2**20
"""Read and dropped before a refusal, so that a client that is still sending gets to read it."""
_BUSY_PAUSE_S: Final = 0.1
"""Wait before 429: clients that do not wait themselves would take the workers' processor."""


class Shield:
    """ASGI middleware around the whole service."""

    def __init__(self, app: ASGIApp, settings: Settings, metrics: Metrics) -> None:
        self._app = app
        self._settings = settings
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        exchange = _Exchange(scope, receive, send)
        try:
            self._check(scope)
            await self._app(scope, exchange.receive, exchange.send)
        except Problem as problem:
            await self._refuse(problem, exchange)
        except HTTPException as fault:  # no such path, or not by this method
            await self._refuse(_of_router(fault), exchange)
        except Exception as fault:
            _log.error("internal error: %s", type(fault).__name__)
            # Where, but not the message: it may hold the name of a file.
            _log.debug("%s", "".join(format_tb(fault.__traceback__)))
            mistake = Problem(500, "the service made a mistake", "send the page again", close=True)
            await self._refuse(mistake, exchange)
        finally:
            code = str(exchange.status or 499)
            self._metrics.requests.labels(_route(scope), _method(scope), code).inc()

    def _check(self, scope: Scope) -> None:
        headers = Headers(scope=scope)
        check_origin(headers, self._settings)
        path = scope["path"]
        if path not in _OPEN and not path.startswith("/static/"):
            check_token(headers, self._settings)

    async def _refuse(self, problem: Problem, exchange: _Exchange) -> None:
        if exchange.status is not None:
            return  # the head of another answer is out already; the server closes the connection
        if problem.status == 429:
            self._metrics.refused.inc()
            await asyncio.sleep(_BUSY_PAUSE_S)
        await exchange.drain()
        response = problem.response()
        await response(exchange.scope, exchange.receive, exchange.send)


class _Exchange:
    """One request and its response, with what was read and sent so far."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scope = scope
        self.status: int | None = None
        self._receive = receive
        self._send = send
        self._complete = False

    async def receive(self) -> Message:
        message = await self._receive()
        if message["type"] != "http.request" or not message.get("more_body", False):
            self._complete = True
        return message

    async def send(self, message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = MutableHeaders(scope=message)
            for name, value in SECURITY_HEADERS.items():
                headers.setdefault(name, value)
            headers.setdefault("Cache-Control", "no-store")
        await self._send(message)

    async def drain(self) -> None:
        """Read what is still coming, within bounds; a client that waits to be asked is not."""
        headers = Headers(scope=self.scope)
        has_body = "content-length" in headers or "transfer-encoding" in headers
        if self._complete or not has_body or "expect" in headers:
            return
        read = 0
        try:
            async with asyncio.timeout(_DRAIN_S):
                while not self._complete and read < _DRAIN_BYTES:
                    read += len((await self.receive()).get("body", b""))
        except TimeoutError:
            return


def _of_router(fault: HTTPException) -> Problem:
    return Problem(
        fault.status_code, fault.detail, "see /openapi.json", dict(fault.headers or {}), close=True
    )


def _route(scope: Scope) -> str:
    """Return the path as a metric's label, or one word for all that do not exist."""
    path = str(scope["path"])
    if path.startswith("/static/"):
        return "/static/"
    return path if path in _OPEN | {"/classify", "/info", "/metrics"} else "other"


def _method(scope: Scope) -> str:
    """Return the method, or one word for all that nobody should send: labels must stay few."""
    method = str(scope["method"])
    return method if method in ("GET", "HEAD", "POST") else "other"
