"""Brings events to webhooks: tried again for a day, and no slow receiver keeps another one waiting.

A delivery is a row. Whoever takes one up moves its next attempt a minute on, first: if the process dies, the
attempt is made again then, by any process. Hence at least once, and a receiver knows an event by its id.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import structlog
from sqlalchemy import ColumnElement, delete, func, or_, select
from sqlalchemy.orm import Session

from api.identifiers import timestamp
from api.metrics import ApiMetrics
from api.secret_box import SecretBox, SecretKeyError
from api.store.database import Database, StoreUnavailable, Transaction
from api.store.tables import DeliveryRow, WebhookRow
from api.webhook_sender import ATTEMPT_SECONDS, Answer, WebhookSender

log = structlog.get_logger("api")

PAUSES: Final = (5.0, 30.0, 120.0, 600.0, 1800.0, 3600.0, 7200.0, 14_400.0, 28_800.0, 28_800.0)
"""Seconds between attempts: eleven within a day. Then the delivery is given up, and stays in the list."""

JITTER: Final = 0.2
"""Share by which a pause is longer or shorter, so that what failed together is not tried together."""

FARTHEST: Final = max(PAUSES) * (1 + JITTER)
"""Seconds: no attempt is planned further ahead. One that seems to be was by a clock that was wrong."""

LEASE_SECONDS: Final = 6 * ATTEMPT_SECONDS
"""After which an attempt that nobody has told the end of is made again."""

MAX_PER_WEBHOOK: Final = 4
"""Attempts at once at one receiver."""

MAX_AT_ONCE: Final = 64
"""Attempts of this process at once."""

MAX_DELIVERIES: Final = 1_000_000
"""Rows; then the oldest go, whatever has become of them."""

TRIMMED_AT_ONCE: Final = 1_000

LOOK_SECONDS: Final = 2.0
"""Between looks for what is due."""


@dataclass(frozen=True, slots=True)
class _Attempt:
    """One delivery that was taken up."""

    seq: int
    delivery_id: str
    webhook_id: str
    url: str
    secret: bytes
    event: str
    body: str


def secret_owner(webhook_id: str) -> str:
    """Whose secret a webhook's is, for the box."""
    return f"webhook:{webhook_id}"


