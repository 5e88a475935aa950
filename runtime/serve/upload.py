"""Takes the page out of a request: a raw body, or the part `file` of a form, in memory only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from python_multipart.exceptions import MultipartParseError
from python_multipart.multipart import MultipartParser, parse_options_header

from runtime.serve.problems import Problem

if TYPE_CHECKING:
    from starlette.requests import Request

    from runtime.serve.limits import Receipt

__all__ = ["RAW_TYPES", "UNNAMED", "Upload", "received"]

UNNAMED: Final = "upload"
"""What records show as source where the client gives no name."""
RAW_TYPES: Final = ("application/pdf", "application/dicom", "application/octet-stream")
"""Types of raw bodies besides ``image/...``."""
_FIELD: Final = "file"
_MAX_PARTS: Final = 16
_MAX_NAME: Final = 200


@dataclass(frozen=True, slots=True)
class Upload:
    """One uploaded file and the name that its records show."""

    body: bytearray
    name: str


async def received(request: Request, receipt: Receipt) -> Upload:
    """Receive a request's page.

    Raises
    ------
    Problem
        415 for a type that is no page, 400 for a broken form or one without the part ``file``;
        and see `Receipt.chunks`.
    """
    kind, options = _content_type(request)
    if kind == "multipart/form-data":
        return await _from_form(request, receipt, options)
    body = bytearray()
    async for chunk in receipt.chunks(request.receive):
        body += chunk
    return Upload(body, UNNAMED)


def _content_type(request: Request) -> tuple[str, dict[bytes, bytes]]:
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise Problem(415, "compressed bodies are not taken", "send the file as it is", close=True)
    stated = request.headers.get("content-type", "application/octet-stream")
    raw, options = parse_options_header(stated)
    kind = raw.decode("latin-1").strip().lower()
    if kind == "multipart/form-data" or kind in RAW_TYPES:
        return kind, options
    if kind.startswith("image/") and len(kind) > len("image/"):
        return kind, options
    raise Problem(
        415,
        f"a body of the type {kind[:60] or 'unknown'} is no page",
        "send a form with the part 'file', or the file itself as image/jpeg, image/png, "
        "application/pdf, application/dicom or application/octet-stream",
        close=True,
    )


async def _from_form(request: Request, receipt: Receipt, options: dict[bytes, bytes]) -> Upload:
    boundary = options.get(b"boundary")
    if not boundary or len(boundary) > 200:
        raise _broken("it names no boundary")
    form = _Form(boundary)
    try:
        async for chunk in receipt.chunks(request.receive):
            form.feed(chunk)
        form.finish()
    except MultipartParseError:
        raise _broken("its parts cannot be told apart") from None
    if form.file is None:
        raise _broken(f"it has no part '{_FIELD}'")
    return Upload(form.file, form.name)


def _broken(why: str) -> Problem:
    return Problem(
        400, f"the form is not usable: {why}", f"send a form with the part '{_FIELD}'", close=True
    )


class _Form:
    """Collects the part `file` of a form; the other parts are let go."""

    def __init__(self, boundary: bytes) -> None:
        self.file: bytearray | None = None
        self.name = UNNAMED
        self._parts = 0
        self._ended = False
        self._taking = False
        self._key = b""
        self._value = b""
        self._headers: dict[bytes, bytes] = {}
        callbacks: Any = {
            "on_part_begin": self._part_begins,
            "on_header_field": self._header_key,
            "on_header_value": self._header_value,
            "on_header_end": self._header_ends,
            "on_headers_finished": self._headers_end,
            "on_part_data": self._data,
            "on_end": self._end,
        }
        self._parser = MultipartParser(boundary, callbacks)

    def feed(self, chunk: bytes) -> None:
        self._parser.write(chunk)

    def finish(self) -> None:
        self._parser.finalize()
        if not self._ended:
            raise MultipartParseError("no closing boundary")

    def _part_begins(self) -> None:
        self._parts += 1
        if self._parts > _MAX_PARTS:
            raise MultipartParseError("too many parts")
        self._headers = {}
        self._taking = False

    def _header_key(self, data: bytes, start: int, end: int) -> None:
        self._key += data[start:end]

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _header_ends(self) -> None:
        self._headers[self._key.lower()] = self._value
        self._key = self._value = b""

    def _headers_end(self) -> None:
        _, options = parse_options_header(self._headers.get(b"content-disposition", b""))
        if options.get(b"name") == _FIELD.encode() and self.file is None:
            self._taking = True
            self.file = bytearray()
            self.name = _shown(options.get(b"filename", b""))

    def _data(self, data: bytes, start: int, end: int) -> None:
        if self._taking and self.file is not None:
            self.file += data[start:end]

    def _end(self) -> None:
        self._ended = True


def _shown(raw: bytes) -> str:
    """Return a client's file name without folders and control characters."""
    text = raw.decode("utf-8", "replace").replace("\\", "/").rsplit("/", 1)[-1]
    kept = "".join(letter for letter in text if letter.isprintable()).strip()
    return kept[-_MAX_NAME:] or UNNAMED
