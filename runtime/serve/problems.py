"""What the service answers when it refuses: problem documents (RFC 9457) with the remedy."""

from __future__ import annotations

from http import HTTPStatus

from starlette.responses import JSONResponse

__all__ = ["Problem"]


class Problem(Exception):
    """A request that is refused.

    Parameters
    ----------
    status : int
        HTTP status.
    detail : str
        What is wrong, in plain words.
    remedy : str
        What to do about it.
    headers : dict, optional
        Further headers of the response, for example ``Retry-After``.
    close : bool
        Whether the connection is closed, because the rest of the body was not read.
    """

    def __init__(
        self,
        status: int,
        detail: str,
        remedy: str = "",
        headers: dict[str, str] | None = None,
        close: bool = False,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.remedy = remedy
        self.headers = dict(headers or {})
        if close:
            self.headers["Connection"] = "close"

    def response(self) -> JSONResponse:
        """Return the problem as a response."""
        content = {
            "type": "about:blank",
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "detail": self.detail,
            "remedy": self.remedy,
        }
        return JSONResponse(
            content, self.status, self.headers, media_type="application/problem+json"
        )
