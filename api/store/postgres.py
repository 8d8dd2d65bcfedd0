"""The store in PostgreSQL, over asyncpg: for many nodes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Final

from sqlalchemy.engine import URL
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine
from sqlalchemy.orm import Session

from api.store import schema
from api.store.database import LOCK_SECONDS, Result, StoreUnavailable, Transaction, reported
from api.store.replicas import Replicas

READERS: Final = 8
"""Connections for reading. A request holds one for milliseconds; more would only queue in the server."""

WRITERS: Final = 4
"""Connections for writing: they wait for one row anyway."""

STATEMENT_SECONDS: Final = 30.0
"""For one statement; the longest is a page of an import."""


class PostgresDatabase:
    """See `api.store.database.Database`."""

    def __init__(self, url: URL, replica_urls: Sequence[URL] = ()) -> None:
        self._url = url
        self.on_committed: Callable[[], None] = lambda: None
        self.on_replica: Callable[[str, float], None] = lambda replica, seconds: None
        self.on_read_lately: Callable[[str], None] = lambda where: None
        self._readers = _engine(url, READERS, "REPEATABLE READ")
        self._replicas = Replicas(
            self._readers,
            [_engine(each, READERS, "REPEATABLE READ") for each in replica_urls],
            on_lag=lambda index, seconds: self.on_replica(str(index + 1), seconds),
        )
        self._writers = _engine(url, WRITERS, "READ COMMITTED")

    async def open(self) -> None:
        """See the protocol."""
        # Alembic reads its steps from disk, and must not hold the loop up meanwhile.
        await asyncio.to_thread(lambda: asyncio.run(self._migrate()))
        self._replicas.start()

    async def _migrate(self) -> None:
        engine = _engine(self._url, 1, "READ COMMITTED")
        try:
            with reported():
                async with engine.begin() as connection:
                    await connection.run_sync(schema.upgrade)
        finally:
            await engine.dispose()

    async def read(self, work: Callable[[Session], Result]) -> Result:
        """See the protocol."""
        with reported():
            async with AsyncSession(self._readers, expire_on_commit=False) as session:
                return await session.run_sync(work)

    async def read_lately(self, work: Callable[[Session], Result]) -> Result:
        """See the protocol: from a replica that is fresh, else from the primary."""
        replica = self._replicas.choose()
        if replica is not None:
            try:
                with reported():
                    async with AsyncSession(replica.engine, expire_on_commit=False) as session:
                        result = await session.run_sync(work)
            except StoreUnavailable:
                replica.fresh_at = float("-inf")  # until it has been seen to be fresh again
            else:
                self.on_read_lately("replica")
                return result
        self.on_read_lately("primary")
        return await self.read(work)

    async def stale_replicas(self) -> list[int]:
        """Places, from 1, of replicas that are not asked now: away, behind, or no replicas of this store."""
        return await self._replicas.stale()

    async def write(self, work: Callable[[Transaction], Result]) -> Result:
        """See the protocol."""

        def run(session: Session) -> tuple[Result, bool]:
            transaction = Transaction(session)
            result = work(transaction)
            return result, transaction.finish()

        with reported():
            async with AsyncSession(self._writers, expire_on_commit=False) as session, session.begin():
                result, changed = await session.run_sync(run)
        if changed:
            self.on_committed()
        return result

    async def close(self) -> None:
        """See the protocol."""
        await self._replicas.close()
        await self._readers.dispose()
        await self._writers.dispose()


def _engine(url: URL, size: int, isolation: Any) -> AsyncEngine:
    return create_async_engine(
        url,
        hide_parameters=True,  # some are secrets
        pool_size=size,
        max_overflow=0,
        pool_timeout=LOCK_SECONDS,
        pool_pre_ping=True,
        isolation_level=isolation,
        connect_args={
            "timeout": LOCK_SECONDS,
            "command_timeout": STATEMENT_SECONDS,
            "server_settings": {
                "application_name": "voice-gateway",
                "lock_timeout": str(int(LOCK_SECONDS * 1000)),
            },
        },
    )
