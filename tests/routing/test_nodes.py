"""Who is there, by Redis's clock alone."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest

from routing import heartbeat, nodes
from routing.heartbeat import Heartbeat
from routing.nodes import NODES, WORDS, Neighbours, NodeRegistry, NodeShown, NodeWords
from routing.redis_clients import connect
from tests.routing.conftest import RedisServer, a_number, fill, until

HERE = NodeWords(incarnation="a1", version="1.2", started_at=1000.0, address="192.0.2.1:5060", calls=3)


@pytest.fixture
def registry(redis: RedisServer) -> NodeRegistry:
    return NodeRegistry(redis.client)


async def by_name(registry: NodeRegistry) -> dict[str, NodeShown]:
    return {node.name: node for node in await registry.nodes()}


async def test_a_node_says_how_it_fares_and_hears_who_else_there_is(
    redis: RedisServer, registry: NodeRegistry
) -> None:
    assert await registry.beat("one", HERE) == Neighbours(1, 0, "", 0)
    assert await registry.nodes() == [
        NodeShown(
            name="one",
            state="up",
            last_seen=pytest.approx(0, abs=5),
            version="1.2",
            started_at=1000.0,
            address="192.0.2.1:5060",
            region="",
            calls=3,
            revision=0,
            behind=None,
            sync_age=None,
            incarnation="a1",
        )
    ]
    await fill(redis.cache, a_number(1), a_number(2))
    state = await redis.cache.state()
    words = msgspec.structs.replace(HERE, epoch=state.epoch, revision=1, draining=True, sync_age=0.5)
    assert await registry.beat("two", words) == Neighbours(2, 0, str(state.epoch), 2)
    two = (await by_name(registry))["two"]
    assert (two.state, two.behind, two.sync_age) == ("draining", 1, 0.5)
    assert await registry.living() == {("one", "a1"), ("two", "a1")}


async def test_a_node_that_died_is_shown_as_gone_and_then_forgotten(
    registry: NodeRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    await registry.beat("one", HERE)
    await registry.beat("two", HERE)
    await registry.leave("two")
    assert list(await by_name(registry)) == ["one"], "whoever says goodbye is nobody's worry"
    monkeypatch.setattr(nodes, "GONE_AFTER", 0.02)
    await registry.beat("dead", HERE)
    monkeypatch.undo()
    await asyncio.sleep(0.03)  # what Redis's clock has to go through
    assert await registry.beat("one", HERE) == Neighbours(1, 1, "", 0)
    assert {name for name, _ in await registry.living()} == {"one"}
    monkeypatch.setattr(nodes, "SHOWN_GONE", 0.001)
    assert await registry.beat("one", HERE) == Neighbours(1, 0, "", 0)
    assert list(await by_name(registry)) == ["one"]


async def test_no_nodes_clock_matters_and_a_restart_is_another_incarnation(registry: NodeRegistry) -> None:
    await registry.beat("one", msgspec.structs.replace(HERE, started_at=0.0))
    await registry.beat("two", msgspec.structs.replace(HERE, started_at=1e12))
    await registry.beat("one", msgspec.structs.replace(HERE, incarnation="a2"))
    assert await registry.living() == {("one", "a2"), ("two", "a1")}


@pytest.mark.parametrize("words", [b"", b"{", b'{"incarnation": 1}', b"\xff"])
async def test_words_that_cannot_be_read_hide_nobody(
    redis: RedisServer, registry: NodeRegistry, words: bytes
) -> None:
    await registry.beat("one", HERE)
    client: Any = redis.client
    await client.hset(WORDS, "one", words)
    (node,) = await registry.nodes()
    assert (node.name, node.state, node.version) == ("one", "up", "")


async def test_a_heart_beats_through_an_outage_and_tells_each_time(
    redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heartbeat, "BEAT_SECONDS", 0.001)
    heard, errors = list[Neighbours](), list[BaseException]()
    client = connect(redis.url, 0.5)
    heart = Heartbeat(
        NodeRegistry(client),
        "one",
        lambda: HERE,
        on_beat=lambda neighbours, seconds: heard.append(neighbours),
        on_error=errors.append,
    )
    beating = asyncio.create_task(heart.run())
    await until(lambda: len(heard) > 1)
    await redis.stop()
    await until(lambda: errors)
    before = len(heard)
    await redis.start()
    await until(lambda: len(heard) > before)
    assert heart.neighbours is not None
    assert heart.neighbours.up == 1
    beating.cancel()
    await asyncio.gather(beating, return_exceptions=True)
    await heart.goodbye()
    other: Any = redis.client
    assert await other.zcard(NODES) == 0
    await redis.stop()
    await heart.goodbye()  # nobody hears it, and it is no error
    await client.aclose()
