"""What carriers tell us unasked: their alarms, and orders that came through. Signed by them, or refused.

These addresses are for carriers alone: they take no API key, and are no operations of the API.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final

import msgspec
import structlog
from aiohttp import web
from sqlalchemy import select
from sqlalchemy.orm import Session

from api.carriers.events import (
    ALARMS,
    ORDER_COMPLETE,
    CarrierEvent,
    Unreadable,
    of_telnyx,
    of_twilio,
    read_form,
)
from api.carriers.webhook_signatures import CLOCK_SECONDS, from_telnyx, from_twilio
from api.integrations import Integrations
from api.limits import TokenBuckets
from api.metrics import ApiMetrics
from api.pipeline import respond
from api.problems import Problem
from api.store.database import Database, StoreUnavailable
from api.store.tables import IntegrationRow
from api.types import IntegrationMetadata

log = structlog.get_logger("api")

PATH: Final = "/v1/carrier-webhooks/{carrier}/{integration_id}"

MAX_BODY: Final = 64 * 1024
"""Bytes of a webhook; carriers' have a few thousand."""

BODY_SECONDS: Final = 10.0
"""For a body to arrive."""

MAX_IN_PROGRESS: Final = 32
"""Webhooks worked on at once: each asks the store once."""

MAX_SEEN: Final = 10_000
"""Events remembered, so that one that is sent again does nothing; the oldest is forgotten first."""

STRANGER_RATE: Final = 5.0
STRANGER_BURST: Final = 20.0
"""Webhooks with a wrong signature, for each address."""

