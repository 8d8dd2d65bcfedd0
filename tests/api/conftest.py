"""The API's store on SQLite and on a real PostgreSQL, fresh for each test."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from api.store.database import Database, open_database
from tests.api.schema_template import postgres_template, put_sqlite
from tests.postgres import PostgresServer

PATIENCE = 30.0
"""Seconds after which a test gives up; nothing is asserted about how long things take."""

BACKENDS = ["sqlite", "postgresql"]


@dataclass(frozen=True)
class Store:
    """Where a store is, and what it needs to be opened any number of times.

    backend: of BACKENDS.
    """

    backend: str
    url: str
    directory: Path

    async def database(self) -> Database:
        """One more that is not opened yet."""
        return await asyncio.to_thread(open_database, self.url, self.directory)

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[Database]:
        """One more, as another process would have it."""
        database = await self.database()
        try:
            await database.open()
            yield database
        finally:
            await database.close()


async def until(condition: Callable[[], object]) -> None:
    """Wait for what happens in the background."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(PATIENCE):
            while not condition():  # noqa: ASYNC110 - it may depend on anything
                await asyncio.sleep(0.01)
    assert condition()


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """One server for all tests of this process."""
    server = PostgresServer()
    try:
        server.start()
        yield server
    finally:
        server.remove()


@pytest.fixture
def own_postgres() -> Iterator[PostgresServer]:
    """A server that a test may stop, freeze and kill."""
    server = PostgresServer()
    try:
        server.start()
        yield server
    finally:
        server.remove()


@pytest.fixture(params=BACKENDS)
async def new_store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    """A place for a store, which nobody has opened yet."""
    if request.param == "sqlite":
        yield Store("sqlite", "", tmp_path / "data")
        return
    server: PostgresServer = request.getfixturevalue("postgres")
    name = await server.create_database()
    yield Store("postgresql", server.url(name), tmp_path)
    await server.drop_database(name)


@pytest.fixture(params=BACKENDS)
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    """An empty store with its tables; on SQLite in the directory of the test and in `data` of that."""
    if request.param == "sqlite":
        for directory in (tmp_path, tmp_path / "data"):
            put_sqlite(directory)
        yield Store("sqlite", "", tmp_path / "data")
        return
    server: PostgresServer = request.getfixturevalue("postgres")
    name = await server.create_database(postgres_template(server))
    yield Store("postgresql", server.url(name), tmp_path)
    await server.drop_database(name)


@pytest.fixture
async def database(store: Store) -> AsyncIterator[Database]:
    """An opened store."""
    async with store.opened() as database:
        yield database
