"""A store and a real redis-server, and what brings one to the other."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from api.publisher import Publisher
from api.service import ApiService
from api.types import AgentCreate, PhoneNumberCreate
from routing.cache import Kind, RoutingCache
from routing.replica import Replica
from tests.api.conftest import Store
from tests.api.http.rig import KEY
from tests.routing.conftest import Counts, RedisServer


class Source:
    """A store with its publisher."""

    def __init__(self, service: ApiService, publisher: Publisher) -> None:
        self.service = service
        self.publisher = publisher
        self._work: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Publish in the background."""
        self._work = asyncio.create_task(self.publisher.run())

    async def stop(self) -> None:
        if self._work is not None:
            self._work.cancel()
            await asyncio.gather(self._work, return_exceptions=True)
            self._work = None

    async def agent(self, agent_id: str) -> None:
        body = AgentCreate(id=agent_id, name=agent_id)
        await self.service.database.write(lambda tx: self.service.agents.add(tx, body))

    async def number(self, phone_number: str, **fields: Any) -> str:
        """Register a number; returns its id."""
        body = PhoneNumberCreate(phone_number=phone_number, provider="twilio", **fields)
        rows = await self.service.database.write(lambda tx: self.service.records.add(tx, [body]))
        return rows[0].id

    async def wanted(self) -> dict[tuple[Kind, str], bytes]:
        """What the cache should hold."""
        outbox = self.service._outbox
        kinds: tuple[Kind, ...] = ("agent", "number")
        wanted: dict[tuple[Kind, str], bytes] = {}
        for kind in kinds:
            after = 0
            while True:
                start = after
                after, keys = await self.service.database.read(
                    lambda session: outbox.page(session, kind, start)  # noqa: B023
                )
                if after == start:
                    break
                records = await self.service.database.read(
                    lambda session: outbox.records(session, kind, keys)  # noqa: B023
                )
                wanted |= {(kind, key): value for key, value in records.items()}
        return wanted


async def held(cache: RoutingCache) -> dict[tuple[Kind, str], bytes]:
    """What the cache holds."""
    kinds: tuple[Kind, ...] = ("agent", "number")
    records: dict[tuple[Kind, str], bytes] = {}
    for kind in kinds:
        async for page in cache.scan(kind):
            records |= {(kind, key.decode()): value for key, value in page.items()}
    return records


@contextlib.asynccontextmanager
async def open_source(directory: Path, redis: RedisServer, **options: Any) -> AsyncIterator[Source]:
    """A store in a directory, and its publisher, not yet started."""
    service = ApiService(directory, version="0", **{"bootstrap_key": KEY, **options})
    await service.open()
    source = Source(service, service.publisher(redis.client))
    try:
        yield source
    finally:
        await source.stop()
        await service.close()


@pytest.fixture
async def redis(tmp_path: Path) -> AsyncIterator[RedisServer]:
    server = RedisServer(tmp_path / "redis")
    await server.start()
    yield server
    await server.client.aclose()
    await server.stop()


@pytest.fixture
async def source(store: Store, tmp_path: Path, redis: RedisServer) -> AsyncIterator[Source]:
    """Each sort of store, with its publisher."""
    async with open_source(tmp_path / "data", redis, database_url=store.url) as opened:
        yield opened


@pytest.fixture
async def replica(tmp_path: Path, redis: RedisServer) -> AsyncIterator[Callable[..., Replica]]:
    """Makes replicas that are stopped at the end."""
    made: list[Replica] = []

    def make(observer: Counts | None = None) -> Replica:
        path = tmp_path / f"routes{len(made)}.snapshot"
        made.append(Replica(redis.url, observer or Counts(), snapshot_path=path))
        return made[-1]

    yield make
    for each in made:
        await each.stop()
