"""What happens to every request, whichever operation it is for.

too many in progress → 503 · key → 401, 403 · rate → 429 · media type, size, JSON, fields → 415, 413, 400, 422
the same Idempotency-Key → the same answer · the operation, in its transaction · the answer, or the problem
"""

from __future__ import annotations

import asyncio
import hashlib
import secrets
import time
from collections.abc import Callable
from typing import Any, Final

import msgspec
import structlog
from aiohttp import web

from api.access import Principal, bearer
from api.api_keys import KeyRing
from api.decoding import decode, parse_json
from api.idempotency import MAX_IDEMPOTENCY_KEY, Replays, StoredReply
from api.limits import TokenBuckets
from api.metrics import ApiMetrics
from api.operations import MAX_BODY, Operation, Reply, Request, matches
from api.problems import CONTENT_TYPE, FieldError, Problem, invalid
from api.secret_box import SecretKeyError
from api.store.database import Database, StoreUnavailable, Transaction
from api.store.replicas import MAX_LAG

log = structlog.get_logger("api")

MAX_IN_PROGRESS: Final = 256
"""Requests worked on at once: what comes on top would only wait for the store."""

MAX_LARGE_IN_PROGRESS: Final = 8
"""… of operations whose bodies may be larger than `MAX_BODY`: each is in memory as a whole."""

MAX_CHANGING: Final = 1_000
"""Keys that have just changed something; beyond, those whose time is over are forgotten."""

BODY_SECONDS: Final = 20.0
"""For a body to arrive."""

STRANGER_RATE: Final = 10.0
STRANGER_BURST: Final = 50.0
"""Requests without a valid key, for each address: enough for a mistake, too few for guessing."""

RETRY_SECONDS: Final = "1"

ACCEPTED: Final = 202

JSON: Final = "application/json"
MERGE_PATCH: Final = "application/merge-patch+json"

_encoder: Final = msgspec.json.Encoder()


class DryRun(Exception):  # noqa: N818 - it is no error
    """Undo what was done, and answer this."""

    def __init__(self, reply: Reply) -> None:
        self.reply = reply


