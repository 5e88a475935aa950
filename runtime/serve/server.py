"""Runs the service until a signal comes; requests in hand are finished."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import sys
from collections.abc import Callable
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import uvicorn

from runtime.errors import ExitCode, UsageError
from runtime.serve.app import Service
from runtime.serve.pool import WorkerPool
from runtime.serve.protocol import bounded_protocol

if TYPE_CHECKING:
    from runtime.bundle import Bundle
    from runtime.serve.settings import Settings

__all__ = ["serve", "uvicorn_config"]

_log = logging.getLogger("ecg_edge.serve")

_BACKLOG = 128
"""Connections that the system holds until they are taken."""


def serve(bundle: Bundle, settings: Settings) -> int:
    """Serve until SIGTERM or SIGINT.

    Raises
    ------
    UsageError
        If the address cannot be listened on.
    BundleError, MissingExtraError
        If the workers cannot load the bundle.
    OutputError
        If the audit log cannot be written.
    """
    with ExitStack() as stack:
        listening = stack.enter_context(_listen(settings))
        record = _audit(settings, stack)
        asyncio.run(_serve(bundle, settings, listening, record))
    return int(ExitCode.OK)


async def _serve(
    bundle: Bundle,
    settings: Settings,
    listening: socket.socket,
    record: Callable[[dict[str, Any]], None] | None,
) -> None:
    pool = await WorkerPool.start(bundle.directory, settings)
    try:
        service = Service(bundle, settings, pool, record)
        server = _Server(uvicorn_config(service, settings), service)
        # uvicorn finishes what is in hand and then sends itself the signal once more; that one
        # must not end the process as if nobody had listened.
        signal.signal(signal.SIGTERM, lambda *_: None)
        signal.signal(signal.SIGINT, lambda *_: None)
        _announce(settings, listening)
        await server.serve(sockets=[listening])
    finally:
        await pool.close()


class _Server(uvicorn.Server):
    """Tells the service when a signal came, so that it says it is no longer ready."""

    def __init__(self, config: uvicorn.Config, service: Service) -> None:
        super().__init__(config)
        self._service = service

    def handle_exit(self, sig: int, frame: Any) -> None:
        self._service.stopping = True
        super().handle_exit(sig, frame)


def uvicorn_config(service: Service, settings: Settings) -> uvicorn.Config:
    """Return how uvicorn runs the service."""
    return uvicorn.Config(
        service,
        http=bounded_protocol(settings),
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=int(settings.header_timeout_s),
        timeout_graceful_shutdown=int(2 * settings.answer_timeout_s + 5),
        ssl_certfile=settings.certfile,
        ssl_keyfile=settings.keyfile,
        backlog=_BACKLOG,
    )


def _listen(settings: Settings) -> socket.socket:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((settings.host, settings.port))
        listening.listen(_BACKLOG)
    except OSError as fault:
        listening.close()
        raise UsageError(
            f"cannot listen on {settings.host} port {settings.port} ({fault.strerror or fault})",
            "choose another --port or --host, or end what listens there",
        ) from fault
    return listening


def _audit(settings: Settings, stack: ExitStack) -> Callable[[dict[str, Any]], None] | None:
    if settings.audit_log is None:
        return None
    from runtime.audit_log import AuditLog

    log = stack.enter_context(AuditLog(settings.audit_log, "serve"))

    def record(answer: dict[str, Any]) -> None:
        try:
            log.write(answer)
        except OSError as fault:
            # The answer is worth more than its line: a full disk must not silence the device.
            _log.error("the audit log cannot be written (%s)", fault.strerror)

    return record


def _announce(settings: Settings, listening: socket.socket) -> None:
    """Say where the service is, and what is unsafe about it."""
    host, port = listening.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    scheme = "https" if settings.certfile else "http"
    print(f"ecg-edge: serving on {scheme}://{shown}:{port}/", file=sys.stderr, flush=True)
    if settings.remote and settings.certfile is None:
        _log.warning(
            "other machines may connect and pages travel unencrypted; "
            "name --certfile and --keyfile, or put a TLS proxy in front"
        )
