"""Reading the store as the routing cache needs it: changes in order, and records in pages."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from sqlalchemy import delete, or_, select
from sqlalchemy.orm import Session

from api.agents import Agents
from api.number_records import routed
from api.place import Place
from api.store.database import Transaction
from api.store.tables import AgentRow, NumberRow, OutboxRow, StateRow
from routing.cache import BATCH, Change, Kind, encode

PAGE: Final = 250
"""Records read at once: building them takes some milliseconds."""

KEPT: Final = 100_000
"""Changes kept after they are in Redis: one that comes back with an older copy goes on from there."""

TAKES_CALLS: Final = or_(NumberRow.provisioning.is_(None), NumberRow.provisioning == "wiring")
"""Of a number: see `api.provisioning_types.TAKES_CALLS`."""

MAX_PENDING: Final = 1_000_000
"""Changes kept for a Redis that is away; with more, it is compared with the store instead."""


class Outbox:
    """What the publisher asks the store."""

    def __init__(self, agents: Agents) -> None:
        self._agents = agents

    def head(self, session: Session) -> Place:
        """Where the store is."""
        state = session.scalars(select(StateRow)).one()
        return Place(state.store_id, state.revision, state.mark)

    def after(self, session: Session, place: Place) -> list[OutboxRow] | None:
        """The changes after a place, `BATCH` at most; None if the log does not lead on from there."""
        rows = list(
            session.scalars(
                select(OutboxRow)
                .where(OutboxRow.revision >= place.revision)
                .order_by(OutboxRow.revision)
                .limit(BATCH + 1)
            )
        )
        if place.revision == 0:
            return rows if not rows or rows[0].revision == 1 else None
        if not rows or (rows[0].revision, rows[0].mark) != (place.revision, place.mark):
            return None
        return rows[1:]

    def trim(self, tx: Transaction, published: int) -> None:
        """Delete what nobody needs any more."""
        last = max(min(published - KEPT, tx.state.revision), tx.state.revision - MAX_PENDING)
        tx.session.execute(delete(OutboxRow).where(OutboxRow.revision <= last))

    def page(self, session: Session, kind: Kind, after: int) -> tuple[int, list[str]]:
        """The next records after a row: the last one's row, and the keys. The same row at the end."""
        table, key = (AgentRow, AgentRow.id) if kind == "agent" else (NumberRow, NumberRow.phone_number)
        rows = session.execute(
            select(table.seq, key).where(table.seq > after).order_by(table.seq).limit(PAGE)
        ).all()
        return (rows[-1][0] if rows else after), [row[1] for row in rows]

    def records(self, session: Session, kind: Kind, keys: Sequence[str]) -> dict[str, bytes]:
        """Encoded records by key; those that the cache should not hold are left out."""
        if kind == "agent":
            agents = session.scalars(select(AgentRow).where(AgentRow.id.in_(keys)))
            return {row.id: encode(self._agents.routed(row)) for row in agents}
        where = (NumberRow.phone_number.in_(keys), TAKES_CALLS)
        return {
            row.phone_number: encode(routed(row)) for row in session.scalars(select(NumberRow).where(*where))
        }

    def present(self, session: Session, kind: Kind, keys: Sequence[str]) -> set[str]:
        """Which of these keys the store has."""
        if kind == "agent":
            return set(session.scalars(select(AgentRow.id).where(AgentRow.id.in_(keys))))
        where = (NumberRow.phone_number.in_(keys), TAKES_CALLS)
        return set(session.scalars(select(NumberRow.phone_number).where(*where)))

    def changes(self, rows: Sequence[OutboxRow]) -> list[Change]:
        """Changes as the cache takes them. Raises SecretKeyError."""
        return [
            Change("number", row.key, row.value, row.accepted_at)
            if row.kind == "number"
            else Change("agent", row.key, row.value and self._agents.published(row.value), row.accepted_at)
            for row in rows
        ]
