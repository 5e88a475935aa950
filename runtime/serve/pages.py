"""The files of the page at `/`, read once and answered from memory."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from starlette.responses import Response

if TYPE_CHECKING:
    from starlette.requests import Request

__all__ = ["PageFile", "load_files", "strings_for"]

_FOLDER: Final = Path(__file__).resolve().parent / "static"
_TYPES: Final = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".svg": "image/svg+xml",
}


@dataclass(frozen=True, slots=True)
class PageFile:
    """One file of the page."""

    content: bytes
    media_type: str
    etag: str

    def response(self, request: Request) -> Response:
        """Return the file, or 304 where the browser has it already."""
        headers = {"ETag": self.etag, "Cache-Control": "no-cache"}
        if request.headers.get("if-none-match") == self.etag:
            return Response(status_code=304, headers=headers)
        return Response(self.content, headers=headers, media_type=self.media_type)


def load_files() -> dict[str, PageFile]:
    """Return the files by name; only these can ever be asked for."""
    files = {}
    for path in sorted(_FOLDER.iterdir()):
        if path.suffix in _TYPES:
            content = path.read_bytes()
            etag = f'"{hashlib.sha256(content).hexdigest()[:20]}"'
            files[path.name] = PageFile(content, _TYPES[path.suffix], etag)
    return files


def strings_for(files: dict[str, PageFile], preferred: str) -> PageFile:
    """Return the words in the first language of an Accept-Language header that there is.

    A hospital adds a language by putting ``strings.<language>.json`` beside the English one.
    """
    weighed = []
    for place, entry in enumerate(preferred[:500].split(",")):
        tag, _, weight = entry.strip().lower().partition(";q=")
        weighed.append((-_weight(weight), place, tag))
    for _, _, tag in sorted(weighed):
        for wanted in (tag, tag.split("-")[0]):
            if f"strings.{wanted}.json" in files:
                return files[f"strings.{wanted}.json"]
    return files["strings.en.json"]


def _weight(text: str) -> float:
    try:
        return float(text or "1")
    except ValueError:
        return 0.0
