"""The history of calls in the store: kept in batches, found by numbers and ids, bounded by count and age."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final, cast

import msgspec
from sqlalchemy import ColumnElement, Select, Table, and_, delete, func, insert, or_, select, union_all
from sqlalchemy.orm import Session

from api.api_keys import parse_time
from api.call_types import CallPage, CallQuery
from api.identifiers import timestamp
from api.pages import cursor_of, seq_of
from api.store.database import Transaction
from api.store.tables import CallLegRow, CallRow
from routing.call_records import CallShown, decode_call, encode_call, masked

DEFAULT_CALLS: Final = 100_000
DEFAULT_DAYS: Final = 30.0

MAX_FOUND: Final = 1_000
"""Calls that each way of a search looks at, the newest: nobody pages through more."""

MIN_PREFIX: Final = 3
"""Digits of which a search by number is one: fewer would be half of all calls."""

TRIMMED_AT_ONCE: Final = 1_000
"""Calls that go in one step."""

_COLUMNS: Final = (
    *("id", "started_at", "number", "caller"),
    *("carrier", "carrier_call_id", "outcome", "refused"),
)
"""That calls are found by."""

_KEEP_CALLS: Final = """
INSERT INTO calls (id, started_at, number, caller, carrier, carrier_call_id, outcome, refused, body)
SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]'), json_extract(value, '$[2]'),
       json_extract(value, '$[3]'), json_extract(value, '$[4]'), json_extract(value, '$[5]'),
       json_extract(value, '$[6]'), json_extract(value, '$[7]'), CAST(json_extract(value, '$[8]') AS BLOB)
