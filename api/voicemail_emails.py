"""Voicemails on their way to a mailbox, with their audio and, if there is one, their transcript."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from api.email_sender import ATTEMPT_SECONDS, EmailSender, SendingFailedError, Voice
from api.metrics import ApiMetrics
from api.number_records import routing_of
from api.store.database import Database, Transaction
from api.store.tables import NumberRow, VoicemailRow
from api.voicemail_errands import EMAIL, ErrandFailedError, VoicemailErrands
from routing.call_events import CallEvent, VoicemailCreated
from storage.objects import ObjectNotFound, ObjectStore, StorageError

LEASE_SECONDS: Final = 2 * ATTEMPT_SECONDS + 60
"""After which an attempt that nobody has told the end of is made again."""

WAITS_FOR_AUDIO: Final = 3
"""Attempts until a message is sent without its audio, which may still be on its way to its store."""

TRANSCRIPT_SECONDS: Final = 120.0
"""That an email waits for its message's transcript; then it is sent without."""


class VoicemailEmails:
    """Sends one message after the other.

    Args:
        database: the store.
        recordings: where audio is; None if that is not known to this process.
        sender: talks to the server.
        metrics: counts.
        transcribed: whether messages are written down, so that emails wait for it.
        clock: seconds since the epoch; dice: 0 to 1.

    """

    def __init__(
        self,
        database: Database,
        recordings: ObjectStore | None,
        sender: EmailSender,
        metrics: ApiMetrics,
        *,
        transcribed: bool = False,
        clock: Callable[[], float] = time.time,
        dice: Callable[[], float] = random.random,
    ) -> None:
        self._database = database
        self._recordings = recordings
        self._sender = sender
        self._transcribed = transcribed
        self._errands = VoicemailErrands(
            database, metrics, EMAIL, self._send, lease=LEASE_SECONDS, clock=clock, dice=dice
        )
        self.run = self._errands.run
        self.send_one = self._errands.do_one

    def take(self, tx: Transaction, event: CallEvent) -> None:
        """Have a voicemail sent, if there is an address for it."""
        if not isinstance(event, VoicemailCreated):
            return
        if not recipient(tx.session, event.to_number, self._sender.mailbox.to):
            return
        waits = self._transcribed and not event.too_short
        self._errands.add(tx, event, after=TRANSCRIPT_SECONDS if waits else 0.0)

    async def _send(self, message: VoicemailCreated, attempts: int) -> None:
        """One attempt. Raises ErrandFailedError."""

        def look(session: Session) -> tuple[str, str]:
            row = session.scalar(select(VoicemailRow).where(VoicemailRow.id == message.voicemail_id))
            to = recipient(session, message.to_number, self._sender.mailbox.to)
            return to, (row.transcript or "") if row is not None else ""

        to, transcript = await self._database.read(look)
        if not to:
            raise ErrandFailedError("there is no address for it any more", retryable=False)
        audio = None
        try:
            audio = await self._audio(message.recording_key)
        except ObjectNotFound:
            if attempts <= WAITS_FOR_AUDIO:
                raise ErrandFailedError("its audio is not in its store yet", retryable=True) from None
        except StorageError as error:
            raise ErrandFailedError(str(error), retryable=True) from None
        voice = Voice(
            to=to,
            voicemail_id=message.voicemail_id,
            number=message.to_number,
            caller=message.from_number,
            created_at=message.created_at,
            seconds=message.duration_seconds,
            too_short=message.too_short,
            transcript=transcript,
            audio=audio,
            suffix=message.recording_key.rpartition(".")[2],
        )
        try:
            await self._sender.send(voice)
        except SendingFailedError as error:
            raise ErrandFailedError(str(error), retryable=error.retryable) from None

    async def _audio(self, key: str) -> bytes | None:
        """A recording, None if it is too large or nobody knows where it is. Raises StorageError."""
        if self._recordings is None:
            return None
        info = await self._recordings.head(key)
        if info.size > self._sender.mailbox.max_attachment:
            return None
        return b"".join([piece async for piece in self._recordings.read(key)])


def recipient(session: Session, phone_number: str, default: str) -> str:
    """Where messages for a number go: its own address, else the configuration's; empty for nowhere."""
    row = session.scalar(select(NumberRow).where(NumberRow.phone_number == phone_number))
    routing = routing_of(row) if row is not None else None
    return (routing.voicemail_email if routing is not None else None) or default
