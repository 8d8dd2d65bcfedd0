"""The operations on greetings: audio that voicemails begin with, in place of spoken text.

The audio of an id never changes: gateways fetch it once and keep it. Another recording is another greeting.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
from functools import partial
from pathlib import Path
from typing import Final

import structlog
from aiohttp import web
from sqlalchemy import select
from sqlalchemy.orm import Session

from api.agents import Agents
from api.audio_download import AudioDownload
from api.greeting_audio import telephone_audio
from api.greeting_types import GreetingPage, GreetingQuery, GreetingShown
from api.identifiers import new_id
from api.number_records import NumberRecords
from api.operations import Operation, Reply, Request
from api.pages import page_of, total_of
from api.problems import Problem, not_found
from api.store.database import Database, Transaction
from api.store.tables import AgentRow, GreetingRow, NumberRow
from api.types import ForceQuery, PageQuery
from storage.greetings import greeting_key
from storage.objects import ObjectStore, StorageError

log = structlog.get_logger("api")

TAG: Final = "Greetings"

MAX_UPLOAD: Final = 8 * 1024 * 1024
"""Bytes of a file: two minutes of uncompressed mono at 32 kHz, and a quarter of an hour of MP3."""

MAX_GREETINGS: Final = 1_000
"""Of a store; gateways keep those that are in use on their disks."""

UPLOAD_TYPES: Final = (
    *("audio/wav", "audio/x-wav", "audio/wave", "audio/vnd.wave"),
    *("audio/ogg", "audio/opus", "application/ogg"),
    *("audio/mpeg", "audio/mp3", "application/octet-stream"),
)
"""What a file may be called; what it is, it says itself."""

LISTED: Final = 20
"""Numbers and agents that a refusal names."""

CUT_AT_ONCE: Final = 500
"""Numbers whose references are cut in one step."""


class Greetings:
    """Audio files.

    Args:
        database: the store.
        store: of audio; None if this process has none.
        directory: for drafts.
        numbers, agents: refer to greetings.

    """

    def __init__(
        self,
        database: Database,
        store: ObjectStore | None,
        directory: Path,
        numbers: NumberRecords,
        agents: Agents,
    ) -> None:
        self._database = database
        self._store = store
        self._directory = directory
        self._numbers = numbers
        self._agents = agents
        self._download = AudioDownload(store)

    def operations(self) -> list[Operation]:
        """What can be asked about greetings."""
        one = "/v1/greetings/{greeting_id}"
        return [
            Operation(
                id="uploadGreeting",
                method="POST",
                path="/v1/greetings",
                summary="Upload a greeting: a WAV, Ogg or MP3 file as the body",
                tag=TAG,
                scope="write",
                status=201,
                act=self.upload,
                query=GreetingQuery,
                media=UPLOAD_TYPES,
                response=GreetingShown,
                problems=("too-many",),
                max_body=MAX_UPLOAD,
            ),
            Operation(
                id="listGreetings",
                method="GET",
                path="/v1/greetings",
                summary="List greetings",
                tag=TAG,
                scope="read",
                read=self.list,
                query=PageQuery,
                response=GreetingPage,
            ),
            Operation(
                id="getGreeting",
                method="GET",
                path=one,
                summary="Get a greeting",
                tag=TAG,
                scope="read",
                read=self.get,
                response=GreetingShown,
                problems=("not-found",),
            ),
            Operation(
                id="getGreetingAudio",
                method="GET",
                path=f"{one}/audio",
                summary="Get a greeting's audio as callers hear it, or part of it",
                tag=TAG,
                scope="read",
                content=self.audio,
                content_types=("audio/wav",),
                problems=("not-found", "range-not-satisfiable"),
                etag=True,
            ),
            Operation(
                id="deleteGreeting",
                method="DELETE",
                path=one,
                summary="Delete a greeting; refused while numbers or agents refer to it, unless forced",
                tag=TAG,
                scope="write",
                status=204,
                act=self.delete,
                query=ForceQuery,
                problems=("not-found", "in-use"),
            ),
        ]

    async def upload(self, request: Request) -> Reply:
        """Convert and keep a file: its audio first, so that no greeting is without."""
        query: GreetingQuery = request.query
        if self._store is None:
            raise _unavailable("this API has no store of audio")
        await self._database.read(_refuse_if_full)
        wav, seconds = await asyncio.to_thread(telephone_audio, request.body)
        greeting_id = new_id("grt")
        draft = await asyncio.to_thread(_written, self._directory, wav)
        try:
            await self._store.put(greeting_key(greeting_id), draft)
        except StorageError as error:
            raise _unavailable(f"the store of audio did not take it: {error}") from None
        finally:
            await asyncio.to_thread(draft.unlink, missing_ok=True)

        def keep(tx: Transaction) -> GreetingShown:
            _refuse_if_full(tx.session)
            row = GreetingRow(
                id=greeting_id,
                name=query.name,
                duration_seconds=round(seconds, 3),
                size=len(wav),
                created_at=tx.now,
            )
            tx.session.add(row)
            return _shown(row)

        try:
            made = await self._database.write(keep)
        except BaseException:
            await self._discard(greeting_id)
            raise
        return Reply(made, headers={"Location": f"/v1/greetings/{greeting_id}"})

    def list(self, session: Session, request: Request) -> Reply:
        """List greetings."""
        query: PageQuery = request.query
        return page_of(session, GreetingPage, GreetingRow, query, partial(map, _shown))

    def get(self, session: Session, request: Request) -> Reply:
        """Get a greeting."""
        return Reply(_shown(_find(session, request)))

    async def audio(self, request: Request, raw: web.Request) -> web.StreamResponse:
        """Send a greeting's audio."""
        row = await self._database.read(lambda session: _find(session, request))
        return await self._download.send(raw, greeting_key(row.id), row.id)

    async def delete(self, request: Request) -> Reply:
        """Delete a greeting that nothing refers to, or cut what does; its audio afterwards."""
        query: ForceQuery = request.query

        def forget(tx: Transaction) -> str:
            row = _find(tx.session, request)
            if not query.force:
                _refuse_if_used(tx.session, row.id)
            while numbers := _numbers_with(tx.session, row.id, CUT_AT_ONCE):
                self._numbers.silence(tx, numbers)
            agents = select(AgentRow).where(AgentRow.voicemail_greeting == row.id)
            for agent in list(tx.session.scalars(agents)):
                self._agents.silence(tx, agent)
            tx.session.delete(row)
            return row.id

        await self._discard(await self._database.write(forget))
        return Reply(None)

    async def _discard(self, greeting_id: str) -> None:
        """Delete audio that no greeting has any more; if that fails, it lies there and harms nobody."""
        if self._store is None:
            return
        try:
            await self._store.delete(greeting_key(greeting_id))
        except StorageError as error:
            log.warning("greeting's audio not deleted", key=greeting_key(greeting_id), error=str(error))


