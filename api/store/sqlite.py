"""The store in an SQLite file: one thread writes, a few read, and neither waits for the other (WAL)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Engine, create_engine, event
from sqlalchemy.engine import URL
from sqlalchemy.orm import Session
from sqlalchemy.pool import QueuePool

from api.store import schema
from api.store.database import LOCK_SECONDS, Result, Transaction, reported

READERS: Final = 4
"""Threads for reading: what they do takes a millisecond, mostly with the interpreter's lock held."""

CACHE_KIB: Final = 32 * 1024
"""Of pages for each connection: the inner pages of the indexes of a million numbers fit."""


class SqliteDatabase:
    """See `api.store.database.Database`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.on_committed: Callable[[], None] = lambda: None
        self.on_replica: Callable[[str, float], None] = lambda replica, seconds: None
        self.on_read_lately: Callable[[str], None] = lambda where: None
        self._writer = _engine(path, 1, "BEGIN IMMEDIATE")
        self._readers = _engine(path, READERS, "BEGIN")
        self._write_thread = ThreadPoolExecutor(1, "store-write")
        self._read_threads = ThreadPoolExecutor(READERS, "store-read")

    async def open(self) -> None:
        """See the protocol."""
        await asyncio.get_running_loop().run_in_executor(self._write_thread, self._migrate)

    def _migrate(self) -> None:
        with reported():
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.path.touch(0o600)  # it holds people's numbers
            with self._writer.begin() as connection:
                schema.upgrade(connection)

    async def read(self, work: Callable[[Session], Result]) -> Result:
        """See the protocol."""

        def run() -> Result:
            with reported(), Session(self._readers, expire_on_commit=False) as session:
                return work(session)

        return await asyncio.get_running_loop().run_in_executor(self._read_threads, run)

    async def read_lately(self, work: Callable[[Session], Result]) -> Result:
        """See the protocol: there is one file."""
        return await self.read(work)

    async def write(self, work: Callable[[Transaction], Result]) -> Result:
        """See the protocol."""

        def run() -> tuple[Result, bool]:
            with reported(), Session(self._writer, expire_on_commit=False) as session, session.begin():
                transaction = Transaction(session)
                result = work(transaction)
                return result, transaction.finish()

        # Cancelling the request does not stop the thread: what it commits has to be told all the same.
        loop = asyncio.get_running_loop()
        running = self._write_thread.submit(run)
        running.add_done_callback(lambda done: loop.call_soon_threadsafe(self._told, done))
        return (await asyncio.wrap_future(running))[0]

    def _told(self, done: Future[tuple[Any, bool]]) -> None:
        if not done.cancelled() and done.exception() is None and done.result()[1]:
            self.on_committed()

    async def close(self) -> None:
        """See the protocol."""

        def close() -> None:
            for threads in (self._write_thread, self._read_threads):
                threads.shutdown()
            self._writer.dispose()
            self._readers.dispose()

        await asyncio.to_thread(close)


def _engine(path: Path, size: int, begin: str) -> Engine:
    """An engine that begins transactions itself, and whose commits survive a power cut."""
    engine = create_engine(
        URL.create("sqlite", database=str(path)),
        poolclass=QueuePool,
        hide_parameters=True,  # some are secrets
        pool_size=size,
        max_overflow=0,
        pool_timeout=LOCK_SECONDS,
        connect_args={"timeout": LOCK_SECONDS, "check_same_thread": False},
    )

    @event.listens_for(engine, "connect")
    def connected(connection: Any, _record: Any) -> None:
        connection.isolation_level = None
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", f"cache_size=-{CACHE_KIB}"):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def begun(connection: Any) -> None:
        connection.exec_driver_sql(begin)

    return engine
