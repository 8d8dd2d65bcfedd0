"""Redis in every trouble that operators see: called by its name, survived, and over by itself."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from redis.asyncio import Redis

from gateway.cli.redis_check import examine
from routing.cache import RoutingCache
from routing.nodes import NodeRegistry, NodeWords
from routing.redis_clients import BACKGROUND_TIMEOUT, HOT_TIMEOUT, connect
from routing.redis_place import parse_place
from routing.redis_trouble import FIXES, KINDS, trouble_of
from routing.replica import Replica
from tests.redis_servers import RedisProcess
from tests.routing.conftest import Counts, a_number, an_agent, fill, put, until

WORDS = NodeWords(incarnation="a", version="1", started_at=0.0)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisProcess]:
    process = RedisProcess(tmp_path_factory.mktemp("redis-trouble"), "--enable-debug-command", "yes")
    process.start()
    yield process
    process.stop()


@pytest.fixture
async def client(server: RedisProcess) -> AsyncIterator[Redis]:
    client = connect(server.url, BACKGROUND_TIMEOUT)
    await client.flushall()
    yield client
    await client.aclose()


@contextmanager
def full(server: RedisProcess) -> Iterator[None]:
    server.say("CONFIG", "SET", "maxmemory", "1")
    yield
    server.say("CONFIG", "SET", "maxmemory", "0")


@contextmanager
def read_only(server: RedisProcess) -> Iterator[None]:
    server.say("REPLICAOF", "127.0.0.1", "1")
    yield
    server.say("REPLICAOF", "NO", "ONE")


@contextmanager
def refused(server: RedisProcess) -> Iterator[None]:
    server.say("ACL", "SETUSER", "default", "-@scripting", "-set")
    yield
    server.say("ACL", "SETUSER", "default", "+@all")


@contextmanager
def away(server: RedisProcess) -> Iterator[None]:
    server.stop()
    yield
    server.start()


@pytest.mark.parametrize(
    ("what", "kind"), [(full, "full"), (read_only, "read_only"), (refused, "refused"), (away, "away")]
)
async def test_calls_go_on_and_the_trouble_has_a_name(
    server: RedisProcess, client: Redis, what: Callable[[RedisProcess], Any], kind: str
) -> None:
    number = a_number()
    await fill(RoutingCache(client), number, an_agent())
    counts = Counts()
    replica = Replica(server.url, counts)
    await replica.start()
    registry = NodeRegistry(client)
    await registry.beat("one", WORDS)
    with what(server):
        with pytest.raises(Exception) as told:
            await registry.beat("one", WORDS)
        assert trouble_of(told.value).kind == kind
        text, fix = await examine(parse_place(server.url))
        assert fix == FIXES[trouble_of(told.value).kind], text
        assert replica.get(number.phone_number) == number
        assert await replica.lookup("+14155550199") is None
    if kind == "away":  # it came back empty, since it keeps nothing on disk
        assert (await registry.beat("one", WORDS)).epoch == ""
        assert replica.get(number.phone_number) == number
        await fill(RoutingCache(client), number)
    await RoutingCache(client).write(put(a_number(7)))
    await until(lambda: replica.get(a_number(7).phone_number))
    await registry.beat("one", WORDS)
    assert (await examine(parse_place(server.url)))[1] == ""
    await replica.stop()


async def test_a_slow_redis_holds_no_call_up(server: RedisProcess, client: Redis) -> None:
    number = a_number()
    await fill(RoutingCache(client), number)
    replica = Replica(server.url, Counts())
    await replica.start()
    loop = asyncio.get_running_loop()
    await client.execute_command("CLIENT", "PAUSE", "500", "ALL")
    assert replica.get(number.phone_number) == number
    began = loop.time()
    assert await replica.lookup("+14155550198") is None
    assert loop.time() - began < HOT_TIMEOUT + BACKGROUND_TIMEOUT / 2, "it waits for its own limit alone"
    await RoutingCache(client).write(put(a_number(8)))
    await until(lambda: replica.get(a_number(8).phone_number))
    await replica.stop()


async def test_one_that_hangs_is_silent_and_one_that_loads_is_loading(server: RedisProcess) -> None:
    hasty = connect(server.url, 0.1)
    registry = NodeRegistry(hasty)
    with server.frozen(), pytest.raises(Exception) as told:
        await registry.beat("one", WORDS)
    assert trouble_of(told.value).kind == "silent"
    await hasty.aclose()
    from redis.exceptions import BusyLoadingError, ResponseError

    assert trouble_of(BusyLoadingError("Redis is loading the dataset in memory")).kind == "loading"
    assert trouble_of(ResponseError("MISCONF Redis is configured to save")).kind == "full"
    assert trouble_of(ResponseError("what is that")).kind == "other"
    assert trouble_of(OSError()).text == "OSError"
    assert set(FIXES) == set(KINDS)


async def test_a_policy_that_throws_routes_away_is_found(server: RedisProcess) -> None:
    server.say("CONFIG", "SET", "maxmemory", "500mb")
    server.say("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
    text, fix = await examine(parse_place(server.url))
    server.say("CONFIG", "SET", "maxmemory-policy", "noeviction")
    server.say("CONFIG", "SET", "maxmemory", "0")
    assert "allkeys-lru" in text
    assert "noeviction" in fix
