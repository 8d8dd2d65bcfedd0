"""API keys: making, listing, revoking, and finding the one that a request brings."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from typing import Final, cast

from sqlalchemy import ColumnElement, func, or_, select, update
from sqlalchemy.orm import Session

from api.access import PREFIX, SHOWN, Principal, Scope, digest, new_api_key, same
from api.identifiers import new_id, timestamp
from api.operations import Operation, Reply, Request
from api.pages import page_of
from api.problems import FieldError, Problem, invalid, not_found
from api.store.database import Database, StoreUnavailable, Transaction
from api.store.tables import ApiKeyRow
from api.types import ApiKeyCreate, ApiKeyMade, ApiKeyPage, ApiKeyShown, PageQuery

KNOWN_SECONDS: Final = 1.0
"""That a key is believed without looking: a key revoked by another process works for no longer."""

MAX_KNOWN: Final = 1_000
"""Keys believed at once; all are looked up again when there are more."""

USED_SECONDS: Final = 60.0
"""Between notes of when a key was used last."""


class KeyRing:
    """Finds the principal of a key.

    Args:
        database: the store.
        clock: seconds, monotonic.

    """

    def __init__(self, database: Database, clock: Callable[[], float] = time.monotonic) -> None:
        self._database = database
        self._clock = clock
        self._known: dict[str, tuple[Principal, float]] = {}
        self._noted: dict[str, float] = {}
        self._local: dict[str, Principal] = {}
        self._looking: dict[str, asyncio.Task[Principal | None]] = {}

    def admit(self, key: str, principal: Principal) -> None:
        """Take a key that is in no store: of a command on this machine."""
        self._local[digest(key)] = principal

    async def find(self, key: str) -> Principal | None:
        """Who brings it; None if nobody may. Raises StoreUnavailable."""
        hashed, now = digest(key), self._clock()
        for known, local in self._local.items():
            if same(known, hashed):
                return local
        principal, until = self._known.get(hashed, (None, 0.0))
        if principal is not None and until > now:
            return principal
        # Of the many requests that find a key's time just over, one looks for all of them.
        looking = self._looking.get(hashed)
        if looking is None:
            looking = self._looking[hashed] = asyncio.create_task(self._look(hashed))
            looking.add_done_callback(lambda _: self._looking.pop(hashed))
        return await asyncio.shield(looking)

    async def _look(self, hashed: str) -> Principal | None:
        now = self._clock()
        principal = await self._database.read(lambda session: _find(session, hashed))
        if principal is None:
            self._known.pop(hashed, None)
            return None
        if len(self._known) >= MAX_KNOWN:
            self._known.clear()
            self._noted.clear()
        self._known[hashed] = (principal, now + KNOWN_SECONDS)
        if now - self._noted.get(principal.key_id, -USED_SECONDS) >= USED_SECONDS:
            self._noted[principal.key_id] = now
            with contextlib.suppress(StoreUnavailable):  # reading goes on while nothing can be written
                await self._database.write(lambda tx: _note_use(tx, principal.key_id))
        return principal

    def forget(self) -> None:
        """Look every key up again: one was revoked."""
        self._known.clear()


def _find(session: Session, hashed: str) -> Principal | None:
    row = session.scalar(select(ApiKeyRow).where(ApiKeyRow.digest == hashed))
    if row is None or not same(row.digest, hashed) or row.revoked_at is not None:
        return None
    if row.expires_at is not None and row.expires_at <= timestamp():
        return None
    return Principal(row.id, frozenset(cast("list[Scope]", row.scopes.split())))


def _note_use(tx: Transaction, key_id: str) -> None:
    tx.session.execute(update(ApiKeyRow).where(ApiKeyRow.id == key_id).values(last_used_at=tx.now))


def add_key(
    tx: Transaction, name: str, scopes: list[str], key: str | None = None, expires_at: str | None = None
) -> tuple[ApiKeyRow, str]:
    """Make a key, or keep the hash of a given one; returns its row and the key."""
    key = key or new_api_key()
    row = ApiKeyRow(
        id=new_id("key"),
        name=name,
        digest=digest(key),
        shown=key[:SHOWN] if key.startswith(PREFIX) else "",
        scopes=" ".join(sorted(set(scopes))),
        created_at=tx.now,
        expires_at=expires_at,
        revoked_at=None,
        last_used_at=None,
    )
    tx.session.add(row)
    tx.session.flush()
    return row, key


def bootstrap(tx: Transaction, given: str) -> str | None:
    """Have a first key: the given one, or if none was ever made, a fresh one, which is returned."""
    if given:
        if tx.session.scalar(select(ApiKeyRow.id).where(ApiKeyRow.digest == digest(given))) is None:
            add_key(tx, "bootstrap", ["read", "write"], given)
        return None
    if tx.session.scalar(select(ApiKeyRow.id).limit(1)) is not None:
        return None
    return add_key(tx, "first", ["read", "write"])[1]


class ApiKeys:
    """The operations on keys."""

    def __init__(self, ring: KeyRing) -> None:
        self._ring = ring

    def operations(self) -> list[Operation]:
        """What can be asked about keys."""
        return [
            Operation(
                id="createApiKey",
                method="POST",
                path="/v1/api-keys",
                summary="Make an API key; it is shown in this answer and never again",
                tag="API keys",
                scope="write",
                status=201,
                write=self.create,
                request=ApiKeyCreate,
                response=ApiKeyMade,
                example={"name": "Dashboard", "scopes": ["read"]},
            ),
            Operation(
                id="listApiKeys",
                method="GET",
                path="/v1/api-keys",
                summary="List API keys that are in force",
                tag="API keys",
                scope="read",
                read=self.list,
                query=PageQuery,
                response=ApiKeyPage,
            ),
            Operation(
                id="revokeApiKey",
                method="DELETE",
                path="/v1/api-keys/{key_id}",
                summary="Revoke an API key, at once",
                tag="API keys",
                scope="write",
                status=204,
                write=self.revoke,
                problems=("not-found", "last-key"),
            ),
        ]

    def create(self, tx: Transaction, request: Request) -> Reply:
        """Make a key."""
        body: ApiKeyCreate = request.body
        expires_at = None if body.expires_at is None else parse_time(body.expires_at, "expires_at")
        if expires_at is not None and expires_at <= tx.now:
            raise invalid(FieldError("expires_at", "range", "is in the past", "give a time to come, or none"))
        row, key = add_key(tx, body.name, list(body.scopes), expires_at=expires_at)
        made = ApiKeyMade(
            id=row.id,
            name=row.name,
            prefix=row.shown,
            scopes=row.scopes.split(),
            created_at=row.created_at,
            expires_at=row.expires_at,
            last_used_at=None,
            key=key,
        )
        return Reply(made, headers={"Location": f"/v1/api-keys/{row.id}", "Cache-Control": "no-store"})

    def list(self, session: Session, request: Request) -> Reply:
        """List keys."""
        query: PageQuery = request.query
        return page_of(session, ApiKeyPage, ApiKeyRow, query, partial(map, _shown), *_in_force())

    def revoke(self, tx: Transaction, request: Request) -> Reply:
        """Revoke a key."""
        key_id = request.path["key_id"]
        row = tx.session.scalar(select(ApiKeyRow).where(ApiKeyRow.id == key_id, *_in_force()))
        if row is None:
            raise not_found("API key", key_id)
        if "write" in row.scopes.split():
            others = tx.session.scalar(
                select(func.count())
                .select_from(ApiKeyRow)
                .where(ApiKeyRow.id != key_id, ApiKeyRow.scopes.contains("write"), *_in_force())
            )
            if not others:
                raise Problem("last-key", f"{key_id} is the last key that may write")
        row.revoked_at = tx.now
        self._ring.forget()
        return Reply(None)


def _in_force() -> tuple[ColumnElement[bool], ...]:
    unexpired = or_(ApiKeyRow.expires_at.is_(None), ApiKeyRow.expires_at > timestamp())
    return ApiKeyRow.revoked_at.is_(None), unexpired


def _shown(row: ApiKeyRow) -> ApiKeyShown:
    return ApiKeyShown(
        id=row.id,
        name=row.name,
        prefix=row.shown,
        scopes=row.scopes.split(),
        created_at=row.created_at,
        expires_at=row.expires_at,
        last_used_at=row.last_used_at,
    )


def parse_time(text: str, field: str) -> str:
    """A time as the store writes it. Raises Problem."""
    try:
        moment = datetime.fromisoformat(text.replace(" ", "+"))  # a plus in a query means a space
        if moment.tzinfo is None:
            raise ValueError("no zone")
        return timestamp(moment.astimezone(UTC))
    except (ValueError, OverflowError):
        fix = "write RFC 3339, as in 2026-11-23T12:00:00Z"
        raise invalid(FieldError(field, "time", "is no time with its zone", fix)) from None
