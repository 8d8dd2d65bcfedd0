"""Totals and cursors of lists."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from api.operations import Reply
from api.problems import FieldError, invalid


def total_of(session: Session, table: Any, *where: Any) -> int:
    """How many rows there are; for tables that stay small."""
    return session.scalar(select(func.count()).select_from(table).where(*where)) or 0


class Wanted(Protocol):
    """Which part of a list. limit: rows; offset: rows before it."""

    @property
    def limit(self) -> int:
        """Rows at most."""

    @property
    def offset(self) -> int:
        """Rows before it."""


def page_of(
    session: Session,
    page: Callable[..., Any],
    table: Any,
    query: Wanted,
    show: Callable[[Sequence[Any]], Iterable[Any]],
    *where: Any,
    newest_first: bool = False,
) -> Reply:
    """Part of a list by offset.

    page: the type of the answer; table: whose rows; show: makes items of rows; where: which rows.
    """
    order = table.seq.desc() if newest_first else table.seq
    wanted = select(table).where(*where).order_by(order).limit(query.limit).offset(query.offset)
    made = page(
        items=list(show(list(session.scalars(wanted)))),
        total=total_of(session, table, *where),
        limit=query.limit,
        offset=query.offset,
    )
    return Reply(made)


def cursor_of(seq: int) -> str:
    """The cursor of a list that goes on after this row."""
    return base64.urlsafe_b64encode(b"s%d" % seq).decode().rstrip("=")


def seq_of(cursor: str) -> int:
    """The row that a cursor goes on after. Raises Problem."""
    try:
        text = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        seq = int(text[1:]) if text[:1] == b"s" and text[1:].isdigit() and len(text) < 20 else -1
    except (binascii.Error, ValueError):
        seq = -1
    if seq < 0:
        fix = "send next_cursor of the page before, or none for the first page"
        raise invalid(FieldError("cursor", "cursor", "is not one of ours", fix))
    return seq
