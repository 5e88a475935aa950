"""Who may ask: the token, and browsers that were sent here by another site's page."""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from runtime.serve.problems import Problem

if TYPE_CHECKING:
    from runtime.serve.settings import Settings

__all__ = ["check_origin", "check_token"]

_LOOPBACK_NAMES: Final = frozenset({"localhost", "127.0.0.1", "::1"})


def check_token(headers: Any, settings: Settings) -> None:
    """Compare the client's token in a time that tells nothing about it.

    Raises
    ------
    Problem
        401 if it is missing or wrong.
    """
    if settings.token is None:
        return
    kind, _, given = headers.get("authorization", "").partition(" ")
    right = hmac.compare_digest(given.strip().encode(), settings.token.encode())
    if not (right and kind.lower() == "bearer"):
        raise Problem(
            401,
            "this service needs its token",
            "send it as 'Authorization: Bearer TOKEN'; whoever started the service has it",
            {"WWW-Authenticate": 'Bearer realm="ecg-edge"'},
            close=True,
        )


def check_origin(headers: Any, settings: Settings) -> None:
    """Refuse requests that a page of another site makes a browser send.

    A site can point a name of its own at 127.0.0.1 and so read what a loopback service answers
    (DNS rebinding); the browser then sends that name as Host.

    Raises
    ------
    Problem
        421 for a foreign Host on a loopback service, 403 for a request of another site.
    """
    host = headers.get("host", "")
    name = _host_name(host)
    if not settings.remote and name not in _LOOPBACK_NAMES | {settings.host.lower()}:
        raise Problem(
            421,
            "this service answers to this machine's own names only",
            "open it as http://127.0.0.1 or http://localhost",
            close=True,
        )
    origin = headers.get("origin", "")
    elsewhere = bool(origin) and urlsplit(origin).netloc.lower() != host.lower()
    if elsewhere or headers.get("sec-fetch-site", "") in ("cross-site", "same-site"):
        raise Problem(
            403, "another site's page may not use this service", "open its own page", close=True
        )


def _host_name(host: str) -> str:
    """Return the name in a Host header, without port and brackets."""
    try:
        return (urlsplit(f"//{host}").hostname or "").lower()
    except ValueError:
        return ""
