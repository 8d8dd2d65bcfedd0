"""Voicemails on their way to a mailbox: rows like webhooks' deliveries, tried again at the same pauses."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from typing import Final

import structlog
from sqlalchemy import select

from api.deliveries import JITTER, LOOK_SECONDS, PAUSES
from api.email_sender import ATTEMPT_SECONDS, EmailSender, SendingFailedError, Voice
from api.identifiers import new_id
from api.metrics import ApiMetrics
from api.store.database import Database, StoreUnavailable, Transaction
from api.store.tables import DeliveryRow
from routing.call_events import Event, VoicemailCreated, decode_event, encode_event
from storage.objects import ObjectNotFound, ObjectStore, StorageError

log = structlog.get_logger("api")

RECEIVER: Final = "email"
"""In place of a webhook's id."""

METRIC: Final = "voicemail.email"

LEASE_SECONDS: Final = 2 * ATTEMPT_SECONDS + 60
"""After which an attempt that nobody has told the end of is made again."""

WAITS_FOR_AUDIO: Final = 3
"""Attempts until a message is sent without its audio, which may still be on its way to its store."""


class VoicemailEmails:
    """Sends one message after the other.

    Args:
        database: the store.
        recordings: where audio is; None if that is not known to this process.
        sender: talks to the server.
        metrics: counts.
        clock: seconds since the epoch; dice: 0 to 1.

    """

    def __init__(
        self,
        database: Database,
        recordings: ObjectStore | None,
        sender: EmailSender,
        metrics: ApiMetrics,
        *,
        clock: Callable[[], float] = time.time,
        dice: Callable[[], float] = random.random,
    ) -> None:
        self._database = database
        self._recordings = recordings
        self._sender = sender
        self._metrics = metrics
        self._clock = clock
        self._dice = dice

    def take(self, tx: Transaction, event: Event) -> None:
        """Have a voicemail sent."""
        if not isinstance(event, VoicemailCreated):
            return
        row = DeliveryRow(
            id=new_id("dlv"),
            webhook_id=RECEIVER,
            event_id=event.id,
            event="voicemail.created",
            body=encode_event(event).decode(),
            status="pending",
            attempts=0,
            due_at=tx.accepted_at,
            response_status=None,
            error="",
            created_at=tx.now,
            updated_at=tx.now,
        )
        tx.session.add(row)

    async def run(self) -> None:
        """Send until cancelled."""
        while True:
            try:
                busy = await self.send_one()
            except StoreUnavailable as error:
                log.warning("emails not taken up", detail=str(error))
                busy = False
            if not busy:
                await asyncio.sleep(LOOK_SECONDS)

    async def send_one(self) -> bool:
        """Make an attempt at the oldest that is due; whether there was one. Raises StoreUnavailable."""
        now = self._clock()
        due = (
            select(DeliveryRow)
            .where(DeliveryRow.webhook_id == RECEIVER, DeliveryRow.due_at <= now)
            .order_by(DeliveryRow.due_at)
            .limit(1)
        )
        if await self._database.read(lambda session: session.scalar(due)) is None:
            return False

        def take_up(tx: Transaction) -> tuple[int, int, str] | None:
            row = tx.session.scalar(due)
            if row is None:
                return None  # another process was quicker
            row.due_at = now + LEASE_SECONDS
            row.attempts += 1
            return row.seq, row.attempts, row.body

        taken = await self._database.write(take_up)
        if taken is None:
            return True
        seq, attempts, body = taken
        error, retryable = "", True
        try:
            await self._sender.send(await self._voice(body, attempts))
        except SendingFailedError as failure:
            error, retryable = str(failure), failure.retryable
        result = await self._database.write(lambda tx: self._settle(tx, seq, error, retryable=retryable))
        self._metrics.deliveries.labels(METRIC, result).inc()
        if error:
            log.warning("voicemail not sent by email", result=result, error=error, delivery_id=seq)
        return True

    async def _voice(self, body: str, attempts: int) -> Voice:
        event = decode_event(body.encode())
        if not isinstance(event, VoicemailCreated):
            raise SendingFailedError("no voicemail", retryable=False)
        audio = None
        try:
            audio = await self._audio(event.recording_key)
        except ObjectNotFound:
            if attempts <= WAITS_FOR_AUDIO:
                raise SendingFailedError("its audio is not in its store yet", retryable=True) from None
        except StorageError as error:
            raise SendingFailedError(str(error), retryable=True) from None
        return Voice(
            voicemail_id=event.voicemail_id,
            number=event.to_number,
            caller=event.from_number,
            created_at=event.created_at,
            seconds=event.duration_seconds,
            too_short=event.too_short,
            audio=audio,
            suffix=event.recording_key.rpartition(".")[2],
        )

    async def _audio(self, key: str) -> bytes | None:
        """A recording, None if it is too large or nobody knows where it is. Raises StorageError."""
        if self._recordings is None:
            return None
        info = await self._recordings.head(key)
        if info.size > self._sender.mailbox.max_attachment:
            return None
        return b"".join([piece async for piece in self._recordings.read(key)])

    def _settle(self, tx: Transaction, seq: int, error: str, *, retryable: bool) -> str:
        row = tx.session.get(DeliveryRow, seq)
        if row is None:
            return "failed"
        row.error, row.updated_at = error, tx.now
        if not error:
            row.status, row.due_at = "delivered", None
            return "delivered"
        if not retryable or row.attempts > len(PAUSES):
            row.status, row.due_at = "failed", None
            return "failed"
        row.due_at = self._clock() + PAUSES[row.attempts - 1] * (1 + JITTER * (2 * self._dice() - 1))
        return "retried"
