"""The cache against a real Redis."""

from __future__ import annotations

from dataclasses import replace

import pytest
from redis.asyncio import Redis
from redis.crc import key_slot

from routing import cache as cache_module
from routing.cache import Change, RoutingCache, decode_agent, decode_number, encode
from tests.routing.conftest import RedisServer, a_number, an_agent, fill, gone, put


async def test_a_record_is_read_as_it_was_written(redis: RedisServer) -> None:
    number, agent = a_number(message="Grüße ☎"), an_agent()
    await redis.cache.write(put(number, agent))

    assert await redis.cache.number(number.phone_number) == number
    value = await redis.cache.agent(agent.id)
    assert value is not None
    assert decode_agent(value) == agent
    assert await redis.cache.number("+14155550177") is None
    assert await redis.cache.agent("agt_nobody") is None


async def test_every_change_is_one_revision_and_one_entry_of_the_log(redis: RedisServer) -> None:
    first, second = a_number(1), a_number(2)
    assert await redis.cache.write(put(first, second), accepted_at=1234.5) == 2
    assert await redis.cache.write([gone(first)], accepted_at=1240.0) == 3

    logged = await redis.cache.changes_since(0, 0.0)
    assert [entry.revision for entry in logged] == [1, 2, 3]
    assert [entry.change for entry in logged] == [*put(first, second), gone(first)]
    assert [entry.accepted_at for entry in logged] == [1234.5, 1234.5, 1240.0]
    assert [entry.revision for entry in await redis.cache.changes_since(2, 0.0)] == [3]
    assert await redis.cache.number(first.phone_number) is None


async def test_writing_nothing_tells_where_the_cache_stands(redis: RedisServer) -> None:
    await redis.cache.write(put(a_number()))
    assert await redis.cache.write([]) == 1


async def test_a_large_write_goes_in_batches_and_comes_back_in_pages(
    redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache_module, "BATCH", 100)
    monkeypatch.setattr(cache_module, "SCAN_COUNT", 100)
    value = encode(a_number())
    keys = [f"+1415555{n:04}" for n in range(1050)]
    assert await redis.cache.write(Change("number", key, value) for key in keys) == 1050

    pages = [page async for page in redis.cache.scan("number")]
    assert len(pages) > 1
    assert {key.decode() for page in pages for key in page} == set(keys)
    assert [page async for page in redis.cache.scan("agent")] == []


async def test_the_log_is_trimmed_and_the_records_stay(
    redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache_module, "LOG_LENGTH", 100)
    number = a_number()
    for _ in range(20):
        await redis.cache.write(put(number) * 50)

    left = await redis.cache.changes_since(0, 0.0)
    assert left[-1].revision == 1000
    assert 100 <= len(left) < 400  # MAXLEN ~ removes whole nodes of the stream, of a hundred entries each
    assert await redis.cache.number(number.phone_number) == number


async def test_a_cache_is_complete_once_sealed_and_keeps_its_epoch(redis: RedisServer) -> None:
    await redis.cache.write(put(a_number()))
    assert (await redis.cache.state()).epoch is None

    epoch = await redis.cache.seal()
    assert (await redis.cache.state()).epoch == epoch
    assert await redis.cache.seal() == epoch

    await redis.client.flushall()
    assert (await redis.cache.state()).epoch is None
    await fill(redis.cache, a_number())
    assert (await redis.cache.state()).epoch not in (None, epoch)


async def test_a_cache_that_was_flushed_while_it_was_written_is_not_sealed(redis: RedisServer) -> None:
    revision = await redis.cache.write(put(a_number(1), a_number(2)))
    await redis.client.flushall()
    await redis.cache.write(put(a_number(3)))

    assert await redis.cache.seal(revision + 1) is None
    assert (await redis.cache.state()).epoch is None


async def test_all_keys_are_in_one_slot_of_a_cluster(redis: RedisServer) -> None:
    await fill(redis.cache, a_number(), an_agent())
    keys = await redis.client.keys()
    assert len(keys) == 4
    assert len({key_slot(key) for key in keys}) == 1


async def test_both_protocols_of_redis_are_understood(redis: RedisServer) -> None:
    for protocol in (2, 3):
        client: Redis = Redis.from_url(redis.url, protocol=protocol, driver_info=None)
        cache = RoutingCache(client)
        number = a_number(protocol)
        revision = await cache.write(put(number))
        [logged] = await cache.changes_since(revision - 1, 0.0)
        assert decode_number(logged.change.value or b"") == number
        [page] = [page async for page in cache.scan("number")]
        assert number.phone_number.encode() in page
        await client.aclose()


async def test_a_place_in_the_log_has_a_mark_of_its_own(redis: RedisServer) -> None:
    assert (await redis.cache.state()).mark == ""
    await redis.cache.write(put(a_number(1)))
    first = await redis.cache.state()
    await redis.cache.write(put(a_number(1)))
    second = await redis.cache.state()
    assert "" not in {first.mark, second.mark}
    assert first.mark != second.mark
    assert await redis.cache.state(1) == cache_module.State(None, 2, first.mark)
    assert (await redis.cache.state(3)).mark == ""
    logged = await redis.cache.changes_since(0, 0.0)
    assert [entry.mark for entry in logged] == [first.mark, second.mark]


async def test_a_place_moves_only_from_where_it_is_believed_to_be(redis: RedisServer) -> None:
    cache = redis.cache
    assert await cache.place() is None
    await cache.claim("store/0")
    assert await cache.advance(put(a_number(1)), "store/0", "store/1") == 1
    assert await cache.place() == "store/1"
    with pytest.raises(cache_module.PlaceLostError):
        await cache.advance(put(a_number(2)), "store/0", "store/1")
    assert await cache.number(a_number(2).phone_number) is None
    assert (await cache.state()).revision == 1


async def test_somebody_else_s_write_loses_the_place(redis: RedisServer) -> None:
    await redis.cache.claim("store/5")
    await redis.cache.write(put(a_number(1)))
    assert await redis.cache.place() is None
    with pytest.raises(cache_module.PlaceLostError):
        await redis.cache.advance([], "store/5", "store/6")


async def test_changes_of_one_write_may_have_been_accepted_at_different_times(redis: RedisServer) -> None:
    first, second = put(a_number(1), a_number(2))
    await redis.cache.write([replace(first, accepted_at=1.5), second], accepted_at=7.25)
    logged = await redis.cache.changes_since(0, 0.0)
    assert [entry.accepted_at for entry in logged] == [1.5, 7.25]


async def test_records_are_held_by_key(redis: RedisServer) -> None:
    await redis.cache.write(put(a_number(1), an_agent()))
    number = a_number(1)
    assert await redis.cache.held("number", [number.phone_number, "+1999"]) == [encode(number), None]
    assert await redis.cache.held("agent", []) == []