class Deliveries:
    """Makes attempts.

    Args:
        database: the store.
        box: opens webhooks' secrets.
        sender: makes the requests.
        metrics: counts.
        clock: seconds since the epoch; dice: 0 to 1.

    """

    def __init__(
        self,
        database: Database,
        box: SecretBox,
        sender: WebhookSender,
        metrics: ApiMetrics,
        *,
        clock: Callable[[], float] = time.time,
        dice: Callable[[], float] = random.random,
    ) -> None:
        self._database = database
        self._box = box
        self._sender = sender
        self._metrics = metrics
        self._clock = clock
        self._dice = dice
        self._wake = asyncio.Event()
        self._under_way: Counter[str] = Counter()

    def wake(self) -> None:
        """There may be something due."""
        self._wake.set()

    async def run(self) -> None:
        """Deliver until cancelled; attempts under way are then made again later."""
        async with asyncio.TaskGroup() as group:
            while True:
                self._wake.clear()
                try:
                    for attempt in await self._take_up():
                        self._under_way[attempt.webhook_id] += 1
                        group.create_task(self._attempt(attempt))
                except StoreUnavailable as error:
                    log.warning("deliveries not taken up", detail=str(error))
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(LOOK_SECONDS):
                        await self._wake.wait()

    async def _take_up(self) -> list[_Attempt]:
        now = self._clock()
        busy = Counter(self._under_way)
        if not await self._database.read(lambda session: _due(session, now, busy)):
            return []  # most looks find nothing, and cost no write

        def work(tx: Transaction) -> list[_Attempt]:
            attempts: list[_Attempt] = []
            for webhook_id in _due(tx.session, now, busy):
                room = min(MAX_PER_WEBHOOK - busy[webhook_id], MAX_AT_ONCE - busy.total() - len(attempts))
                attempts += self._of(tx, webhook_id, now, max(0, room))
            return attempts

        return await self._database.write(work)

    def _of(self, tx: Transaction, webhook_id: str, now: float, room: int) -> list[_Attempt]:
        webhook = tx.session.scalar(select(WebhookRow).where(WebhookRow.id == webhook_id))
        if webhook is None or not room:
            return []
        rows = tx.session.scalars(
            select(DeliveryRow)
            .where(DeliveryRow.webhook_id == webhook_id, due(now))
            .order_by(DeliveryRow.due_at)
            .limit(room)
        )
        attempts = []
        for row in rows:
            row.due_at = now + LEASE_SECONDS
            row.attempts += 1
            row.updated_at = tx.now
            attempts.append(
                _Attempt(row.seq, row.id, webhook_id, webhook.url, webhook.secret, row.event, row.body)
            )
        return attempts

    async def _attempt(self, attempt: _Attempt) -> None:
        began = time.monotonic()
        try:
            try:
                secret = self._box.open(attempt.secret, secret_owner(attempt.webhook_id)).decode()
            except SecretKeyError as error:
                answer = Answer(None, "its secret cannot be opened; the log says which key is missing")
                log.error("webhook's secret cannot be opened", detail=str(error), key="api.secret_key")
            else:
                answer = await self._sender.send(
                    attempt.url, secret, attempt.event, attempt.delivery_id, attempt.body.encode()
                )
                self._metrics.delivery_seconds.observe(time.monotonic() - began)
            try:
                result = await self._database.write(lambda tx: self._settle(tx, attempt.seq, answer))
            except StoreUnavailable as error:
                log.warning("delivery not noted; it is made again", detail=str(error))
                return
            self._metrics.deliveries.labels(attempt.event, result).inc()
        finally:
            self._under_way[attempt.webhook_id] -= 1
            if self._under_way[attempt.webhook_id] <= 0:
                del self._under_way[attempt.webhook_id]
            self._wake.set()

    def _settle(self, tx: Transaction, seq: int, answer: Answer) -> str:
        """Note what came of an attempt; which word the metrics have for it."""
        row = tx.session.get(DeliveryRow, seq)
        if row is None:
            return "failed"  # its webhook was deleted meanwhile
        row.response_status = answer.status
        row.error = answer.error
        row.updated_at = tx.now
        if not answer.error:
            row.status, row.due_at = "delivered", None
            return "delivered"
        if row.attempts > len(PAUSES):
            row.status, row.due_at = "failed", None
            return "failed"
        pause = PAUSES[row.attempts - 1] * (1 + JITTER * (2 * self._dice() - 1))
        row.due_at = self._clock() + pause
        return "retried"


def _due(session: Session, now: float, busy: Counter[str]) -> list[str]:
    """Active webhooks that something is due for, without those that are busy."""
    found = session.scalars(
        select(DeliveryRow.webhook_id)
        .join(WebhookRow, WebhookRow.id == DeliveryRow.webhook_id)
        .where(due(now), WebhookRow.status == "active")
        .distinct()
    )
    return [each for each in found if busy[each] < MAX_PER_WEBHOOK]


def due(now: float) -> ColumnElement[bool]:
    """Deliveries for which it is time."""
    return or_(DeliveryRow.due_at <= now, DeliveryRow.due_at > now + FARTHEST)


def due_text(row: DeliveryRow) -> str | None:
    """When the next attempt is, as the API shows it."""
    return None if row.due_at is None else timestamp(datetime.fromtimestamp(row.due_at, UTC))


def forget_old(tx: Transaction) -> None:
    """Let the oldest deliveries beyond the cap go."""
    newest = tx.session.scalar(select(func.max(DeliveryRow.seq))) or 0
    oldest = tx.session.scalar(select(func.min(DeliveryRow.seq))) or 0
    if newest - oldest >= MAX_DELIVERIES:
        last = min(newest - MAX_DELIVERIES, oldest + TRIMMED_AT_ONCE)
        tx.session.execute(delete(DeliveryRow).where(DeliveryRow.seq <= last))
