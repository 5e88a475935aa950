"""`serve`: the HTTP service and the page for a tablet beside the bed."""

from __future__ import annotations

import argparse

from runtime.cli import add_model_arguments, positive
from runtime.errors import MissingExtraError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument(
        "--host",
        metavar="ADDRESS",
        help="address to listen on (default 127.0.0.1; every address with --allow-remote)",
    )
    parser.add_argument(
        "--port", type=_port, default=8080, metavar="N", help="port (default 8080; 0 = any free)"
    )
    add_model_arguments(parser)
    parser.add_argument(
        "--workers",
        type=positive,
        metavar="N",
        help="processes that answer side by side (default: processors less one, at most 4)",
    )
    parser.add_argument(
        "--waiting",
        type=int,
        default=1,
        metavar="N",
        help="requests that may wait for a worker; more are told to come again (default 1)",
    )
    parser.add_argument(
        "--max-body-mb", type=positive, default=32, metavar="MB", help="largest upload (default 32)"
    )
    parser.add_argument(
        "--timeout",
        type=positive,
        default=30,
        metavar="S",
        help="seconds that answering one upload may take (default 30)",
    )
    remote = parser.add_argument_group("other machines")
    remote.add_argument(
        "--allow-remote",
        action="store_true",
        help="listen beyond this machine; needs a token, and TLS is recommended",
    )
    remote.add_argument(
        "--token-file",
        metavar="FILE",
        help="file with the token that clients must send (or set ECG_EDGE_TOKEN)",
    )
    remote.add_argument("--certfile", metavar="FILE", help="TLS certificate, PEM")
    remote.add_argument("--keyfile", metavar="FILE", help="TLS private key, PEM")
    parser.add_argument(
        "--audit-log", metavar="FILE", help="append one JSON line an answer; no names in it"
    )


def run(args: argparse.Namespace) -> int:
    """Serve until SIGTERM or SIGINT; requests in hand are finished first."""
    try:
        import prometheus_client  # noqa: F401
        import python_multipart  # noqa: F401
        import starlette  # noqa: F401
        import uvicorn  # noqa: F401
    except ModuleNotFoundError as fault:
        raise MissingExtraError("serve", f"the HTTP service ({fault.name})") from fault
    from runtime.bundle import load_bundle
    from runtime.serve.server import serve
    from runtime.serve.settings import settings_from

    return serve(load_bundle(args.model), settings_from(args))


def _port(text: str) -> int:
    value = int(text)
    if not 0 <= value <= 65535:
        raise argparse.ArgumentTypeError(f"{text} is no port (0 to 65535)")
    return value
