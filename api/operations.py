"""What the API can be asked: one `Operation` for each method and path.

The table of operations is registered with the web server, checks keys and bodies, labels metrics and becomes
the OpenAPI document: what is not in it does not exist.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, TypeAlias

from aiohttp import web
from msgspec import Struct
from sqlalchemy.orm import Session

from api.access import Principal, Scope
from api.problems import Problem
from api.store.database import Transaction

MAX_BODY: Final = 64 * 1024
"""Bytes of a request; the longest that makes sense, an agent with 32 endpoints, has half of it."""

MAX_IMPORT_BODY: Final = 4 * 1024 * 1024
"""Bytes of an import of 1,000 numbers with their messages."""

Method: TypeAlias = Literal["GET", "POST", "PATCH", "DELETE"]


@dataclass(frozen=True, slots=True)
class Request:
    """A request that was found in order.

    path: the parts of the path that are names; query and body: as the operation's types say (for PATCH, body
    is the merge patch as JSON has it; for a file, its bytes).
    if_match, if_none_match: the headers, if they were sent.
    reference: the same for the same request sent again with its Idempotency-Key; None without one.
    """

    principal: Principal
    path: Mapping[str, str]
    query: Any
    body: Any
    if_match: str | None = None
    if_none_match: str | None = None
    reference: str | None = None

    def check_unchanged(self, etag: str) -> None:
        """Refuse to go on if `If-Match` names another state (RFC 9110 §13.1.1). Raises Problem."""
        if self.if_match is not None and not matches(self.if_match, etag):
            raise Problem("precondition-failed", f"it is at {etag} now, not at {self.if_match[:80]}")


@dataclass(frozen=True, slots=True)
class Reply:
    """What is answered.

    body: a value of the operation's type; None for an empty answer.
    status: None means the operation's own.
    etag: with its quotes.
    """

    body: Struct | None
    etag: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    status: int | None = None


Read: TypeAlias = Callable[[Session, Request], Reply]
Write: TypeAlias = Callable[[Transaction, Request], Reply]
Act: TypeAlias = Callable[[Request], Awaitable[Reply]]
Content: TypeAlias = Callable[[Request, web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One thing that can be asked.

    id: OpenAPI's operationId; path: with names in braces; status: of success.
    scope: what the key must allow; None needs no key.
    read, write, act, content: what does it; exactly one. `read` and `write` run in a transaction of that
        sort, `act` opens its own, because it also talks to others; `content` answers by itself, with
        something of `content_types`, whole or in part, and to HEAD too.
    query, request, response: types; None for none.
    media: types of a body that is no JSON, but a file; the request's body is then its bytes.
    lags: what it reads may be some seconds old, unless this key has just changed something.
    accepted: what is answered with 202, if that may be.
    problems: kinds that it may answer with, beyond those that all operations share.
    """

    id: str
    method: Method
    path: str
    summary: str
    tag: str
    scope: Scope | None
    status: int = 200
    read: Read | None = None
    write: Write | None = None
    act: Act | None = None
    content: Content | None = None
    content_types: tuple[str, ...] = ()
    query: type[Struct] | None = None
    request: type[Struct] | None = None
    media: tuple[str, ...] = ()
    response: type[Struct] | None = None
    accepted: type[Struct] | None = None
    problems: tuple[str, ...] = ()
    etag: bool = False
    lags: bool = False
    max_body: int = MAX_BODY
    example: Mapping[str, Any] | None = None


def matches(header: str, etag: str) -> bool:
    """Whether an If-Match or If-None-Match header names this ETag."""
    return any(each.strip().removeprefix("W/") in {"*", etag} for each in header.split(","))
