"""Transactions on the store: plain functions of a session, run where they block nobody.

A transaction's work is written once, as a function over SQLAlchemy's `Session`. On SQLite it runs in a
thread,
whole: asking the thread statement by statement costs 0.4 ms each, ten times what SQLite needs. On PostgreSQL
it runs on the event loop over asyncpg, and gives way whenever it waits for the server.

Writers wait for each other, in every process: SQLite has one writer by nature, and on PostgreSQL each locks
the one row of `state` first. That makes the revisions of the outbox consecutive in the order of commits,
which following them depends on; a registry of numbers is written to some hundred times a second at most.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Protocol, TypeVar, cast

from sqlalchemy import Table, insert, select
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DatabaseError, DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.orm import Session

from api.identifiers import timestamp
from api.store.tables import OutboxRow, StateRow
from routing.cache import Kind

Result = TypeVar("Result")

LOCK_SECONDS: Final = 5.0
"""That a writer waits for another, or a request for a connection, before it is told to come back."""

OUTSIDE: Final = ("08", "25006", "28", "3D", "40", "53", "55P03", "57", "58", "XX")
"""How PostgreSQL's SQLSTATEs begin that are no fault of a statement: connection, standby, login, no such
database, serialisation and deadlock, resources, lock, operator, system, damage."""


class StoreUnavailable(Exception):  # noqa: N818 - it names what is wrong outside of us
    """The store cannot be reached, or is too busy; trying again may help."""


class Transaction:
    """A write under way.

    session: SQLAlchemy's; now: when it began, as an RFC 3339 text.
    """

    def __init__(self, session: Session) -> None:
        state = session.scalar(select(StateRow).with_for_update())
        if state is None:
            raise StoreUnavailable("the store has no state: its schema was not made by us")
        self.session = session
        self.state = state
        self.accepted_at = time.time()
        self.now = timestamp()
        self._changes: list[tuple[Kind, str, bytes | None]] = []

    def route_changed(self, kind: Kind, key: str, value: bytes | None) -> None:
        """The routes are different once this is committed; value: None if the record is gone."""
        self._changes.append((kind, key, value))

    def finish(self) -> bool:
        """Write the outbox; tells whether there is anything in it."""
        if not self._changes:
            return False
        mark = secrets.token_hex(4)
        common = {"accepted_at": self.accepted_at, "mark": mark}
        rows = [
            {"revision": revision, "kind": kind, "key": key, "value": value, **common}
            for revision, (kind, key, value) in enumerate(self._changes, self.state.revision + 1)
        ]
        self.session.connection().execute(insert(cast("Table", OutboxRow.__table__)), rows)
        self.state.revision += len(rows)
        self.state.mark = mark
        return True


class Database(Protocol):
    """The store, on SQLite or PostgreSQL. Every method raises StoreUnavailable."""

    on_committed: Callable[[], None]
    """Told after each commit of this process that changed the routes."""

    on_replica: Callable[[str, float], None]
    """Told of each reading replica, by its place in the configuration, how many seconds it lags at most."""

    on_read_lately: Callable[[str], None]
    """Told where each such read went: `replica`, or `primary` because none was fresh enough."""

    async def open(self) -> None:
        """Connect, and bring the schema to this version. Raises SchemaError, if that is impossible."""

    async def read(self, work: Callable[[Session], Result]) -> Result:
        """Do this with a consistent look at the store."""

    async def read_lately(self, work: Callable[[Session], Result]) -> Result:
        """Do this with a consistent look that may be some seconds old (`api.store.replicas.MAX_LAG`)."""

    async def write(self, work: Callable[[Transaction], Result]) -> Result:
        """Do this in a transaction: committed when it returns, rolled back if it raises."""

    async def close(self) -> None:
        """Close every connection."""


def open_database(url: str, directory: Path, replica_urls: Sequence[str] = ()) -> Database:
    """The store at an URL, not yet opened; an empty one means SQLite in the directory. Blocks: it imports.

    replica_urls: of reading replicas, on PostgreSQL.

    Raises:
        StoreUnavailable: it is no URL of a database that we speak to.

    """
    from api.store.postgres import PostgresDatabase
    from api.store.sqlite import SqliteDatabase

    if not url:
        return SqliteDatabase(directory / SQLITE_FILE)
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):  # the latter: a port that is no number
        raise StoreUnavailable("api.database_url: write it as postgresql+asyncpg://user@host/name") from None
    backend = parsed.get_backend_name()
    if backend == "sqlite" and parsed.database:
        return SqliteDatabase(Path(parsed.database))
    if backend == "postgresql":
        return PostgresDatabase(parsed.set(drivername=POSTGRES), [_replica(each) for each in replica_urls])
    raise StoreUnavailable(
        f"api.database_url: cannot use {backend}: write postgresql+asyncpg://…, or nothing"
    )


def _replica(url: str) -> URL:
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        parsed = None
    if parsed is None or parsed.get_backend_name() != "postgresql":
        raise StoreUnavailable(
            "api.database_replica_urls: write each as postgresql+asyncpg://user@host/name, commas between"
        )
    return parsed.set(drivername=POSTGRES)


POSTGRES: Final = "postgresql+asyncpg"

SQLITE_FILE: Final = "api.sqlite"
"""In the data directory."""


@contextmanager
def reported() -> Iterator[None]:
    """Tell what a driver raises in our words, without the statement's parameters: they may be secrets."""
    try:
        yield
    except (OperationalError, InterfaceError) as error:
        raise StoreUnavailable(f"the store does not answer: {_cause(error)}") from None
    except DBAPIError as error:
        if not _outside(error):
            raise
        raise StoreUnavailable(f"the store does not answer: {_cause(error)}") from None
    except (PoolTimeoutError, TimeoutError):
        raise StoreUnavailable("the store is too busy") from None
    except OSError as error:
        raise StoreUnavailable(f"the store cannot be reached: {error.strerror or error}") from None


def _outside(error: DBAPIError) -> bool:
    """Whether the store is to blame, and not what we asked of it."""
    if error.connection_invalidated or type(error) is DatabaseError:  # the latter: a damaged SQLite file
        return True
    return (getattr(error.orig, "sqlstate", None) or "").startswith(OUTSIDE)


def _cause(error: DBAPIError) -> str:
    return str(error.orig).partition("\n")[0] if error.orig is not None else type(error).__name__
