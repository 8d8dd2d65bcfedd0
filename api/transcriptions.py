"""Voicemails written down: the transcript goes to the message, to webhooks, and into the message's email."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from api.metrics import ApiMetrics
from api.store.database import Database, Transaction
from api.store.tables import VoicemailRow
from api.transcriber import MAX_AUDIO, Transcriber, TranscriptionFailedError
from api.voicemail_errands import EMAIL, TRANSCRIPTION, ErrandFailedError, Then, VoicemailErrands, hasten
from routing.call_events import CallEvent, VoicemailCreated
from storage.objects import ObjectStore, StorageError

PAUSES: Final = (5.0, 30.0, 120.0, 600.0, 1800.0)
"""Seconds between attempts: six within an hour, after which somebody has listened to the message."""


class VoicemailTranscribed(CallEvent, frozen=True, tag="voicemail.transcribed", kw_only=True):
    """What a caller said is written down."""

    voicemail_id: str
    transcript: str


class Transcriptions:
    """Has one message after the other written down.

    Args:
        database: the store.
        recordings: where audio is; None if that is not known to this process.
        transcriber: asks the endpoint.
        timeout: seconds that one question may take.
        metrics: counts.
        on_transcribed: tells webhooks.
        clock: seconds since the epoch; dice: 0 to 1.

    """

    def __init__(
        self,
        database: Database,
        recordings: ObjectStore | None,
        transcriber: Transcriber,
        metrics: ApiMetrics,
        *,
        timeout: float,
        on_transcribed: Callable[[Transaction, VoicemailTranscribed], None],
        clock: Callable[[], float] = time.time,
        dice: Callable[[], float] = random.random,
    ) -> None:
        self._database = database
        self._recordings = recordings
        self._transcriber = transcriber
        self._on_transcribed = on_transcribed
        self._errands = VoicemailErrands(
            database,
            metrics,
            TRANSCRIPTION,
            self._transcribe,
            lease=2 * timeout + 60,
            pauses=PAUSES,
            given_up=self._given_up,
            clock=clock,
            dice=dice,
        )
        self.run = self._errands.run
        self.do_one = self._errands.do_one

    def take(self, tx: Transaction, event: CallEvent) -> None:
        """Have a voicemail written down, unless nobody said anything."""
        if not isinstance(event, VoicemailCreated) or event.too_short:
            return
        row = _row(tx.session, event)
        if row is not None:
            row.transcription = "pending"
            self._errands.add(tx, event)

    async def _transcribe(self, message: VoicemailCreated, attempts: int) -> Then:
        """One attempt. Raises ErrandFailedError."""
        name = f"{message.voicemail_id}.{message.recording_key.rpartition('.')[2]}"
        try:
            audio, content_type = await self._audio(message.recording_key)
            text = await self._transcriber.transcript(name, audio, content_type)
        except StorageError as error:  # also if it is not there: it may still be on its way
            raise ErrandFailedError(str(error), retryable=True) from None
        except TranscriptionFailedError as error:
            raise ErrandFailedError(str(error), retryable=error.retryable) from None
        return lambda tx: self._keep(tx, message, text)

    def _keep(self, tx: Transaction, message: VoicemailCreated, text: str) -> None:
        row = _row(tx.session, message)
        if row is None:
            return
        row.transcript, row.transcription = text, "done"
        _changed(tx, row, message)
        told = VoicemailTranscribed(
            id=transcribed_id(message.voicemail_id),
            call_id=message.call_id,
            created_at=tx.now,
            agent_id=message.agent_id,
            to_number=message.to_number,
            from_number=message.from_number,
            carrier=message.carrier,
            voicemail_id=message.voicemail_id,
            transcript=text,
        )
        self._on_transcribed(tx, told)

    def _given_up(self, tx: Transaction, message: VoicemailCreated) -> None:
        row = _row(tx.session, message)
        if row is not None:
            row.transcription = "failed"
            _changed(tx, row, message)

    async def _audio(self, key: str) -> tuple[bytes, str]:
        """A recording and its type. Raises StorageError, ErrandFailedError."""
        if self._recordings is None:
            raise ErrandFailedError("this API has no store of recordings", retryable=False)
        info = await self._recordings.head(key)
        if info.size > MAX_AUDIO:
            raise ErrandFailedError(f"its audio has more than {MAX_AUDIO} bytes", retryable=False)
        return b"".join([piece async for piece in self._recordings.read(key)]), info.content_type


def transcribed_id(voicemail_id: str) -> str:
    """The id of the event that a message is written down."""
    return f"evt_{voicemail_id}_transcribed"


def _changed(tx: Transaction, row: VoicemailRow, message: VoicemailCreated) -> None:
    row.updated_at = tx.now
    row.version += 1
    hasten(tx, EMAIL, message.id)


def _row(session: Session, message: VoicemailCreated) -> VoicemailRow | None:
    return session.scalar(select(VoicemailRow).where(VoicemailRow.id == message.voicemail_id))
