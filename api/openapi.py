"""The OpenAPI 3.1 document, made from the operations and types that serve and validate."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from api.examples import EXAMPLES
from api.idempotency import MAX_IDEMPOTENCY_KEY
from api.openapi_schemas import REFERENCE, Schemas, query_parameters
from api.operations import Operation
from api.problems import CONTENT_TYPE, KINDS, TYPE_PREFIX, FieldError, ProblemDocument

JSON: Final = "application/json"
MERGE_PATCH: Final = "application/merge-patch+json"

DESCRIPTION: Final = """\
Search for, buy, register and route phone numbers.

Every request needs `Authorization: Bearer oi_sk_…`. Errors are problem documents (RFC 9457) that name field,
rule and fix; `/docs/problems` explains each kind. A POST with an `Idempotency-Key` can be sent again without
happening twice, for 24 hours. Changes with `If-Match` happen only to the state that they were meant for.
"""

SHARED: Final = ("unauthorized", "too-many-requests", "internal", "unavailable")
"""Kinds of problems that every operation may answer with."""

_HEADERS: Final[Mapping[str, Mapping[str, Any]]] = {
    "ETag": {"description": "Changes whenever the resource does.", "schema": {"type": "string"}},
    "Location": {"description": "Where it is from now on.", "schema": {"type": "string"}},
    "Content-Range": {
        "description": "Which part this is, and of how many bytes (RFC 9110 §14.4).",
        "schema": {"type": "string"},
    },
    "Retry-After": {
        "description": "Seconds to wait.",
        "schema": {"type": "integer", "minimum": 0},
    },
    "Idempotency-Replayed": {
        "description": "`true` if this is the answer to an earlier request with the same Idempotency-Key.",
        "schema": {"type": "string", "enum": ["true"]},
    },
}


def document_of(operations: Sequence[Operation], version: str) -> dict[str, Any]:
    """The document, as JSON has it."""
    schemas = Schemas(
        requests=[each.request for each in operations if each.request is not None and each.method != "PATCH"],
        patches=[each.request for each in operations if each.request is not None and each.method == "PATCH"],
        responses=[each.response for each in operations if each.response is not None]
        + [FieldError, ProblemDocument],
    )
    paths: dict[str, Any] = {}
    for operation in operations:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _operation(operation)
    return {
        "openapi": "3.1.0",
        "info": {"title": "voice-gateway: phone numbers", "version": version, "description": DESCRIPTION},
        "servers": [{"url": "/"}],
        "security": [{"apiKey": []}],
        "tags": [{"name": tag} for tag in dict.fromkeys(each.tag for each in operations)],
        "paths": paths,
        "components": {
            "securitySchemes": {
                "apiKey": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "An API key, as `POST /v1/api-keys` makes it.",
                }
            },
            "schemas": dict(sorted(schemas.components.items())),
            "headers": _HEADERS,
        },
    }


def problems_of(operation: Operation) -> list[str]:
    """Every kind of problem that an operation may answer with."""
    kinds = [*SHARED, *operation.problems]
    if operation.scope == "write":
        kinds.append("forbidden")
    kinds += ["invalid", "too-large"]  # of parameters and bodies that should not be there, if nothing else
    if operation.request is not None or operation.media:
        kinds += ["malformed", "unsupported-media-type", "request-timeout"]
    if operation.method == "POST":
        kinds.append("idempotency-key-reused")
    return list(dict.fromkeys(kinds))


def _operation(operation: Operation) -> dict[str, Any]:
    described: dict[str, Any] = {
        "operationId": operation.id,
        "summary": operation.summary,
        "tags": [operation.tag],
        "x-required-scope": operation.scope,
        "parameters": _parameters(operation),
        "responses": _responses(operation),
    }
    if operation.request is not None:
        patch = operation.method == "PATCH"
        media: dict[str, Any] = {"schema": Schemas.reference(operation.request, patch=patch)}
        if operation.example is not None:
            media["example"] = operation.example
        types = (MERGE_PATCH, JSON) if patch else (JSON,)
        described["requestBody"] = {"required": True, "content": dict.fromkeys(types, media)}
    if operation.media:
        described["requestBody"] = {"required": True, "content": _binary(operation.media)}
    return described


def _parameters(operation: Operation) -> list[dict[str, Any]]:
    parameters: list[dict[str, Any]] = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in re.findall(r"{(\w+)}", operation.path)
    ]
    if operation.query is not None:
        parameters += query_parameters(operation.query)
    if operation.method == "POST":
        parameters.append(
            _header(
                "Idempotency-Key",
                "The same key with the same request gets the same answer, and happens once.",
                {"type": "string", "minLength": 1, "maxLength": MAX_IDEMPOTENCY_KEY, "pattern": "^[ -~]+$"},
            )
        )
    if "precondition-failed" in operation.problems:
        told = "An ETag: change only this state."
        parameters.append(_header("If-Match", told, {"type": "string"}))
    if operation.method == "GET" and operation.etag:
        told = "An ETag: answer 304 if it has not changed."
        parameters.append(_header("If-None-Match", told, {"type": "string"}))
    if operation.content is not None:
        told = "The part that is wanted, as in `bytes=0-65535` (RFC 9110 §14.2)."
        parameters.append(_header("Range", told, {"type": "string"}))
        told = "An ETag: if it is another one now, answer with the whole."
        parameters.append(_header("If-Range", told, {"type": "string"}))
    return parameters


def _header(name: str, description: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "in": "header", "required": False, "description": description, "schema": schema}


def _responses(operation: Operation) -> dict[str, Any]:
    responses = {str(operation.status): _success(operation)}
    if operation.accepted is not None:
        responses["202"] = {
            "description": "Accepted; it is being done.",
            "content": _content(operation.accepted),
            "headers": _headers("ETag"),
        }
    if operation.method == "GET" and operation.etag:
        responses["304"] = {"description": "Not changed.", "headers": _headers("ETag")}
    if operation.content is not None:
        responses["206"] = {
            "description": "Part of it.",
            "content": _binary(operation.content_types),
            "headers": _headers("ETag", "Content-Range"),
        }
    by_status: dict[int, list[str]] = {}
    for kind in problems_of(operation):
        by_status.setdefault(KINDS[kind].status, []).append(kind)
    for status, kinds in sorted(by_status.items()):
        responses[str(status)] = _problem(status, kinds)
    return responses


def _success(operation: Operation) -> dict[str, Any]:
    response: dict[str, Any] = {"description": operation.summary.partition(";")[0] + "."}
    if operation.response is not None:
        response["content"] = _content(operation.response)
    if operation.content is not None:
        response["content"] = _binary(operation.content_types)
    names = ["ETag"] if operation.etag else []
    names += ["Location"] if operation.status == 201 else []
    names += ["Idempotency-Replayed"] if operation.method == "POST" else []
    if names:
        response["headers"] = _headers(*names)
    return response


def _content(kind: type) -> dict[str, Any]:
    media: dict[str, Any] = {"schema": Schemas.reference(kind)}
    if kind in EXAMPLES:
        media["example"] = EXAMPLES[kind]
    return {JSON: media}


def _binary(types: Sequence[str]) -> dict[str, Any]:
    return {each: {"schema": {"type": "string", "format": "binary"}} for each in types}


def _problem(status: int, kinds: Sequence[str]) -> dict[str, Any]:
    response: dict[str, Any] = {
        "description": " Or: ".join(KINDS[kind].meaning for kind in kinds),
        "content": {
            CONTENT_TYPE: {
                "schema": {"$ref": REFERENCE.format(name="ProblemDocument")},
                "examples": {
                    kind: {
                        "value": {
                            "type": TYPE_PREFIX + kind,
                            "title": KINDS[kind].title,
                            "status": status,
                            "detail": KINDS[kind].meaning,
                        }
                    }
                    for kind in kinds
                },
            }
        },
    }
    if status in {429, 503}:
        response["headers"] = _headers("Retry-After")
    if status == 416:
        response["headers"] = _headers("Content-Range")
    return response


def _headers(*names: str) -> dict[str, Any]:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}