def _written(directory: Path, data: bytes) -> Path:
    """A draft on the disk of the data directory, where a local store takes it over by a link."""
    descriptor, name = tempfile.mkstemp(prefix=".greeting-", suffix=".wav", dir=directory)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    return Path(name)


def _refuse_if_full(session: Session) -> None:
    if total_of(session, GreetingRow) >= MAX_GREETINGS:
        raise Problem("too-many", f"there are {MAX_GREETINGS} greetings: delete one first")


def _refuse_if_used(session: Session, greeting_id: str) -> None:
    agents = select(AgentRow.id).where(AgentRow.voicemail_greeting == greeting_id).order_by(AgentRow.seq)
    named = list(session.scalars(agents.limit(LISTED)))
    numbers = [
        {"id": number.id, "phone_number": number.phone_number}
        for number in _numbers_with(session, greeting_id, LISTED)
    ]
    if named or numbers:
        detail = f"numbers or agents refer to {greeting_id}: change them first, or delete with ?force=true"
        raise Problem("in-use", detail, extra={"numbers": numbers, "agents": named})


def _numbers_with(session: Session, greeting_id: str, limit: int) -> list[NumberRow]:
    referring = select(NumberRow).where(NumberRow.voicemail_greeting == greeting_id).order_by(NumberRow.seq)
    return list(session.scalars(referring.limit(limit)))


def _find(session: Session, request: Request) -> GreetingRow:
    greeting_id = request.path["greeting_id"]
    row = session.scalar(select(GreetingRow).where(GreetingRow.id == greeting_id))
    if row is None:
        raise not_found("greeting", greeting_id)
    return row


def _shown(row: GreetingRow) -> GreetingShown:
    return GreetingShown(
        id=row.id,
        name=row.name,
        duration_seconds=row.duration_seconds,
        size_bytes=row.size,
        audio_url=f"/v1/greetings/{row.id}/audio",
        created_at=row.created_at,
    )


def _unavailable(detail: str) -> Problem:
    return Problem("unavailable", detail, headers={"Retry-After": "5"})
