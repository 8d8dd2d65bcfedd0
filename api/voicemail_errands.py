"""What is done about each voicemail besides webhooks: to be sent by email, to be written down.

An errand is a row like a webhook's delivery, under a receiver of its own, and is tried again after pauses.
Who takes one up moves its next attempt on, first: if the process dies, the attempt is made again then.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, TypeAlias

import structlog
from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from api.deliveries import JITTER, LOOK_SECONDS, PAUSES
from api.deliveries import due as is_due
from api.identifiers import new_id
from api.metrics import ApiMetrics
from api.store.database import Database, StoreUnavailable, Transaction
from api.store.tables import DeliveryRow
from routing.call_events import VoicemailCreated, decode_event, encode_event

log = structlog.get_logger("api")

EVENT: Final = "voicemail.created"

EMAIL: Final = "email"
TRANSCRIPTION: Final = "transcription"
"""Receivers, in place of a webhook's id."""

Then: TypeAlias = Callable[[Transaction], None]
"""What is written into the store when an errand is done."""

Attempt: TypeAlias = Callable[[VoicemailCreated, int], Awaitable[Then | None]]
"""Makes an attempt, which is told its number, from 1. Raises ErrandFailedError."""


class ErrandFailedError(Exception):
    """It could not be done. The message holds nothing personal; retryable: it may be later."""

    def __init__(self, text: str, *, retryable: bool) -> None:
        super().__init__(text)
        self.retryable = retryable


def _nothing(tx: Transaction, message: VoicemailCreated) -> None:
    """What happens when nobody minds that an errand is given up."""


class VoicemailErrands:
    """Does one errand after the other.

    Args:
        database: the store.
        metrics: counts.
        receiver: `EMAIL` or `TRANSCRIPTION`.
        attempt: makes one.
        lease: seconds after which an attempt that nobody has told the end of is made again.
        pauses: seconds between attempts.
        given_up: what is written into the store when there will be no further attempt.
        clock: seconds since the epoch; dice: 0 to 1.

    """

    def __init__(
        self,
        database: Database,
        metrics: ApiMetrics,
        receiver: str,
        attempt: Attempt,
        *,
        lease: float,
        pauses: Sequence[float] = PAUSES,
        given_up: Callable[[Transaction, VoicemailCreated], None] = _nothing,
        clock: Callable[[], float] = time.time,
        dice: Callable[[], float] = random.random,
    ) -> None:
        self._database = database
        self._metrics = metrics
        self._receiver = receiver
        self._attempt = attempt
        self._lease = lease
        self._pauses = pauses
        self._given_up = given_up
        self._clock = clock
        self._dice = dice

    def add(self, tx: Transaction, message: VoicemailCreated, *, after: float = 0.0) -> None:
        """Have it done. after: seconds from now."""
        tx.session.add(
            DeliveryRow(
                id=new_id("dlv"),
                webhook_id=self._receiver,
                event_id=message.id,
                event=EVENT,
                body=encode_event(message).decode(),
                status="pending",
                attempts=0,
                due_at=tx.accepted_at + after,
                response_status=None,
                error="",
                created_at=tx.now,
                updated_at=tx.now,
            )
        )

    async def run(self) -> None:
        """Do what is due until cancelled."""
        task = asyncio.current_task()
        # Asked for, because Python 3.11's `wait_for` may swallow it: the mail library waits by that.
        while task is None or not task.cancelling():
            try:
                busy = await self.do_one()
            except StoreUnavailable as error:
                log.warning("errands not taken up", errand=self._receiver, detail=str(error))
                busy = False
            if not busy:
                await asyncio.sleep(LOOK_SECONDS)

    async def do_one(self) -> bool:
        """Make an attempt at the oldest that is due; whether there was one. Raises StoreUnavailable."""
        now = self._clock()
        due = (
            select(DeliveryRow)
            .where(DeliveryRow.webhook_id == self._receiver, is_due(now))
            .order_by(DeliveryRow.due_at)
            .limit(1)
        )
        if await self._database.read(lambda session: session.scalar(due)) is None:
            return False

        def take_up(tx: Transaction) -> tuple[int, int, str] | None:
            row = tx.session.scalar(due)
            if row is None:
                return None  # another process was quicker
            row.due_at = now + self._lease
            row.attempts += 1
            return row.seq, row.attempts, row.body

        taken = await self._database.write(take_up)
        if taken is None:
            return True
        seq, attempts, body = taken
        message = decode_event(body.encode())
        if not isinstance(message, VoicemailCreated):
            raise TypeError(f"delivery {seq} is of no voicemail")
        error, retryable, then = "", True, None
        try:
            then = await self._attempt(message, attempts)
        except ErrandFailedError as failure:
            error, retryable = str(failure), failure.retryable

        def settle(tx: Transaction) -> str:
            result = self._settle(tx, seq, error, retryable=retryable)
            if result == "failed":
                self._given_up(tx, message)
            elif result == "delivered" and then is not None:
                then(tx)
            return result

        result = await self._database.write(settle)
        self._metrics.deliveries.labels(f"voicemail.{self._receiver}", result).inc()
        if error:
            log.warning(
                "voicemail's errand failed",
                errand=self._receiver,
                result=result,
                error=error,
                voicemail_id=message.voicemail_id,
            )
        return True

    def _settle(self, tx: Transaction, seq: int, error: str, *, retryable: bool) -> str:
        """Note what came of an attempt; which word the metrics have for it."""
        row = tx.session.get(DeliveryRow, seq)
        if row is None:
            return "dropped"  # its voicemail was deleted meanwhile
        row.error, row.updated_at = error, tx.now
        if not error:
            row.status, row.due_at = "delivered", None
            return "delivered"
        if not retryable or row.attempts > len(self._pauses):
            row.status, row.due_at = "failed", None
            return "failed"
        row.due_at = self._clock() + self._pauses[row.attempts - 1] * (1 + JITTER * (2 * self._dice() - 1))
        return "retried"


def hasten(tx: Transaction, receiver: str, event_id: str) -> None:
    """Have an errand that was put off, and never tried, done now."""
    mine = (DeliveryRow.webhook_id == receiver, DeliveryRow.event_id == event_id)
    untried = (DeliveryRow.status == "pending", DeliveryRow.attempts == 0)
    tx.session.execute(update(DeliveryRow).where(*mine, *untried).values(due_at=tx.accepted_at))


def drop(tx: Transaction, event_id: str) -> None:
    """Forget all errands about a voicemail: it is deleted."""
    receivers = DeliveryRow.webhook_id.in_((EMAIL, TRANSCRIPTION))
    tx.session.execute(delete(DeliveryRow).where(receivers, DeliveryRow.event_id == event_id))


def errand_of(session: Session, receiver: str, delivery_id: str) -> DeliveryRow | None:
    """One errand by its id."""
    return session.scalar(
        select(DeliveryRow).where(DeliveryRow.webhook_id == receiver, DeliveryRow.id == delivery_id)
    )
