"""A reading replica of a real PostgreSQL: asked while it is fresh, and passed over when it is not."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, text
from sqlalchemy.orm import Session

from api.examination import examine
from api.store import replicas
from api.store.database import Database, StoreUnavailable, open_database
from api.store.tables import AgentRow
from tests.api.conftest import until
from tests.api.http.rig import running_api
from tests.api.test_store import add_agent
from tests.postgres import PostgresServer


@pytest.fixture(scope="module")
def servers() -> Iterator[tuple[PostgresServer, PostgresServer]]:
    """A primary, and a replica of it that streams."""
    primary = PostgresServer()
    replica: PostgresServer | None = None
    try:
        primary.start()
        replica = PostgresServer(replica_of=primary)
        replica.start()
        yield primary, replica
    finally:
        for each in (replica, primary):
            if each is not None:
                each.remove()


@pytest.fixture
async def urls(
    servers: tuple[PostgresServer, PostgresServer], monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[tuple[str, str]]:
    monkeypatch.setattr(replicas, "SAMPLE_SECONDS", 0.02)
    primary, replica = servers
    name = await primary.create_database()
    yield primary.url(name), replica.url(name)
    await primary.drop_database(name)


@pytest.fixture
async def database(urls: tuple[str, str], tmp_path: Path) -> AsyncIterator[Database]:
    primary, replica = urls
    database = await asyncio.to_thread(open_database, primary, tmp_path, [replica])
    await database.open()
    yield database
    await database.close()


async def command(server: PostgresServer, words: str) -> None:
    connection = await server.connect()
    await connection.execute(words)
    await connection.close()


def where(session: Session) -> str:
    return "replica" if session.scalar(text("SELECT pg_is_in_recovery()")) else "primary"


def agents(session: Session) -> list[str]:
    return list(session.scalars(select(AgentRow.id)))


async def test_reads_that_may_lag_go_to_a_fresh_replica_and_others_never(
    database: Database, servers: tuple[PostgresServer, PostgresServer]
) -> None:
    asked = Counter[str]()
    lags = dict[str, float]()
    database.on_read_lately = lambda place: asked.update([place])
    database.on_replica = lags.__setitem__
    await until(lambda: lags.get("1", 9.0) < 1)
    assert await database.read_lately(where) == "replica"
    assert await database.read(where) == "primary"
    await database.write(lambda tx: add_agent(tx, "agt_one"))
    for _ in range(200):
        if await database.read_lately(agents) == ["agt_one"]:
            break
        await asyncio.sleep(0.02)
    assert await database.read_lately(agents) == ["agt_one"]
    assert asked["replica"] > 1


async def test_one_that_lags_is_not_asked_until_it_has_caught_up(
    database: Database, servers: tuple[PostgresServer, PostgresServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    lags = dict[str, float]()
    database.on_replica = lags.__setitem__
    await until(lambda: lags.get("1", 9.0) < 1)
    monkeypatch.setattr(replicas, "MAX_LAG", 0.2)
    await command(servers[1], "SELECT pg_wal_replay_pause()")
    await database.write(lambda tx: add_agent(tx, "agt_two"))
    await until(lambda: lags["1"] > 0.2)
    assert await database.read_lately(where) == "primary"
    await command(servers[1], "SELECT pg_wal_replay_resume()")
    monkeypatch.undo()
    await until(lambda: lags["1"] < 1)
    assert await database.read_lately(where) == "replica"


async def test_one_that_is_away_costs_no_answer(
    database: Database, servers: tuple[PostgresServer, PostgresServer]
) -> None:
    lags = dict[str, float]()
    database.on_replica = lags.__setitem__
    await until(lambda: lags.get("1", 9.0) < 1)
    servers[1].stop()
    for _ in range(5):
        assert await database.read_lately(where) == "primary"
    servers[1].start()
    await until(lambda: lags["1"] < 1)
    assert await database.read_lately(where) == "replica"


async def test_another_store_is_no_replica_of_this_one(
    urls: tuple[str, str], servers: tuple[PostgresServer, PostgresServer], tmp_path: Path
) -> None:
    other = await servers[0].create_database()
    asked = Counter[str]()
    for replica_url in (urls[0], servers[1].url(other)):  # the primary itself; a database without our store
        database = await asyncio.to_thread(open_database, urls[0], tmp_path, [replica_url])
        await database.open()
        told = list[float]()
        database.on_replica = lambda replica, seconds, told=told: told.append(seconds)  # type: ignore[misc]
        database.on_read_lately = lambda place: asked.update([place])
        await until(lambda told=told: len(told) > 2)
        assert await database.read_lately(where) == "primary"
        await database.close()
    assert asked == {"primary": 2}
    await servers[0].drop_database(other)


async def test_a_check_names_those_that_are_not_asked(urls: tuple[str, str], tmp_path: Path) -> None:
    async with running_api(tmp_path, database_url=urls[0]):
        pass  # it makes the store
    for _ in range(100):  # until the replica has it
        with contextlib.suppress(StoreUnavailable):
            assert "0 numbers" in await examine(tmp_path, urls[0], "", [urls[1]])
            break
    with pytest.raises(StoreUnavailable, match="number 2: away"):
        await examine(tmp_path, urls[0], "", [urls[1], urls[0]])


async def test_who_has_changed_something_sees_it(urls: tuple[str, str], tmp_path: Path) -> None:
    async with running_api(tmp_path, database_url=urls[0], database_replica_urls=[urls[1]]) as api:
        metrics: Any = api.service.metrics

        def reads(place: str) -> float:
            return float(metrics.replica_reads.labels(place)._value.get())

        lag = metrics.replica_lag.labels("1")
        await until(lambda: 0 < lag._value.get() < 1)
        assert (await api.get("/v1/agents")).body["items"] == []
        assert (reads("replica"), reads("primary")) == (1, 0)
        await api.agent("agt_new")
        listed = (await api.get("/v1/agents")).body["items"]
        assert [each["id"] for each in listed] == ["agt_new"]
        assert (reads("replica"), reads("primary")) == (1, 0), "from the primary, and not by chance"


async def test_urls_that_cannot_be_used_are_told_without_their_password(tmp_path: Path) -> None:
    for url in ("http://h", "postgresql://u:hunter2@h:x/n", "sqlite:///x"):
        with pytest.raises(StoreUnavailable) as refused:
            await asyncio.to_thread(open_database, "postgresql://h/n", tmp_path, [url])
        assert "database_replica_urls" in str(refused.value)
        assert "hunter2" not in str(refused.value)
