"""A real redis-server for each test, on a socket of its own, and what watches a replica."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from routing.cache import Change, RoutingCache, encode
from routing.models import Agent, Endpoint, InboundRouting, PhoneNumber
from routing.redis_clients import connect
from routing.redis_server import EmbeddedRedis, socket_url
from routing.replica import Replica

PATIENCE = 20.0
"""Seconds after which a test gives up; nothing is asserted about how long things take."""


class Counts:
    """A RoutingObserver that remembers."""

    def __init__(self) -> None:
        self.lookups: list[tuple[str, str]] = []
        self.errors = 0
        self.numbers = 0
        self.propagations: list[float] = []

    def lookup(self, source: str, result: str, seconds: float) -> None:
        assert seconds >= 0
        self.lookups.append((source, result))

    def sync_error(self) -> None:
        self.errors += 1

    def numbers_known(self, count: int) -> None:
        self.numbers = count

    def propagated(self, seconds: float) -> None:
        self.propagations.append(seconds)


class RedisServer:
    """One redis-server that a test may kill, stop and start."""

    def __init__(self, directory: Path) -> None:
        self.url = socket_url(directory)
        self.client = connect(self.url, 5.0)
        self.cache = RoutingCache(self.client)
        self._directory = directory
        self._running: EmbeddedRedis | None = None

    async def start(self) -> None:
        self._running = EmbeddedRedis(self._directory)
        await self._running.start()

    async def stop(self) -> None:
        """End it in good order: what it held is there again after `start`."""
        if self._running is not None:
            await self._running.stop()
            self._running = None

    @property
    def pid(self) -> int:
        assert self._running is not None
        pid = self._running.pid
        assert pid is not None
        return pid


@pytest.fixture
async def redis(tmp_path: Path) -> AsyncIterator[RedisServer]:
    server = RedisServer(tmp_path / "redis")
    await server.start()
    yield server
    await server.client.aclose()
    await server.stop()


@pytest.fixture
async def replicas(redis: RedisServer, tmp_path: Path) -> AsyncIterator[Callable[[], Replica]]:
    """Makes replicas of `redis` that are stopped at the end, all with one snapshot file."""
    made: list[Replica] = []

    def make(**options: object) -> Replica:
        observer = options.pop("observer", None) or Counts()
        replica = Replica(redis.url, observer, snapshot_path=tmp_path / "routes.snapshot", **options)
        made.append(replica)
        return replica

    yield make
    for replica in made:
        await replica.stop()


async def until(condition: Callable[[], object]) -> None:
    """Wait for what happens in the background."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(PATIENCE):
            while not condition():  # noqa: ASYNC110 - it may depend on anything
                await asyncio.sleep(0.01)
    assert condition()


def a_number(last: int = 0, agent_id: str = "agt_one", message: str | None = None) -> PhoneNumber:
    phone_number = f"+141555501{last:02}"
    routing = InboundRouting(agent_id=agent_id, voicemail_message=message)
    return PhoneNumber(id=f"phn_{phone_number[1:]}", phone_number=phone_number, inbound_routing=routing)


def an_agent(agent_id: str = "agt_one", url: str = "sip:bot@192.0.2.10") -> Agent:
    return Agent(id=agent_id, name=agent_id, endpoints=(Endpoint(url=url),))


def put(*records: PhoneNumber | Agent) -> list[Change]:
    """Changes that make these records what the cache holds."""
    return [
        Change("number", record.phone_number, encode(record))
        if isinstance(record, PhoneNumber)
        else Change("agent", record.id, encode(record))
        for record in records
    ]


def gone(record: PhoneNumber | Agent) -> Change:
    if isinstance(record, PhoneNumber):
        return Change("number", record.phone_number, None)
    return Change("agent", record.id, None)


async def fill(cache: RoutingCache, *records: PhoneNumber | Agent) -> None:
    """Make a complete data set."""
    await cache.write(put(*records), accepted_at=time.time())
    await cache.seal()
