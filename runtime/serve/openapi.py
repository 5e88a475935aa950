"""The service's OpenAPI document, built from the bundle that answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from runtime import __version__
from runtime.cli import INTENDED_USE
from runtime.prediction import SCHEMA

if TYPE_CHECKING:
    from collections.abc import Sequence

    from runtime.serve.settings import Settings

__all__ = ["build"]

_BINARY: Final = {"schema": {"type": "string", "format": "binary"}}
_PROBABILITY: Final = {"type": "number", "minimum": 0, "maximum": 1}
_IDENTITY: Final = ("name", "version", "sha256", "engine", "precision")
_STRINGS: Final = {"type": "array", "items": {"type": "string"}}

_REFUSALS: Final = {
    "400": "The form is broken or has no part `file`, or a parameter has another value.",
    "401": "The token is missing or wrong.",
    "403": "The request comes from a page of another site.",
    "408": "The body came too slowly.",
    "413": "The body is larger than the limit, or the document has too many pages.",
    "415": "The body is of a type that is no page.",
    "421": "The Host header is not a name of this machine.",
    "429": "The service is busy; `Retry-After` says when to come again.",
    "503": "The service is starting or stopping.",
}


def build(labels: Sequence[str], settings: Settings) -> dict[str, Any]:
    """Return the document.

    Parameters
    ----------
    labels : sequence of str
        Label ids of the bundle.
    settings : Settings
        Limits are named in the descriptions.
    """
    guarded: list[dict[str, list[str]]] = [{"token": []}] if settings.token is not None else []
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "ecg-edge",
            "version": __version__,
            "summary": "Reads pictures of 12-lead ECGs.",
            "description": f"{INTENDED_USE}\n\nNothing that is sent is stored or logged.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "paths": {
            "/classify": {"post": _classify(settings, guarded)},
            "/healthz": {"get": _simple("healthz", "The process runs.", "Health", [])},
            "/readyz": {"get": _readyz()},
            "/info": {"get": _info(guarded)},
            "/metrics": {"get": _metrics(guarded)},
        },
        "components": {
            "schemas": _schemas(labels),
            "responses": {
                f"Refused{code}": _refusal(code, text) for code, text in _REFUSALS.items()
            },
            "securitySchemes": {
                "token": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "The token that the service was started with.",
                }
            },
        },
    }


def _classify(settings: Settings, guarded: list[dict[str, list[str]]]) -> dict[str, Any]:
    megabytes = settings.max_body_bytes / 2**20
    form = {
        "schema": {
            "type": "object",
            "properties": {"file": {"type": "string", "format": "binary"}},
            "required": ["file"],
        }
    }
    return {
        "operationId": "classify",
        "summary": "Answer a page.",
        "description": (
            f"Send one file of at most {megabytes:g} MB and {settings.max_pages} pages, in a form "
            "or as the body itself. The answer is the record of the first page, as `python -m "
            "runtime classify --format json` writes it; where the document has more pages, their "
            "records follow in `further_pages`, in order. A page that cannot be read is answered "
            "by a record too, with the status `error` and its reason, under 422 if no page of "
            "the document could be read."
        ),
        "security": guarded,
        "parameters": [
            {
                "name": "explain",
                "in": "query",
                "description": "1: add the page with the evidence marked as `explanation_png`.",
                "schema": {"type": "string", "enum": ["0", "1", "false", "true"]},
            }
        ],
        "requestBody": {
            "required": True,
            "content": {
                "multipart/form-data": form,
                "image/*": _BINARY,
                "application/pdf": _BINARY,
                "application/dicom": _BINARY,
                "application/octet-stream": _BINARY,
            },
        },
        "responses": {
            "200": _json("The answer.", "Answer"),
            "422": _json("No page of the document can be read; the record says why.", "Answer"),
            **_refused("400", "401", "403", "408", "413", "415", "421", "429", "503"),
        },
    }


def _simple(
    name: str, summary: str, schema: str, guarded: list[dict[str, list[str]]]
) -> dict[str, Any]:
    return {
        "operationId": name,
        "summary": summary,
        "security": guarded,
        "responses": {"200": _json(summary, schema), **_refused("403", "421")},
    }


def _readyz() -> dict[str, Any]:
    operation = _simple("readyz", "Pages can be answered.", "Health", [])
    operation["responses"] |= _refused("503")
    return operation


def _info(guarded: list[dict[str, list[str]]]) -> dict[str, Any]:
    operation = _simple("info", "What the bundle is and what it runs on.", "Info", guarded)
    operation["responses"] |= _refused("401")
    return operation


def _metrics(guarded: list[dict[str, list[str]]]) -> dict[str, Any]:
    text = {"text/plain": {"schema": {"type": "string"}}}
    return {
        "operationId": "metrics",
        "summary": "Counts and times for Prometheus.",
        "security": guarded,
        "responses": {
            "200": {"description": "Prometheus text format.", "content": text},
            **_refused("401", "403", "421"),
        },
    }


def _json(description: str, schema: str) -> dict[str, Any]:
    reference = {"schema": {"$ref": f"#/components/schemas/{schema}"}}
    return {"description": description, "content": {"application/json": reference}}


def _refused(*codes: str) -> dict[str, Any]:
    return {code: {"$ref": f"#/components/responses/Refused{code}"} for code in codes}


def _refusal(code: str, description: str) -> dict[str, Any]:
    reference = {"schema": {"$ref": "#/components/schemas/Problem"}}
    response: dict[str, Any] = {
        "description": description,
        "content": {"application/problem+json": reference},
    }
    if code == "429":
        seconds = {"schema": {"type": "integer"}, "description": "Seconds to wait."}
        response["headers"] = {"Retry-After": seconds}
    return response


def _schemas(labels: Sequence[str]) -> dict[str, Any]:
    record = _record(list(labels))
    answer = {
        **record,
        "properties": {
            **record["properties"],
            "explanation": {
                "type": "object",
                "description": "How the evidence was found, and the leads that carried the "
                "answer with their shares; with `explain=1` only.",
                "properties": {
                    "method": {"enum": ["model", "occlusion", None]},
                    "label": {"enum": [*labels, None]},
                    "leads": {
                        "type": "array",
                        "items": {
                            "type": "object",
                            "properties": {"name": {"type": "string"}, "share": _PROBABILITY},
                            "required": ["name", "share"],
                        },
                    },
                },
                "required": ["method", "label", "leads"],
            },
            "explanation_png": {
                "type": "string",
                "contentEncoding": "base64",
                "contentMediaType": "image/png",
                "description": "The page with the evidence marked; with `explain=1` only.",
            },
            "further_pages": {
                "type": "array",
                "items": {"$ref": "#/components/schemas/Answer"},
                "description": "Records of page 2 and on; only where the document has them.",
            },
        },
    }
    return {
        "Record": record,
        "Answer": answer,
        "Health": {
            "type": "object",
            "properties": {"status": {"type": "string"}},
            "required": ["status"],
        },
        "Info": {
            "type": "object",
            "description": "As `python -m runtime info --json`, and the service's limits.",
            "properties": {"name": {"type": "string"}, "version": {"type": "string"}},
            "required": ["name", "version", "intended_use", "labels", "service"],
        },
        "Problem": {
            "type": "object",
            "description": "RFC 9457, with the remedy.",
            "properties": {
                "type": {"type": "string"},
                "title": {"type": "string"},
                "status": {"type": "integer"},
                "detail": {"type": "string"},
                "remedy": {"type": "string"},
            },
            "required": ["type", "title", "status", "detail"],
        },
    }


def _record(labels: list[str]) -> dict[str, Any]:
    label = {"type": "string", "enum": labels}
    named = {"type": "array", "items": label}
    properties: dict[str, Any] = {
        "schema": {"const": SCHEMA},
        "source": {"type": "string", "description": "The file name that the client gave."},
        "page": {"type": "integer", "minimum": 1},
        "sha256": {"type": "string", "description": "Of the file, hexadecimal."},
        "status": {"enum": ["ok", "uncertain", "rejected", "error"]},
        "label": {"anyOf": [label, {"type": "null"}]},
        "confidence": {"anyOf": [_PROBABILITY, {"type": "null"}]},
        "probabilities": {
            "anyOf": [
                {
                    "type": "object",
                    "properties": dict.fromkeys(labels, _PROBABILITY),
                    "required": labels,
                    "additionalProperties": False,
                },
                {"type": "null"},
            ]
        },
        "flags": {**named, "description": "Critical classes at or above their operating point."},
        "reasons": {**_STRINGS, "description": "Why uncertain, rejected or in error."},
        "model": {
            "type": "object",
            "properties": {key: {"type": "string"} for key in _IDENTITY},
            "required": list(_IDENTITY),
        },
        "timing_ms": {"type": "object", "additionalProperties": {"type": "number"}},
    }
    required = list(properties)
    properties["layout"] = {"type": "string"}
    properties["set"] = {
        "type": "object",
        "additionalProperties": named,
        "description": "Prediction sets by nominal coverage.",
    }
    return {"type": "object", "properties": properties, "required": required}