class Pipeline:
    """Serves operations.

    Args:
        database: the store.
        keys: who may ask.
        replays: answers to requests that may be sent again.
        metrics: counts.
        rate: requests a second for each key, with bursts of twice as many.
        clock: seconds, monotonic.

    """

    def __init__(
        self,
        database: Database,
        keys: KeyRing,
        replays: Replays,
        metrics: ApiMetrics,
        *,
        rate: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._database = database
        self._keys = keys
        self._replays = replays
        self._metrics = metrics
        self._clock = clock
        self._rates = TokenBuckets(rate, 2 * rate, clock)
        self._strangers = TokenBuckets(STRANGER_RATE, STRANGER_BURST, clock)
        self._in_progress = 0
        self._large = 0
        self._changing_until: dict[str, float] = {}
        """By key: until when it reads from the primary alone, and so sees its own changes."""

    def handler(self, operation: Operation) -> Callable[[web.Request], Any]:
        """What serves an operation."""
        seconds = self._metrics.request_seconds.labels(operation.path)

        async def handle(request: web.Request) -> web.StreamResponse:
            began = self._clock()
            status = 499  # as nginx counts a client that did not wait
            try:
                response = await self._answer(operation, request)
                status = response.status
                return response
            finally:
                seconds.observe(self._clock() - began)
                self._metrics.requests.labels(operation.path, operation.method, str(status)).inc()

        return handle

    async def _answer(self, operation: Operation, request: web.Request) -> web.StreamResponse:
        large = operation.max_body > MAX_BODY
        if self._in_progress >= MAX_IN_PROGRESS or (large and self._large >= MAX_LARGE_IN_PROGRESS):
            return respond(_busy("too many requests are in progress"))
        self._large += large
        counted = operation.content is None  # content takes long, and has a cap of its own
        self._in_progress += counted
        try:
            return await self._serve(operation, request)
        except Problem as problem:
            return respond(problem)
        except StoreUnavailable as error:
            log.error("store unavailable", detail=str(error), key="api.database_url")
            return respond(_busy("the store cannot be reached or is too busy"))
        except SecretKeyError as error:
            log.error("secret cannot be opened", detail=str(error), key="api.secret_key")
            return respond(
                Problem("internal", "a stored secret cannot be opened; the log says which key is missing")
            )
        except Exception:
            request_id = secrets.token_hex(8)
            log.exception(
                "internal error", route=operation.path, method=operation.method, request_id=request_id
            )
            detail = "something went wrong here; it is in the log"
            return respond(Problem("internal", detail, extra={"request_id": request_id}))
        finally:
            self._in_progress -= counted
            self._large -= large

    async def _serve(self, operation: Operation, request: web.Request) -> web.StreamResponse:
        principal = await self._authenticated(operation, request)
        parsed, fingerprint, idempotency_key = await self._parsed(operation, request, principal)
        if operation.content is not None:
            return await operation.content(parsed, request)
        if operation.read is not None:
            read = operation.read
            lags = operation.lags and self._clock() >= self._changing_until.get(principal.key_id, 0.0)
            look = self._database.read_lately if lags else self._database.read
            return _response(operation, await look(lambda session: read(session, parsed)), parsed)
        try:
            return await self._changed(operation, parsed, fingerprint, idempotency_key)
        finally:
            if operation.method != "GET":
                self._remember_change(principal.key_id)

    def _remember_change(self, key_id: str) -> None:
        now = self._clock()
        if len(self._changing_until) >= MAX_CHANGING:
            self._changing_until = {key: until for key, until in self._changing_until.items() if until > now}
        self._changing_until[key_id] = now + MAX_LAG

    async def _changed(
        self, operation: Operation, parsed: Request, fingerprint: str, idempotency_key: str | None
    ) -> web.Response:
        """What an operation answers that may change something."""
        principal = parsed.principal
        if operation.act is not None:
            return await self._act(operation, parsed, fingerprint, idempotency_key)
        write = operation.write
        assert write is not None  # noqa: S101 - for the type checker

        def work(tx: Transaction) -> StoredReply:
            if idempotency_key is not None:
                before = self._replays.find(tx.session, principal, idempotency_key, fingerprint)
                if before is not None:
                    return before
            reply = _stored(operation, write(tx, parsed))
            if idempotency_key is not None:
                self._replays.keep(tx, principal, idempotency_key, fingerprint, reply)
            return reply

        try:
            return _replayed(await self._database.write(work))
        except DryRun as dry:
            return _response(operation, dry.reply, parsed)

    async def _act(
        self, operation: Operation, parsed: Request, fingerprint: str, idempotency_key: str | None
    ) -> web.Response:
        """An operation that also talks to a carrier, which tells requests apart by their reference."""
        act = operation.act
        assert act is not None  # noqa: S101 - for the type checker
        principal = parsed.principal
        if idempotency_key is None:
            return _replayed(_stored(operation, await act(parsed)))
        before = await self._database.read(
            lambda session: self._replays.find(session, principal, idempotency_key, fingerprint)
        )
        if before is not None:
            return _replayed(before)
        reply = _stored(operation, await act(parsed))
        if reply.status == ACCEPTED:
            return _replayed(reply)  # an answer for now; who asks again wants to know how far it is by then
        await self._database.write(
            lambda tx: self._replays.keep(tx, principal, idempotency_key, fingerprint, reply)
        )
        return _replayed(reply)

    async def _authenticated(self, operation: Operation, request: web.Request) -> Principal:
        address = request.remote or ""
        key = bearer(request.headers.get("Authorization"))
        principal = None
        if key is not None and self._strangers.left(address):
            principal = await self._keys.find(key)
        if principal is None:
            wait = self._strangers.take(address)
            if wait:
                raise _too_fast(wait, "too many requests without a valid key from this address")
            detail = "there is no such key" if key else "the request brings no key"
            raise Problem("unauthorized", detail, headers={"WWW-Authenticate": "Bearer"})
        wait = self._rates.take(principal.key_id)
        if wait:
            raise _too_fast(wait, "this key asks faster than api.rate_limit allows")
        if operation.scope is not None and not principal.may(operation.scope):
            challenge = f'Bearer error="insufficient_scope", scope="{operation.scope}"'
            detail = f"the key has no scope {operation.scope}"
            raise Problem("forbidden", detail, headers={"WWW-Authenticate": challenge})
        return principal

    async def _parsed(
        self, operation: Operation, request: web.Request, principal: Principal
    ) -> tuple[Request, str, str | None]:
        """The request in types, its fingerprint, and its Idempotency-Key. Raises Problem."""
        query = _query(operation, request)
        raw = await _body(request, operation.max_body)
        body: Any = None
        if operation.request is not None:
            _check_media_type(operation, request)
            document = parse_json(raw)
            body = document if operation.method == "PATCH" else decode(document, operation.request)
        elif operation.media:
            if request.content_type not in operation.media:
                raise Problem("unsupported-media-type", f"send {' or '.join(operation.media)}")
            body = raw
        elif raw.strip():
            raise invalid(FieldError("body", "unknown", "this operation takes no body", "leave it out"))
        key = _idempotency_key(request) if operation.method == "POST" else None
        head = f"{operation.method}\n{request.path_qs}\n".encode("utf-8", "surrogateescape")
        if len(raw) > MAX_BODY:
            fingerprint = await asyncio.to_thread(_fingerprint, head, raw)
        else:
            fingerprint = _fingerprint(head, raw)
        reference = hashlib.sha256(f"{principal.key_id} {key}".encode()).hexdigest()[:32] if key else None
        parsed = Request(
            principal,
            dict(request.match_info),
            query,
            body,
            if_match=request.headers.get("If-Match"),
            if_none_match=request.headers.get("If-None-Match"),
            reference=reference,
        )
        return parsed, fingerprint, key


def _fingerprint(head: bytes, body: bytes) -> str:
    """What tells one request from another that comes with the same Idempotency-Key."""
    digest = hashlib.sha256(head)
    digest.update(body)
    return digest.hexdigest()


def respond(problem: Problem) -> web.Response:
    """A problem as an HTTP response."""
    body = _encoder.encode(problem.document())
    return web.Response(status=problem.status, body=body, content_type=CONTENT_TYPE, headers=problem.headers)


def _busy(detail: str) -> Problem:
    return Problem("unavailable", detail, headers={"Retry-After": RETRY_SECONDS})


def _too_fast(wait: int, detail: str) -> Problem:
    return Problem("too-many-requests", detail, headers={"Retry-After": str(wait)})


async def _body(request: web.Request, limit: int) -> bytes:
    """The body, read no further than its limit. Raises Problem."""
    too_large = Problem("too-large", f"the body has more than {limit} bytes", extra={"limit": limit})
    if (request.content_length or 0) > limit:
        raise too_large
    encoding = request.headers.get("Content-Encoding", "identity").lower()
    if encoding != "identity":
        raise Problem("unsupported-media-type", f"the body is encoded as {encoding[:40]}: send it as it is")
    parts, size = [], 0
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for part in request.content.iter_any():
                size += len(part)
                if size > limit:
                    raise too_large
                parts.append(part)
    except TimeoutError:
        detail = f"the body was not here after {BODY_SECONDS:.0f} seconds"
        raise Problem("request-timeout", detail, headers={"Connection": "close"}) from None
    except (ConnectionError, web.RequestPayloadError):
        raise Problem("malformed", "the body ended before all of it was here") from None
    return b"".join(parts)


def _check_media_type(operation: Operation, request: web.Request) -> None:
    allowed = {JSON, MERGE_PATCH} if operation.method == "PATCH" else {JSON}
    if request.content_type not in allowed or (request.charset or "utf-8").lower() != "utf-8":
        raise Problem("unsupported-media-type", f"send {' or '.join(sorted(allowed))} in UTF-8")


def _query(operation: Operation, request: web.Request) -> Any:
    given: dict[str, str] = {}
    for name, value in request.query.items():
        if name in given:
            raise invalid(FieldError(name[:80], "repeated", "is given more than once", "give it once"))
        if value.lower() == "null":
            raise invalid(FieldError(name[:80], "type", "null means nothing in a query", "leave it out"))
        given[name] = value
    number = given.get("phone_number", "")
    if number.startswith(" ") or number[:1].isdigit():
        given["phone_number"] = "+" + number.lstrip()  # a plus in a query means a space, and people forget it
    if operation.query is None:
        if given:
            raise invalid(
                FieldError(
                    next(iter(given))[:80], "unknown", "no such parameter", "leave it out: there is none"
                )
            )
        return None
    return decode(given, operation.query, strict=False)


def _idempotency_key(request: web.Request) -> str | None:
    key = request.headers.get("Idempotency-Key")
    if key is not None and not (1 <= len(key) <= MAX_IDEMPOTENCY_KEY and key.isascii() and key.isprintable()):
        raise invalid(
            FieldError(
                "Idempotency-Key",
                "length",
                "is empty, too long or not printable",
                f"send 1 to {MAX_IDEMPOTENCY_KEY} printable ASCII characters, such as a UUID",
            )
        )
    return key


def _response(operation: Operation, reply: Reply, request: Request) -> web.Response:
    stored = _stored(operation, reply)
    if reply.etag and request.if_none_match and matches(request.if_none_match, reply.etag):
        return web.Response(status=304, headers={"ETag": reply.etag})
    return _replayed(stored)


def _stored(operation: Operation, reply: Reply) -> StoredReply:
    headers = dict(reply.headers)
    if reply.etag:
        headers["ETag"] = reply.etag
    body = b"" if reply.body is None else _encoder.encode(reply.body)
    return StoredReply(reply.status or operation.status, headers, body)


def _replayed(reply: StoredReply) -> web.Response:
    if not reply.body:
        return web.Response(status=reply.status, headers=reply.headers)
    return web.Response(status=reply.status, headers=reply.headers, body=reply.body, content_type=JSON)
