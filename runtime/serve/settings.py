"""What the service may do and how much of it: checked once, before anything listens."""

from __future__ import annotations

import ipaddress
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from runtime.errors import UsageError

if TYPE_CHECKING:
    import argparse

__all__ = ["TOKEN_VARIABLE", "Settings", "settings_from"]

TOKEN_VARIABLE: Final = "ECG_EDGE_TOKEN"
MIN_TOKEN: Final = 16
"""Characters; shorter ones can be guessed over a network."""
_MAX_TOKEN: Final = 4096
_HOW_TO_MAKE: Final = (
    "make one with: python -c 'import secrets; print(secrets.token_urlsafe())' and name its file "
    f"with --token-file, or set {TOKEN_VARIABLE}"
)


@dataclass(frozen=True, slots=True)
class Settings:
    """How the service runs.

    Attributes
    ----------
    host, port : str, int
        Where it listens.
    engine, threads : str, int
        Passed to the classifier of each worker.
    workers, waiting : int
        Answering processes, and requests that may wait for one.
    max_body_bytes : int
        Largest body, counted as it arrives.
    answer_timeout_s : float
        Longest time for answering one upload; its worker is ended after it.
    token : str or None
        What clients must send, ``Authorization: Bearer ...``; None asks for none.
    remote : bool
        Whether other machines may connect; the Host header is only checked where they may not.
    certfile, keyfile : str or None
        TLS certificate and key.
    audit_log : str or None
        Where answers are recorded, without names.
    header_timeout_s : float
        Longest time for the head of a request, and for a connection to stay idle.
    body_grace_s, body_rate, body_timeout_s : float
        A body must have come at `body_rate` bytes a second after a grace of `body_grace_s`
        seconds, and in `body_timeout_s` seconds as a whole.
    max_uploads, max_connections : int
        Bodies being received at once; open connections.
    max_pages : int
        Pages of one upload.
    """

    host: str = "127.0.0.1"
    port: int = 8080
    engine: str = "auto"
    threads: int = 1
    workers: int = 1
    waiting: int = 1
    max_body_bytes: int = 32 * 2**20
    answer_timeout_s: float = 30.0
    token: str | None = None
    remote: bool = False
    certfile: str | None = None
    keyfile: str | None = None
    audit_log: str | None = None
    header_timeout_s: float = 10.0
    body_grace_s: float = 10.0
    body_rate: float = 16_000.0
    body_timeout_s: float = 120.0
    max_uploads: int = 96
    max_connections: int = 256
    max_pages: int = 20

    @property
    def max_bytes_in_hand(self) -> int:
        """Bytes of all bodies that may be in memory at once."""
        return self.max_body_bytes * (self.workers + self.waiting + 2)


def settings_from(args: argparse.Namespace) -> Settings:
    """Check the arguments of `serve`.

    Raises
    ------
    UsageError
        If it would listen beyond this machine without being told to, or without a token; if the
        token is too short; if only one of certificate and key is named, or one cannot be read.
    """
    host = args.host or ("0.0.0.0" if args.allow_remote else "127.0.0.1")
    token = _token(args.token_file)
    if not _is_loopback(host) and not args.allow_remote:
        raise UsageError(
            f"{host} can be reached from other machines", "add --allow-remote and a token"
        )
    if args.allow_remote and token is None:
        raise UsageError("--allow-remote needs a token", _HOW_TO_MAKE)
    if args.waiting < 0:
        raise UsageError("--waiting is below 0", "give 0 or more")
    _check_tls(args.certfile, args.keyfile)
    return Settings(
        host=host,
        port=args.port,
        engine=args.engine,
        threads=args.threads,
        workers=args.workers or max(1, min(4, (os.cpu_count() or 1) - 1)),
        waiting=args.waiting,
        max_body_bytes=args.max_body_mb * 2**20,
        answer_timeout_s=float(args.timeout),
        token=token,
        remote=args.allow_remote,
        certfile=args.certfile,
        keyfile=args.keyfile,
        audit_log=args.audit_log,
    )


def _is_loopback(host: str) -> bool:
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _token(path: str | None) -> str | None:
    """Return the token from its file or the environment; the file wins."""
    if path is not None:
        try:
            with Path(path).open(encoding="utf-8") as file:
                token = file.read(_MAX_TOKEN + 1).strip()
        except (OSError, ValueError) as fault:
            reason = getattr(fault, "strerror", None) or "not text"
            raise UsageError(f"{path}: the token cannot be read ({reason})", _HOW_TO_MAKE) from None
    else:
        token = os.environ.get(TOKEN_VARIABLE, "").strip()
        if not token:
            return None
    if not MIN_TOKEN <= len(token) <= _MAX_TOKEN or not (token.isascii() and token.isprintable()):
        raise UsageError(
            f"the token must have {MIN_TOKEN} or more letters, figures and marks on one line",
            _HOW_TO_MAKE,
        )
    return token


def _check_tls(certfile: str | None, keyfile: str | None) -> None:
    if keyfile is not None and certfile is None:
        raise UsageError("--keyfile needs --certfile", "name both")
    for path in (certfile, keyfile):
        if path is not None and not os.access(path, os.R_OK):
            raise UsageError(f"{path}: cannot be read", "check its name and permissions")
