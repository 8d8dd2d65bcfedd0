"""Answers kept for requests that may be sent again with the same Idempotency-Key.

The answer is kept in the transaction of the change itself: either both are there after a crash, or neither.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

import msgspec
from msgspec import Struct
from sqlalchemy import delete, insert
from sqlalchemy.orm import Session

from api.access import Principal
from api.identifiers import timestamp
from api.problems import Problem
from api.secret_box import SecretBox
from api.store.database import Transaction
from api.store.tables import IdempotencyRow

MAX_IDEMPOTENCY_KEY: Final = 255

KEPT_HOURS: Final = 24
"""After which an answer is forgotten: nobody retries for longer."""


class StoredReply(Struct, frozen=True):
    """An answer as it was, or will be, sent."""

    status: int
    headers: dict[str, str]
    body: bytes


class Replays:
    """Keeps answers, sealed: one of them may hold a fresh API key."""

    def __init__(self, box: SecretBox) -> None:
        self._box = box

    def find(self, session: Session, principal: Principal, key: str, fingerprint: str) -> StoredReply | None:
        """The answer given before, if any. Raises Problem, if that was to another request."""
        row = session.get(IdempotencyRow, (principal.key_id, key))
        if row is None or row.created_at < _expired():
            return None
        if row.fingerprint != fingerprint:
            raise Problem("idempotency-key-reused", "this Idempotency-Key came with another request before")
        reply = msgspec.msgpack.decode(self._box.open(row.reply, _owner(principal, key)), type=StoredReply)
        return msgspec.structs.replace(reply, headers={**reply.headers, "Idempotency-Replayed": "true"})

    def keep(
        self, tx: Transaction, principal: Principal, key: str, fingerprint: str, reply: StoredReply
    ) -> None:
        """Keep an answer."""
        mine = (IdempotencyRow.api_key_id == principal.key_id, IdempotencyRow.key == key)
        tx.session.execute(delete(IdempotencyRow).where(*mine))
        row = {
            "api_key_id": principal.key_id,
            "key": key,
            "fingerprint": fingerprint,
            "reply": self._box.seal(msgspec.msgpack.encode(reply), _owner(principal, key)),
            "created_at": tx.now,
        }
        tx.session.execute(insert(IdempotencyRow).values(row))

    def forget_old(self, tx: Transaction) -> None:
        """Delete answers that nobody will ask for."""
        tx.session.execute(delete(IdempotencyRow).where(IdempotencyRow.created_at < _expired()))


def _owner(principal: Principal, key: str) -> str:
    return f"idempotency:{principal.key_id}:{key}"


def _expired() -> str:
    return timestamp(datetime.now(UTC) - timedelta(hours=KEPT_HOURS))
