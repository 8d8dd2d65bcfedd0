"""The operations on voicemails: list, get, hear, mark as heard, delete."""

from __future__ import annotations

from functools import partial
from typing import Any, Final

import msgspec
from aiohttp import web
from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from api import voicemail_errands as errands
from api.api_keys import parse_time
from api.audio_download import AUDIO_TYPES, AudioDownload
from api.decoding import decode
from api.merge import merge_patch
from api.operations import Operation, Reply, Request
from api.pages import cursor_of, page_of, seq_of
from api.phone_numbers import check_patch
from api.problems import Problem, not_found
from api.store.database import Database, Transaction
from api.store.tables import DeliveryRow, VoicemailRow
from api.transcriptions import transcribed_id
from api.voicemail_types import (
    VoicemailCursorPage,
    VoicemailCursorQuery,
    VoicemailFilters,
    VoicemailListQuery,
    VoicemailPage,
    VoicemailShown,
    VoicemailUpdate,
)
from routing.call_events import CallEvent, VoicemailCreated
from storage.objects import ObjectStore, StorageError

TAG: Final = "Voicemails"

IMMUTABLE: Final = frozenset(VoicemailShown.__struct_fields__) - {"heard"}

MAX_MESSAGES: Final = 1_000_000
"""In the box; then the oldest go. Their recordings have a retention of their own."""

TRIMMED_AT_ONCE: Final = 1_000
"""Messages beyond that which go in one step."""


class Voicemails:
    """The box.

    Args:
        database: the store.
        recordings: where audio is; None if that is not known to this process.

    """

    def __init__(self, database: Database, recordings: ObjectStore | None) -> None:
        self._database = database
        self._recordings = recordings
        self._download = AudioDownload(recordings)

    def operations(self) -> list[Operation]:
        """What can be asked about messages."""
        one = "/v1/voicemails/{voicemail_id}"
        return [
            Operation(
                id="listVoicemails",
                method="GET",
                path="/v1/voicemails",
                summary="List messages, newest first",
                tag=TAG,
                scope="read",
                read=self.list,
                lags=True,
                query=VoicemailListQuery,
                response=VoicemailPage,
            ),
            Operation(
                id="listVoicemailsByCursor",
                method="GET",
                path="/v1/voicemails/cursor",
                summary="List messages, newest first, by cursor: for large sets",
                tag=TAG,
                scope="read",
                read=self.cursor_page,
                lags=True,
                query=VoicemailCursorQuery,
                response=VoicemailCursorPage,
            ),
            Operation(
                id="getVoicemail",
                method="GET",
                path=one,
                summary="Get a message",
                tag=TAG,
                scope="read",
                read=self.get,
                response=VoicemailShown,
                problems=("not-found",),
                etag=True,
            ),
            Operation(
                id="getVoicemailAudio",
                method="GET",
                path=f"{one}/audio",
                summary="Get a message's audio, or part of it",
                tag=TAG,
                scope="read",
                content=self.audio,
                content_types=AUDIO_TYPES,
                problems=("not-found", "range-not-satisfiable"),
                etag=True,
            ),
            Operation(
                id="updateVoicemail",
                method="PATCH",
                path=one,
                summary="Mark a message as heard, or as not heard",
                tag=TAG,
                scope="write",
                write=self.update,
                request=VoicemailUpdate,
                response=VoicemailShown,
                problems=("not-found", "precondition-failed"),
                etag=True,
                example={"heard": True},
            ),
            Operation(
                id="deleteVoicemail",
                method="DELETE",
                path=one,
                summary="Delete a message and its audio",
                tag=TAG,
                scope="write",
                status=204,
                act=self.delete,
                problems=("not-found", "precondition-failed"),
            ),
        ]

    def take(self, tx: Transaction, event: CallEvent) -> None:
        """Put a message into the box."""
        if not isinstance(event, VoicemailCreated) or _by_id(tx.session, event.voicemail_id) is not None:
            return
        tx.session.add(
            VoicemailRow(
                id=event.voicemail_id,
                number=event.to_number[:64],
                caller=event.from_number,
                call_id=event.call_id,
                carrier=event.carrier,
                agent_id=event.agent_id,
                audio=event.recording_key,
                duration_seconds=event.duration_seconds,
                too_short=event.too_short,
                heard=False,
                created_at=event.created_at,
                updated_at=tx.now,
                version=1,
            )
        )

    def list(self, session: Session, request: Request) -> Reply:
        """List messages by offset."""
        query: VoicemailListQuery = request.query
        where, show = _conditions(query), partial(map, shown)
        return page_of(session, VoicemailPage, VoicemailRow, query, show, *where, newest_first=True)

    def cursor_page(self, session: Session, request: Request) -> Reply:
        """List messages by cursor."""
        query: VoicemailCursorQuery = request.query
        where = _conditions(query)
        if query.cursor:
            where.append(VoicemailRow.seq < seq_of(query.cursor))
        wanted = select(VoicemailRow).where(*where).order_by(VoicemailRow.seq.desc())
        rows = list(session.scalars(wanted.limit(query.limit + 1)))
        more = len(rows) > query.limit
        rows = rows[: query.limit]
        page = VoicemailCursorPage(
            items=[shown(row) for row in rows],
            next_cursor=cursor_of(rows[-1].seq) if more else None,
            has_more=more,
            limit=query.limit,
        )
        return Reply(page)

    def get(self, session: Session, request: Request) -> Reply:
        """Get a message."""
        row = _find(session, request)
        return Reply(shown(row), etag_of(row))

    async def audio(self, request: Request, raw: web.Request) -> web.StreamResponse:
        """Send a message's audio."""
        row = await self._database.read(lambda session: _find(session, request))
        return await self._download.send(raw, row.audio, row.id)

    def update(self, tx: Transaction, request: Request) -> Reply:
        """Mark a message."""
        row = _find(tx.session, request)
        check_patch(request.body, VoicemailUpdate, IMMUTABLE)
        present = VoicemailUpdate(heard=row.heard)
        update = decode(merge_patch(msgspec.to_builtins(present), request.body), VoicemailUpdate)
        request.check_unchanged(etag_of(row))
        row.heard = update.heard
        row.updated_at = tx.now
        row.version += 1
        return Reply(shown(row), etag_of(row))

    async def delete(self, request: Request) -> Reply:
        """Delete a message: its audio first, so that none is left that nobody can find any more.

        What is still to be done about it is not done, and its transcript is nowhere any more.
        """
        row = await self._database.read(lambda session: _find(session, request))
        request.check_unchanged(etag_of(row))
        if self._recordings is not None:
            try:
                await self._recordings.delete(row.audio)
            except StorageError as error:
                if error.retryable:
                    detail = "the store of recordings did not delete the audio; the message is still there"
                    raise Problem("unavailable", detail, headers={"Retry-After": "5"}) from None

        def forget(tx: Transaction) -> None:
            tx.session.execute(delete(VoicemailRow).where(VoicemailRow.seq == row.seq))
            errands.drop(tx, f"evt_{row.id}")
            told = DeliveryRow.event_id == transcribed_id(row.id)  # they hold what was said
            tx.session.execute(delete(DeliveryRow).where(told))

        await self._database.write(forget)
        return Reply(None)


