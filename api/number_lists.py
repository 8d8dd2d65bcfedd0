"""Lists of numbers: what stays quick when there are a million.

Totals are kept, not counted. An offset only walks over the keys; beyond `MAX_OFFSET` there are cursors.
"""

from __future__ import annotations

import hashlib
from typing import Any

from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session

from api.api_keys import parse_time
from api.number_records import ALL, NumberRecords
from api.operations import Reply, Request, matches
from api.pages import cursor_of, seq_of, total_of
from api.store.tables import NumberAgentRow, NumberCountRow, NumberRow, StateRow
from api.types import (
    NumberCursorQuery,
    NumberFilters,
    NumberListQuery,
    PhoneNumberCursorPage,
    PhoneNumberPage,
)


class NumberLists:
    """Numbers in pages."""

    def __init__(self, records: NumberRecords) -> None:
        self._records = records

    def page(self, session: Session, request: Request) -> Reply:
        """A page by offset. Its ETag holds until any route changes."""
        query: NumberListQuery = request.query
        etag = _etag(session, request)
        if request.if_none_match and matches(request.if_none_match, etag):
            return Reply(None, etag)
        seqs = _ordered(query).limit(query.limit).offset(query.offset)
        items = self._items(session, list(session.scalars(seqs)))
        page = PhoneNumberPage(
            items=items, total=_total(session, query), limit=query.limit, offset=query.offset
        )
        return Reply(page, etag)

    def cursor_page(self, session: Session, request: Request) -> Reply:
        """A page by cursor."""
        query: NumberCursorQuery = request.query
        seqs = _ordered(query, seq_of(query.cursor) if query.cursor else 0).limit(query.limit + 1)
        found = list(session.scalars(seqs))
        more = len(found) > query.limit
        found = found[: query.limit]
        page = PhoneNumberCursorPage(
            items=self._items(session, found),
            next_cursor=cursor_of(found[-1]) if more else None,
            has_more=more,
            limit=query.limit,
        )
        return Reply(page)

    def _items(self, session: Session, seqs: list[int]) -> list[Any]:
        if not seqs:
            return []
        rows = session.scalars(select(NumberRow).where(NumberRow.seq.in_(seqs)).order_by(NumberRow.seq))
        return [self._records.shown(row) for row in rows]


def _ordered(filters: NumberFilters, after: int = 0) -> Select[int]:
    """The keys of matching numbers, oldest first."""
    where = _conditions(filters)
    if filters.agent_id is None:
        order = NumberRow.seq
        query = select(NumberRow.seq)
    else:
        order = NumberAgentRow.number_seq
        query = select(NumberAgentRow.number_seq).where(NumberAgentRow.agent_id == filters.agent_id)
        if where:
            query = query.join(NumberRow, NumberRow.seq == NumberAgentRow.number_seq)
    if after:
        query = query.where(order > after)
    return query.where(*where).order_by(order)


def _conditions(filters: NumberFilters) -> list[Any]:
    where: list[Any] = []
    if filters.phone_number is not None:
        where.append(NumberRow.phone_number == filters.phone_number)
    if filters.provider is not None:
        where.append(NumberRow.provider == filters.provider)
    if filters.status is not None:
        where.append(NumberRow.status == filters.status)
    if filters.updated_since is not None:
        where.append(NumberRow.updated_at >= parse_time(filters.updated_since, "updated_since"))
    return where


def _total(session: Session, filters: NumberFilters) -> int:
    """How many match: from the kept counts, unless the filters are narrower than these."""
    if filters.phone_number is not None or filters.updated_since is not None:
        return total_of(session, _ordered(filters).order_by(None).subquery())
    table = NumberCountRow
    where = [table.agent_id == (filters.agent_id or ALL)]
    if filters.provider is not None:
        where.append(table.provider == filters.provider)
    if filters.status is not None:
        where.append(table.status == filters.status)
    return int(session.scalar(select(func.coalesce(func.sum(table.count), 0)).where(*where)) or 0)


def _etag(session: Session, request: Request) -> str:
    """The same for the same question while no route has changed."""
    state = session.execute(select(StateRow.store_id, StateRow.revision, StateRow.mark)).one()
    question = repr((tuple(state), request.query))
    return f'"{hashlib.sha256(question.encode()).hexdigest()[:24]}"'
