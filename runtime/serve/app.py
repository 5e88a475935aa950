"""The routes of the service."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response
from starlette.routing import Route, Router

from runtime.cli import INTENDED_USE
from runtime.serve.answers import Answers
from runtime.serve.limits import Gate, Intake
from runtime.serve.metrics import CONTENT_TYPE, Metrics
from runtime.serve.openapi import build
from runtime.serve.pages import load_files, strings_for
from runtime.serve.pool import NotAnswered, NoWorker
from runtime.serve.problems import Problem
from runtime.serve.shield import Shield
from runtime.serve.upload import received

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.requests import Request
    from starlette.types import ASGIApp, Receive, Scope, Send

    from runtime.bundle import Bundle
    from runtime.serve.pool import Answerer
    from runtime.serve.settings import Settings

__all__ = ["Service"]


class Service:
    """The ASGI application.

    Parameters
    ----------
    bundle : Bundle
        The one that answers.
    settings : Settings
    answerer : Answerer
        Who answers; a `WorkerPool`, or a double in tests.
    record : callable, optional
        Called with every record that is given out; the audit log.
    """

    def __init__(
        self,
        bundle: Bundle,
        settings: Settings,
        answerer: Answerer,
        record: Callable[[dict[str, Any]], None] | None = None,
    ) -> None:
        self.stopping = False
        self._settings = settings
        self._answerer = answerer
        self._record = record
        self._metrics = Metrics(bundle)
        self._intake = Intake(settings)
        self._answering = Gate(settings.workers + settings.waiting)
        self._files = load_files()
        self._openapi = build(bundle.label_ids, settings)
        router = Router(
            [
                Route("/classify", self._classify, methods=["POST"]),
                Route("/healthz", self._healthz),
                Route("/readyz", self._readyz),
                Route("/info", self._info),
                Route("/metrics", self._show_metrics),
                Route("/openapi.json", self._show_openapi),
                Route("/", self._page),
                Route("/static/{name}", self._page),
            ],
            redirect_slashes=False,
        )
        self._app: ASGIApp = Shield(_named(self, router), settings, self._metrics)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        await self._app(scope, receive, send)

    async def _classify(self, request: Request) -> Response:
        explain = _explain(request)
        if self.stopping or not self._answerer.ready:
            raise _not_ready()
        self._intake.check_stated_length(request.headers)
        with self._intake.opened() as receipt:
            upload = await received(request, receipt)
            with self._answering.entered():
                self._metrics.in_hand.set(self._answering.taken)
                try:
                    answers = await self._answerer.answer(upload.body, upload.name, explain)
                except NoWorker:
                    raise _not_ready() from None
                except NotAnswered as fault:
                    answers = Answers([self._failed(upload.name, str(fault))])
            self._metrics.in_hand.set(self._answering.taken)
        if len(answers.records) > self._settings.max_pages:
            raise Problem(
                413,
                f"the document has more than {self._settings.max_pages} pages",
                "send it in parts, or use python -m runtime classify",
            )
        for record in answers.records:
            self._metrics.count_record(record)
            if self._record is not None:
                self._record(record)
        unreadable = all(record["status"] == "error" for record in answers.records)
        return JSONResponse(_document(answers), 422 if unreadable else 200)

    def _failed(self, name: str, reason: str) -> dict[str, Any]:
        """Return the record of an upload that took its worker down."""
        from runtime.prediction import ModelIdentity, Prediction

        identity = ModelIdentity(**self._answerer.model)
        return Prediction(name, 1, "", "error", identity, reasons=(reason,)).to_record()

    async def _healthz(self, request: Request) -> Response:
        return JSONResponse({"status": "alive"})

    async def _readyz(self, request: Request) -> Response:
        if self.stopping or not self._answerer.ready:
            raise _not_ready()
        return JSONResponse({"status": "ready"})

    async def _info(self, request: Request) -> Response:
        service = {
            "max_body_bytes": self._settings.max_body_bytes,
            "max_pages": self._settings.max_pages,
            "answer_timeout_s": self._settings.answer_timeout_s,
        }
        shown = {"intended_use": INTENDED_USE}
        given = {key: value for key, value in self._answerer.facts.items() if value != ""}
        return JSONResponse({**shown, **given, "service": service})

    async def _show_metrics(self, request: Request) -> Response:
        self._metrics.ready.set(self._answerer.ready and not self.stopping)
        self._metrics.workers_lost.set(self._answerer.deaths)
        return Response(self._metrics.text(), media_type=CONTENT_TYPE)

    async def _show_openapi(self, request: Request) -> Response:
        return JSONResponse(self._openapi)

    async def _page(self, request: Request) -> Response:
        name = request.path_params.get("name", "index.html")
        if name == "strings.json":
            preferred = request.headers.get("accept-language", "")
            return strings_for(self._files, preferred).response(request)
        file = self._files.get(name)
        if file is None:
            raise HTTPException(404)
        return file.response(request)


def _named(service: Service, router: Router) -> ASGIApp:
    """Let the router raise what it does not know, so that every refusal looks the same."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        scope["app"] = service
        await router(scope, receive, send)

    return app


def _not_ready() -> Problem:
    return Problem(
        503, "no page can be answered now", "come again in a moment", {"Retry-After": "2"}
    )


def _explain(request: Request) -> bool:
    given = request.query_params.get("explain", "0").lower()
    if given not in ("0", "1", "false", "true"):
        raise Problem(400, "'explain' is neither 0 nor 1", "ask with ?explain=1", close=True)
    return given in ("1", "true")


def _document(answers: Answers) -> dict[str, Any]:
    """Return the first page's record, with the others in it."""
    pages = [dict(record) for record in answers.records]
    for page, explanation, picture in zip(
        pages, answers.explanations, answers.pictures, strict=False
    ):
        page["explanation"] = explanation
        page["explanation_png"] = base64.b64encode(picture).decode("ascii")
    first, *others = pages
    return {**first, "further_pages": others} if others else first