def forget_old(tx: Transaction) -> None:
    """Let the oldest messages beyond the cap go."""
    newest = tx.session.scalar(select(func.max(VoicemailRow.seq))) or 0
    oldest = tx.session.scalar(select(func.min(VoicemailRow.seq))) or 0
    if newest - oldest >= MAX_MESSAGES:
        last = min(newest - MAX_MESSAGES, oldest + TRIMMED_AT_ONCE)
        tx.session.execute(delete(VoicemailRow).where(VoicemailRow.seq <= last))


def shown(row: VoicemailRow) -> VoicemailShown:
    """A message as the API shows it."""
    transcription: Any = row.transcription
    return VoicemailShown(
        id=row.id,
        phone_number=row.number,
        from_number=row.caller or None,
        call_id=row.call_id,
        carrier=row.carrier,
        agent_id=row.agent_id,
        duration_seconds=row.duration_seconds,
        too_short=row.too_short,
        heard=row.heard,
        transcription=transcription,
        transcript=row.transcript,
        audio_url=f"/v1/voicemails/{row.id}/audio",
        created_at=row.created_at,
        updated_at=row.updated_at,
        version=row.version,
    )


def etag_of(row: VoicemailRow) -> str:
    """Changes whenever the message does."""
    return f'"{row.id}.{row.version}"'


def _conditions(filters: VoicemailFilters) -> list[Any]:
    where: list[Any] = []
    if filters.phone_number is not None:
        where.append(VoicemailRow.number == filters.phone_number)
    if filters.agent_id is not None:
        where.append(VoicemailRow.agent_id == filters.agent_id)
    if filters.heard is not None:
        where.append(VoicemailRow.heard == filters.heard)
    if filters.too_short is not None:
        where.append(VoicemailRow.too_short == filters.too_short)
    if filters.created_since is not None:
        where.append(VoicemailRow.created_at >= parse_time(filters.created_since, "created_since"))
    if filters.created_before is not None:
        where.append(VoicemailRow.created_at < parse_time(filters.created_before, "created_before"))
    return where


def _by_id(session: Session, voicemail_id: str) -> VoicemailRow | None:
    return session.scalar(select(VoicemailRow).where(VoicemailRow.id == voicemail_id))


def _find(session: Session, request: Request) -> VoicemailRow:
    voicemail_id = request.path["voicemail_id"]
    row = _by_id(session, voicemail_id)
    if row is None:
        raise not_found("voicemail", voicemail_id)
    return row
