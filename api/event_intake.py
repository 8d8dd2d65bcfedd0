"""Takes events of calls out of Redis into the store: voicemails into the box, deliveries for receivers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

import structlog
from sqlalchemy import delete, select

from api.identifiers import timestamp
from api.metrics import ApiMetrics
from api.store.database import Database, StoreUnavailable, Transaction
from api.store.tables import EventRow
from routing.call_events import CallEvent, CallRecorded, Event, VoicemailCreated
from routing.call_records import CallShown
from routing.event_stream import FAILURES, EventReader

log = structlog.get_logger("api")

RETRY_SECONDS: Final = 1.0
"""Before Redis or the store is asked again after it failed."""

REMEMBERED: Final = timedelta(days=30)
"""How long an event is known as taken: its gateway offers a voicemail again within hours at most."""

Taken = Callable[[Transaction, CallEvent], None]
"""Does in a transaction what an event asks for; called once for each event."""

Kept = Callable[[Transaction, Sequence[CallShown]], None]
"""Keeps calls in a transaction; may be given one that it has."""


class EventIntake:
    """One consumer.

    Args:
        database: the store.
        reader: of the stream.
        takers: are given each event, in this order.
        keep: is given calls that are over, for their history.
        metrics: counts.
        on_taken: called after events have been taken.

    """

    def __init__(
        self,
        database: Database,
        reader: EventReader,
        takers: Sequence[Taken],
        metrics: ApiMetrics,
        on_taken: Callable[[], None] = lambda: None,
        keep: Kept = lambda tx, calls: None,
    ) -> None:
        self._database = database
        self._reader = reader
        self._takers = takers
        self._metrics = metrics
        self._on_taken = on_taken
        self._keep = keep

    async def run(self) -> None:
        """Take until cancelled. An event is acknowledged when the store has it, and not before."""
        told = ""
        while True:
            try:
                await self.take_some()
                told = ""
            except (StoreUnavailable, *FAILURES) as error:
                if str(error) != told:
                    told = str(error)
                    log.error("call events not taken", detail=told)
                await asyncio.sleep(RETRY_SECONDS)

    async def take_some(self) -> None:
        """Take what there is; waits a while for it. Raises StoreUnavailable or one of `FAILURES`."""
        entries = await self._reader.read()
        if not entries:
            return
        events = [event for _, event in entries if event is not None]
        if len(events) < len(entries):
            log.error("call events not understood", count=len(entries) - len(events))
        await self._database.write(lambda tx: self.take(tx, events))
        voicemails = [event.voicemail_id for event in events if isinstance(event, VoicemailCreated)]
        await self._reader.done([entry_id for entry_id, _ in entries], voicemails)
        for event in events:
            self._metrics.events.labels(event.__struct_config__.tag).inc()
        self._on_taken()

    def take(self, tx: Transaction, events: Sequence[Event]) -> None:
        """Take events that were not taken before."""
        self._keep(tx, [event.call for event in events if isinstance(event, CallRecorded)])
        told = [event for event in events if isinstance(event, CallEvent)]
        ids = {event.id for event in told}
        known = set(tx.session.scalars(select(EventRow.id).where(EventRow.id.in_(ids))))
        for event in told:
            if event.id in known:
                continue
            known.add(event.id)
            tx.session.add(EventRow(id=event.id, taken_at=tx.now))
            for taker in self._takers:
                taker(tx, event)
        tx.session.flush()


def forget_old(tx: Transaction) -> None:
    """Forget which events were taken long ago."""
    before = timestamp(datetime.now(UTC) - REMEMBERED)
    tx.session.execute(delete(EventRow).where(EventRow.taken_at < before))