Listener = Callable[[CarrierEvent], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class _Sender:
    """An integration as far as its webhooks go. token: of Twilio; public_key: of Telnyx."""

    carrier: str
    token: str = field(repr=False)
    public_key: str | None


class CarrierWebhooks:
    """Takes webhooks.

    Args:
        database: the store.
        integrations: open their secrets.
        metrics: counts.
        public_url: where carriers reach us; empty for what the request names.
        on_order: told of an order that came through; fails for itself.
        clock: seconds since the epoch.

    """

    def __init__(
        self,
        database: Database,
        integrations: Integrations,
        metrics: ApiMetrics,
        *,
        public_url: str,
        on_order: Listener,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._database = database
        self._integrations = integrations
        self._metrics = metrics
        self._public_url = public_url.rstrip("/")
        self._on_order = on_order
        self._clock = clock
        self._strangers = TokenBuckets(STRANGER_RATE, STRANGER_BURST, time.monotonic)
        self._seen: OrderedDict[tuple[str, str], float] = OrderedDict()
        self._in_progress = 0

    def install(self, app: web.Application) -> None:
        """Serve them."""
        app.router.add_post(PATH, self._handle)

    async def _handle(self, request: web.Request) -> web.Response:
        carrier = request.match_info["carrier"]
        if carrier not in {"twilio", "telnyx"}:
            raise web.HTTPNotFound
        if self._in_progress >= MAX_IN_PROGRESS:
            return self._refused(carrier, "busy", Problem("unavailable", "too many webhooks at once"))
        self._in_progress += 1
        try:
            return await self._take(carrier, request)
        except Problem as problem:
            return self._refused(carrier, "unreadable", problem)
        except Unreadable as error:
            return self._refused(carrier, "unreadable", Problem("malformed", f"the body is {error}"))
        except StoreUnavailable as error:
            log.error("store unavailable", detail=str(error), key="api.database_url")
            headers = {"Retry-After": "5"}
            return self._refused(carrier, "busy", Problem("unavailable", "ask again", headers=headers))
        finally:
            self._in_progress -= 1

    async def _take(self, carrier: str, request: web.Request) -> web.Response:
        address, integration_id = request.remote or "", request.match_info["integration_id"]
        if not self._strangers.left(address):
            wait = self._strangers.take(address)
            problem = Problem(
                "too-many-requests", "wrong signatures", headers={"Retry-After": str(max(1, wait))}
            )
            return self._refused(carrier, "too many", problem)
        body = await _body(request)
        sender = await self._database.read(lambda session: self._sender(session, integration_id))
        if sender is None or sender.carrier != carrier or not self._signed(sender, request, body):
            self._strangers.take(address)
            log.warning(
                "webhook refused", carrier=carrier, integration=integration_id, known=sender is not None
            )
            return self._refused(carrier, "bad signature", _bad_signature(sender))
        event = of_twilio(read_form(body)) if carrier == "twilio" else of_telnyx(body)
        if event.identity and self._known(integration_id, event.identity):
            self._metrics.webhooks.labels(carrier, "repeated").inc()
            return web.Response(status=204)
        await self._act(carrier, integration_id, event)
        self._metrics.webhooks.labels(carrier, "taken").inc()
        return web.Response(status=204)

    def _signed(self, sender: _Sender, request: web.Request, body: bytes) -> bool:
        headers = request.headers
        if sender.carrier == "twilio":
            root = self._public_url or f"{request.scheme}://{request.host}"
            try:
                form = read_form(body) if body else []
            except Unreadable:
                return False
            return from_twilio(sender.token, root + request.path_qs, form, headers.get("X-Twilio-Signature"))
        if sender.public_key is None:
            return False
        stamp, signature = headers.get("telnyx-timestamp"), headers.get("telnyx-signature-ed25519")
        return from_telnyx(sender.public_key, stamp, body, signature, now=self._clock())

    def _known(self, integration_id: str, identity: str) -> bool:
        """Whether an event was here before; from now on it was."""
        now, key = self._clock(), (integration_id, identity)
        while self._seen and (
            len(self._seen) >= MAX_SEEN or now - next(iter(self._seen.values())) > 2 * CLOCK_SECONDS
        ):
            self._seen.popitem(last=False)
        if key in self._seen:
            return True
        self._seen[key] = now
        return False

    async def _act(self, carrier: str, integration_id: str, event: CarrierEvent) -> None:
        if event.code is not None:
            known = event.code if event.code in ALARMS else "other"
            self._metrics.alarms.labels(carrier, known).inc()
            log.warning(
                "carrier alarm",
                carrier=carrier,
                integration=integration_id,
                code=event.code,
                level=event.level,
                resource=event.resource,
                fix=ALARMS.get(event.code, f"see https://www.twilio.com/docs/errors/{event.code}"),
            )
            return
        log.info("carrier event", carrier=carrier, integration=integration_id, kind=event.kind)
        if event.kind == ORDER_COMPLETE:
            try:
                await self._on_order(event)
            except Exception:
                # The order is looked after without it; and the carrier has told what it had to tell.
                log.exception("order not hastened", order=event.order)

    def _refused(self, carrier: str, result: str, problem: Problem) -> web.Response:
        self._metrics.webhooks.labels(carrier, result).inc()
        return respond(problem)

    def _sender(self, session: Session, integration_id: str) -> _Sender | None:
        row = session.scalar(select(IntegrationRow).where(IntegrationRow.id == integration_id))
        if row is None:
            return None
        metadata = msgspec.json.decode(row.details, type=IntegrationMetadata)
        return _Sender(row.provider, self._integrations.api_key(row), metadata.public_key)


def _bad_signature(sender: _Sender | None) -> Problem:
    """Strangers learn the same, whether there is such an integration or not."""
    if sender is not None and sender.carrier == "telnyx" and sender.public_key is None:
        log.warning("webhooks need the account's public key in the integration's metadata.public_key")
    return Problem("bad-signature", "the carrier's signature is missing or wrong")


async def _body(request: web.Request) -> bytes:
    """The body, read no further than its limit. Raises Problem."""
    too_large = Problem("too-large", f"the body has more than {MAX_BODY} bytes", extra={"limit": MAX_BODY})
    parts, size = [], 0
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for part in request.content.iter_any():
                size += len(part)
                if size > MAX_BODY:
                    raise too_large
                parts.append(part)
    except TimeoutError:
        raise Problem(
            "request-timeout", "the body did not arrive in time", headers={"Connection": "close"}
        ) from None
    except (ConnectionError, web.RequestPayloadError):
        raise Problem("malformed", "the body ended before all of it was here") from None
    return b"".join(parts)