FROM json_each(?) WHERE true ORDER BY key ON CONFLICT (id) DO NOTHING
"""
_KEEP_LEGS: Final = """
INSERT INTO call_legs (sip_call_id, call_id)
SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]')
FROM json_each(?) WHERE true ON CONFLICT DO NOTHING
"""
"""For SQLite: a batch is one statement with one parameter. A statement a row gives the interpreter away and
waits for it again at each, and holds up the event loop of a busy gateway as often."""

AFTER_ANY: Final = "\U0010ffff"
"""Sorts after every character that a number has."""


class CallHistory:
    """What is known of calls that are over.

    Args:
        max_calls: kept at most; the oldest go.
        days: kept for; 0 for ever.
        mask: show no telephone numbers.

    """

    def __init__(
        self, *, max_calls: int = DEFAULT_CALLS, days: float = DEFAULT_DAYS, mask: bool = False
    ) -> None:
        self._max_calls = max_calls
        self._days = days
        self._mask = mask

    def keep(self, tx: Transaction, calls: Sequence[CallShown]) -> None:
        """Take calls in that were not taken before."""
        if not calls:
            return
        connection = tx.session.connection()
        if connection.dialect.name == "sqlite":
            rows = [(*_columns(call), encode_call(call).decode()) for call in calls]
            legs = [(leg, call.id) for call in calls for leg in call.sip_call_ids]
            connection.exec_driver_sql(_KEEP_CALLS, (msgspec.json.encode(rows).decode(),))
            connection.exec_driver_sql(_KEEP_LEGS, (msgspec.json.encode(legs).decode(),))
            return
        by_id = {call.id: call for call in calls}
        for known in tx.session.scalars(select(CallRow.id).where(CallRow.id.in_(by_id))):
            del by_id[known]
        if not by_id:
            return
        connection.execute(insert(_table(CallRow)), [_row(call) for call in by_id.values()])
        placed = {(leg, call.id) for call in by_id.values() for leg in call.sip_call_ids}
        if placed:
            of_legs = [{"sip_call_id": leg, "call_id": call_id} for leg, call_id in sorted(placed)]
            connection.execute(insert(_table(CallLegRow)), of_legs)

    def get(self, session: Session, call_id: str) -> CallShown | None:
        """The call of that id."""
        body = session.scalar(select(CallRow.body).where(CallRow.id == call_id))
        return None if body is None else self._shown(body)

    def page(self, session: Session, query: CallQuery) -> CallPage:
        """Those that are wanted, newest first. Raises Problem."""
        wanted = select(CallRow.seq, CallRow.body).where(*_conditions(query)).order_by(CallRow.seq.desc())
        rows = session.execute(wanted.limit(query.limit + 1)).all()
        more = len(rows) > query.limit
        rows = rows[: query.limit]
        items = [call for row in rows if (call := self._shown(row.body)) is not None]
        return CallPage(
            items=items,
            next_cursor=cursor_of(rows[-1].seq) if more else None,
            has_more=more,
            limit=query.limit,
        )

    def forget_old(self, tx: Transaction) -> None:
        """Let go of what is beyond the caps.

        By age each call goes for itself: one of a gateway whose clock is wrong says nothing of others.
        """
        newest = tx.session.scalar(select(func.max(CallRow.seq))) or 0
        oldest = tx.session.scalar(select(func.min(CallRow.seq))) or 0
        last = newest - self._max_calls
        for first in range(oldest, last + 1, TRIMMED_AT_ONCE):
            _forget(tx, CallRow.seq.between(first, min(last, first + TRIMMED_AT_ONCE - 1)))
        if self._days:
            before = timestamp(datetime.now(UTC) - timedelta(days=self._days))
            aged = select(CallRow.seq).where(CallRow.started_at < before).order_by(CallRow.started_at)
            while seqs := tx.session.scalars(aged.limit(TRIMMED_AT_ONCE)).all():
                _forget(tx, CallRow.seq.in_(seqs))

    def _shown(self, body: bytes) -> CallShown | None:
        """A call as it was kept; one of a newer version, which cannot be read, is as good as none."""
        try:
            call = decode_call(body)
        except msgspec.DecodeError:
            return None
        return masked(call) if self._mask else call


def _forget(tx: Transaction, which: ColumnElement[bool]) -> None:
    tx.session.execute(delete(CallLegRow).where(CallLegRow.call_id.in_(select(CallRow.id).where(which))))
    tx.session.execute(delete(CallRow).where(which))


def _columns(call: CallShown) -> tuple[str | bool, ...]:
    """What stands in the columns `_COLUMNS`."""
    return (
        call.id,
        call.started_at,
        call.number or call.dialled,
        call.caller,
        call.carrier,
        call.carrier_call_id,
        call.outcome,
        call.outcome == "refused",
    )


def _row(call: CallShown) -> dict[str, Any]:
    return dict(zip(_COLUMNS, _columns(call), strict=True), body=encode_call(call))


def _table(row: type[CallRow | CallLegRow]) -> Table:
    return cast("Table", row.__table__)


def _conditions(query: CallQuery) -> list[ColumnElement[bool]]:
    where: list[ColumnElement[bool]] = []
    if query.search is not None:
        where.append(CallRow.seq.in_(_found(query.search.strip())))
    if query.carrier is not None:
        where.append(CallRow.carrier == query.carrier)
    if query.outcome is not None:
        where.append(CallRow.outcome == query.outcome)
    if query.refused is not None:
        where.append(CallRow.refused == query.refused)
    if query.started_since is not None:
        where.append(CallRow.started_at >= parse_time(query.started_since, "started_since"))
    if query.started_before is not None:
        where.append(CallRow.started_at < parse_time(query.started_before, "started_before"))
    if query.cursor is not None:
        where.append(CallRow.seq < seq_of(query.cursor))
    return where


def _found(text: str) -> Select[tuple[int]]:
    """The sequence numbers of what a search means: each way by an index of its own."""
    legs = select(CallLegRow.call_id).where(CallLegRow.sip_call_id == text)
    ways: list[ColumnElement[bool]] = [
        CallRow.id == text,
        CallRow.carrier_call_id == text,
        CallRow.id.in_(legs),
    ]
    digits = text.translate(_SPACING)
    if digits.removeprefix("+").isdigit() and len(digits.removeprefix("+")) >= MIN_PREFIX:
        plain = digits.removeprefix("+")
        ways += [
            or_(*(_begins(column, start) for start in (plain, f"+{plain}")))
            for column in (CallRow.number, CallRow.caller)
        ]
    parts = [
        select(select(CallRow.seq).where(way).order_by(CallRow.seq.desc()).limit(MAX_FOUND).subquery().c.seq)
        for way in ways
    ]
    found = union_all(*parts).subquery()
    return select(found.c.seq)


_SPACING: Final = str.maketrans("", "", " -().")
"""What people put between digits."""


def _begins(column: Any, start: str) -> ColumnElement[bool]:
    return and_(column >= start, column < start + AFTER_ANY)
