"""From the store to every replica, with Redis flushed, damaged, replaced, restored and taken away."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
from redis.exceptions import RedisError
from sqlalchemy import delete

from api import outbox as outbox_module
from api import publisher as publisher_module
from api.publisher import ForeignCacheError
from api.store.tables import OutboxRow
from api.types import InboundRoutingBody
from routing.cache import META, NUMBERS, PlaceLostError
from routing.replica import Replica
from tests.api.conftest import Store
from tests.api.sync.conftest import Source, held, open_source
from tests.routing.conftest import Counts, RedisServer, an_agent, put, until

MakeReplica = Callable[..., Replica]
ROUTED = InboundRoutingBody(agent_id="agt_one")


async def fill(source: Source, count: int = 3) -> None:
    await source.agent("agt_one")
    for index in range(count):
        await source.number(f"+1415555{index:04}", inbound_routing=ROUTED)


async def settle(source: Source, redis: RedisServer) -> None:
    """Publish and compare until nothing is left to do."""
    for _ in range(5):
        try:
            await source.publisher.publish()
            await source.publisher.verify()
            break
        except PlaceLostError:
            continue
    assert await held(redis.cache) == await source.wanted()


async def test_what_is_committed_reaches_every_replica(
    source: Source, redis: RedisServer, replica: MakeReplica
) -> None:
    await fill(source)
    source.start()
    nodes = [replica(), replica()]
    for node in nodes:
        await node.start()
    await until(lambda: all(node.get("+14155550002") for node in nodes))
    phone_id = await source.number("+14155559999", inbound_routing=ROUTED)
    await until(lambda: all(node.get("+14155559999") for node in nodes))
    assert nodes[0].get("+14155559999").id == phone_id  # type: ignore[union-attr]


async def test_each_change_takes_its_time_from_when_it_was_committed(
    source: Source, redis: RedisServer, replica: MakeReplica
) -> None:
    await fill(source, 1)
    await settle(source, redis)
    counts = Counts()
    node = replica(counts)
    await node.start()
    await source.number("+14155559999")
    await asyncio.sleep(0.2)  # before anything is published
    await source.publisher.publish()
    await until(lambda: node.get("+14155559999"))
    assert len(counts.propagations) == 1
    assert counts.propagations[0] >= 0.2


async def test_changes_come_in_order_and_once(source: Source, redis: RedisServer) -> None:
    await fill(source, 1)
    await settle(source, redis)
    revision = (await redis.cache.state()).revision
    for index in range(50):
        await source.number(f"+1415555{index + 1000}", friendly_name=str(index))
    await source.publisher.publish()
    await source.publisher.publish()
    logged = await redis.cache.changes_since(revision, 0.01)
    assert [change.change.key for change in logged] == [f"+1415555{index + 1000}" for index in range(50)]
    assert [change.revision for change in logged] == list(range(revision + 1, revision + 51))


async def test_the_log_is_read_in_batches(
    source: Source, redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox_module, "BATCH", 7)
    await settle(source, redis)
    await fill(source, 30)
    await source.publisher.publish()
    assert await held(redis.cache) == await source.wanted()


async def test_a_flushed_redis_is_filled_again_and_sealed_only_then(
    source: Source, redis: RedisServer, replica: MakeReplica
) -> None:
    await fill(source)
    await settle(source, redis)
    node = replica()
    await node.start()
    await redis.client.flushall()
    assert node.get("+14155550001") is not None, "calls go on meanwhile"
    await source.publisher.publish()
    assert (await redis.cache.state()).epoch is None
    await source.number("+14155559999", inbound_routing=ROUTED)
    source.start()
    await until(lambda: node.get("+14155559999"))
    assert node.get("+14155550001") is not None
    await source.stop()
    await settle(source, redis)


@pytest.mark.parametrize("damage", ["removed", "changed", "added"])
async def test_a_damaged_redis_is_repaired_and_replicas_told(
    source: Source, redis: RedisServer, replica: MakeReplica, damage: str
) -> None:
    await fill(source)
    await settle(source, redis)
    node = replica()
    await node.start()
    other = (await redis.client.hgetall(NUMBERS))[b"+14155550001"]
    if damage == "removed":
        await redis.client.hdel(NUMBERS, "+14155550000")
    elif damage == "changed":
        await redis.client.hset(NUMBERS, "+14155550000", other)
    else:
        await redis.client.hset(NUMBERS, "+14155557777", other)
    assert await source.publisher.verify() == 1
    await settle(source, redis)
    assert await source.publisher.verify() == 0
    late = replica()
    await late.start()
    assert late.get("+14155550000").phone_number == "+14155550000"  # type: ignore[union-attr]
    assert late.get("+14155557777") is None


async def test_a_redis_that_was_away_gets_what_it_missed(
    source: Source, redis: RedisServer, replica: MakeReplica
) -> None:
    await fill(source)
    source.start()
    node = replica()
    await node.start()
    await until(lambda: node.get("+14155550002"))
    await redis.stop()
    await source.number("+14155559999", inbound_routing=ROUTED)
    assert node.get("+14155550002") is not None
    await asyncio.sleep(0.1)
    await redis.start()
    await until(lambda: node.get("+14155559999"))


async def test_an_older_copy_of_redis_is_brought_forward(
    source: Source, redis: RedisServer, tmp_path: Path
) -> None:
    await fill(source)
    await settle(source, redis)
    await redis.client.save()
    copies = {path: path.read_bytes() for path in (tmp_path / "redis").glob("*.rdb")}
    assert copies
    await source.number("+14155559999")
    await settle(source, redis)
    await redis.stop()
    for path, content in copies.items():
        path.write_bytes(content)
    await redis.start()
    assert b"+14155559999" not in await redis.client.hgetall(NUMBERS)
    await source.publisher.publish()
    assert b"+14155559999" in await redis.client.hgetall(NUMBERS), "from the outbox, without comparing all"


async def test_a_redis_that_was_away_for_longer_than_the_outbox_reaches_is_compared(
    source: Source, redis: RedisServer
) -> None:
    await fill(source)
    await settle(source, redis)
    await source.number("+14155559999")
    await source.service.database.write(lambda tx: tx.session.execute(delete(OutboxRow)))
    await source.number("+14155559998")
    place = await source.publisher.publish()
    assert not place.verified
    await settle(source, redis)


@pytest.mark.parametrize("store", ["sqlite"], indirect=True)  # it copies files
async def test_a_restored_store_brings_redis_back_to_what_it_says(
    source: Source, redis: RedisServer, tmp_path: Path
) -> None:
    await fill(source)
    await settle(source, redis)
    await source.service.close()
    files = {path.name: path.read_bytes() for path in (tmp_path / "data").iterdir()}
    async with open_source(tmp_path / "data", redis) as later:
        await later.number("+14155559999")
        await settle(later, redis)
    for path in (tmp_path / "data").iterdir():
        path.unlink()
    for name, content in files.items():
        (tmp_path / "data" / name).touch(0o600)
        (tmp_path / "data" / name).write_bytes(content)
    async with open_source(tmp_path / "data", redis) as restored:
        await restored.number("+14155558888")
        await settle(restored, redis)
        assert b"+14155559999" not in await redis.client.hgetall(NUMBERS)


async def test_two_publishers_of_one_store_lose_and_repeat_nothing(
    source: Source, store: Store, redis: RedisServer, tmp_path: Path
) -> None:
    await settle(source, redis)
    async with open_source(tmp_path / "data", redis, database_url=store.url) as other:
        source.start()
        other.start()
        revision = (await redis.cache.state()).revision
        for index in range(40):
            await (source if index % 2 else other).number(f"+1415555{index:04}")
        wanted = await source.wanted()
        async with asyncio.timeout(20):
            while await held(redis.cache) != wanted:  # noqa: ASYNC110 - two processes' work, as it were
                await asyncio.sleep(0.02)
        await other.stop()
    await source.stop()
    logged = await redis.cache.changes_since(revision, 0.01)
    assert [change.change.key for change in logged] == [f"+1415555{index:04}" for index in range(40)]


async def test_a_cache_that_another_store_fills_is_left_alone(
    source: Source, redis: RedisServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publisher_module, "TAKEOVER_LIMIT", 1)
    await fill(source)
    await settle(source, redis)
    before = await held(redis.cache)
    async with open_source(tmp_path / "other", redis) as other:
        with pytest.raises(ForeignCacheError) as refused:
            await other.publisher.publish()
        assert "api.database_url" in str(refused.value)
        assert await held(redis.cache) == before
        await redis.client.delete(META)  # as the message says
        await settle(other, redis)


async def test_of_two_stores_at_one_redis_the_first_one_complains(
    source: Source, redis: RedisServer, tmp_path: Path
) -> None:
    await fill(source, 1)
    await settle(source, redis)
    async with open_source(tmp_path / "other", redis) as other:
        await settle(other, redis)  # one number is little enough to take over
        with pytest.raises(ForeignCacheError) as refused:
            await source.publisher.publish()
        assert "redis.url" in str(refused.value)


async def test_a_file_that_took_over_is_taken_over_again(source: Source, redis: RedisServer) -> None:
    await fill(source)
    await settle(source, redis)
    await redis.cache.write(put(an_agent("agt_file")))  # as the numbers file's writer does
    assert await redis.cache.place() is None
    await settle(source, redis)


async def test_what_was_published_long_ago_is_cleared_away(
    source: Source, redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publisher_module, "TRIM_EVERY", 10)
    monkeypatch.setattr(outbox_module, "KEPT", 5)
    await settle(source, redis)
    await fill(source, 30)
    await settle(source, redis)
    count = await source.service.database.read(lambda session: session.query(OutboxRow).count())
    assert 5 <= count < 31
    await source.number("+14155559999")
    await settle(source, redis)


async def test_failures_are_told_once_and_counted(
    source: Source, redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    monkeypatch.setattr(publisher_module, "RETRY_SECONDS", 0.01)
    monkeypatch.setattr(source.publisher, "_on_error", told.append)

    async def away(*, told: bool) -> None:
        raise RedisError("connection refused")

    monkeypatch.setattr(source.publisher, "publish", away)
    registry = source.service.metrics.registry
    source.start()
    await until(lambda: (registry.get_sample_value("api_publish_errors_total") or 0) > 3)
    assert told == ["connection refused"]


async def test_numbers_that_are_being_bought_are_not_routed(source: Source, redis: RedisServer) -> None:
    await fill(source, 1)
    from api.number_records import Bought
    from api.provisioning_types import Progress
    from api.types import PhoneNumberCreate

    body = PhoneNumberCreate(phone_number="+14155557777", provider="sandbox")
    bought = Bought("one", None, Progress(), due_at=0.0)
    await source.service.database.write(lambda tx: source.service.records.add(tx, [body], bought=bought))
    await settle(source, redis)
    assert b"+14155557777" not in await redis.client.hgetall(NUMBERS)
