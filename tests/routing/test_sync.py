"""The numbers file into a real Redis: only what differs is written, and what got lost is written again."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis.exceptions import RedisError

from routing.cache import Change, Kind
from routing.numbers_file import NumbersFileError
from routing.sync import CacheLostError, FileSync, Records, Synced, differences
from tests.routing.conftest import RedisServer, a_number, put, until

INTERVAL = 0.02
"""Seconds between looks at the file."""

FILE = """
[[agents]]
id = "agt_one"
endpoints = [{ url = "sip:bot@192.0.2.10" }]

[[numbers]]
phone_number = "+14155550100"
inbound_routing = { agent_id = "agt_one" }

[[numbers]]
phone_number = "+14155550101"
inbound_routing = { agent_id = "agt_one" }
"""

WITHOUT_SECOND = FILE.rpartition("[[numbers]]")[0]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "numbers.toml"
    path.write_text(FILE)
    return path


def save(path: Path, text: str) -> None:
    """As an editor does."""
    path.write_text(text)


@contextlib.asynccontextmanager
async def watching(sync: FileSync) -> AsyncIterator[None]:
    task = asyncio.create_task(sync.watch(INTERVAL))
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def test_a_first_reload_fills_and_seals_the_cache(redis: RedisServer, path: Path) -> None:
    synced = await FileSync(path, redis.cache).reload()
    assert synced == Synced(numbers=2, agents=1, written=3, removed=0)
    number = await redis.cache.number("+14155550100")
    assert number is not None
    assert number.inbound_routing is not None
    assert number.inbound_routing.agent_id == "agt_one"
    assert (await redis.cache.state()).epoch is not None


async def test_only_what_differs_is_written(redis: RedisServer, path: Path) -> None:
    sync = FileSync(path, redis.cache)
    await sync.reload()
    before = await redis.cache.state()
    assert (await sync.reload()).written == 0
    assert await redis.cache.state() == before
    assert (await FileSync(path, redis.cache).reload()).written == 0  # another node with the same file

    save(path, FILE.replace("192.0.2.10", "192.0.2.11"))
    assert await sync.reload() == Synced(numbers=2, agents=1, written=1, removed=0)
    save(path, WITHOUT_SECOND)
    assert await sync.reload() == Synced(numbers=1, agents=1, written=1, removed=1)
    assert await redis.cache.number("+14155550101") is None
    after = await redis.cache.state()
    assert (after.epoch, after.revision) == (before.epoch, before.revision + 3)


async def test_a_bad_file_changes_nothing(redis: RedisServer, path: Path) -> None:
    sync = FileSync(path, redis.cache)
    await sync.reload()
    before = await redis.cache.state()
    save(path, FILE.replace("agt_one", "agt_two", 1))
    with pytest.raises(NumbersFileError, match="no agent agt_one"):
        await sync.reload()
    assert await redis.cache.state() == before


async def test_the_watch_takes_over_each_change_and_reports_each_error_once(
    redis: RedisServer, path: Path
) -> None:
    errors, done = list[str](), list[Synced]()
    sync = FileSync(path, redis.cache, on_error=errors.append, on_synced=done.append)
    await sync.reload()
    async with watching(sync):
        save(path, FILE + "nonsense = 1\n")
        await until(lambda: errors)
        await asyncio.sleep(INTERVAL * 5)
        assert len(errors) == 1
        assert "numbers.toml:13" in errors[0]
        assert "nonsense" in errors[0]
        assert await redis.cache.number("+14155550101") is not None

        save(path, WITHOUT_SECOND)
        await until(lambda: len(done) == 2)
        assert await redis.cache.number("+14155550101") is None

        await asyncio.to_thread(path.unlink)
        await until(lambda: len(errors) == 2)
        assert "No such file" in errors[1]
        assert await redis.cache.number("+14155550100") is not None

        save(path, FILE)
        await until(lambda: done[-1].numbers == 2)
    assert await redis.cache.number("+14155550101") is not None


async def test_a_flushed_redis_is_filled_again(redis: RedisServer, path: Path) -> None:
    done = list[Synced]()
    sync = FileSync(path, redis.cache, on_synced=done.append)
    await sync.reload()
    epoch = (await redis.cache.state()).epoch
    async with watching(sync):
        await redis.client.flushall()
        await until(lambda: len(done) == 2)
    assert done[1].written == 3
    assert (await redis.cache.state()).epoch not in (None, epoch)


async def test_a_file_that_came_while_redis_was_away_is_written_when_it_is_back(
    redis: RedisServer, path: Path
) -> None:
    errors, done = list[str](), list[Synced]()
    sync = FileSync(path, redis.cache, on_synced=done.append, on_error=errors.append)
    await sync.reload()
    await redis.stop()
    save(path, WITHOUT_SECOND)
    with pytest.raises((RedisError, OSError)):
        await sync.reload()
    async with watching(sync):
        await until(lambda: errors)
        await redis.start()
        await until(lambda: len(done) == 2)
    assert done[1].removed == 1


async def test_a_flush_in_the_middle_of_a_write_is_not_taken_for_a_complete_cache(
    redis: RedisServer, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = list[Synced]()
    sync = FileSync(path, redis.cache, on_synced=done.append)
    await sync.reload()
    write = redis.cache.write

    async def flush_and_write(changes: object) -> int:
        monkeypatch.undo()
        await redis.client.flushall()
        return await write(changes)

    monkeypatch.setattr(redis.cache, "write", flush_and_write)
    save(path, FILE.replace("192.0.2.10", "192.0.2.11"))
    with pytest.raises(CacheLostError):
        await sync.reload()
    assert (await redis.cache.state()).epoch is None

    async with watching(sync):
        await until(lambda: len(done) == 2)
    assert done[1].written == 2  # the agent was written after the flush
    assert await redis.cache.number("+14155550101") is not None


async def test_two_nodes_whose_files_differ_do_not_overwrite_each_other_in_turn(
    redis: RedisServer, path: Path, tmp_path: Path
) -> None:
    other_path = tmp_path / "newer.toml"
    save(other_path, WITHOUT_SECOND)
    old, new = FileSync(path, redis.cache), FileSync(other_path, redis.cache)
    await old.reload()
    await new.reload()
    before = await redis.cache.state()
    async with watching(old), watching(new):
        await asyncio.sleep(INTERVAL * 10)
    assert await redis.cache.state() == before


async def test_another_history_with_as_many_changes_is_noticed(redis: RedisServer, path: Path) -> None:
    """Redis came back without our last changes, and somebody else has written as many since."""
    done = list[Synced]()
    sync = FileSync(path, redis.cache, on_synced=done.append)
    await sync.reload()
    old = {key: await redis.client.dump(key) for key in await redis.client.keys()}
    save(path, FILE.replace("192.0.2.10", "192.0.2.11"))
    await sync.reload()
    await redis.client.flushall()
    for key, value in old.items():
        await redis.client.restore(key, 0, value)
    await redis.cache.write(put(a_number(7)))

    async with watching(sync):
        await until(lambda: len(done) == 3)
    assert await redis.cache.number("+14155550107") is None
    assert b"192.0.2.11" in (await redis.cache.agent("agt_one") or b"")


async def test_a_cache_that_lost_only_its_place_is_written_on(redis: RedisServer, path: Path) -> None:
    """As under memory pressure, when Redis is set to evict keys."""
    sync = FileSync(path, redis.cache)
    await sync.reload()
    await redis.client.delete("{vg}:meta")
    save(path, WITHOUT_SECOND)
    assert (await sync.reload()).removed == 1
    after = await redis.cache.state()
    assert after.epoch is not None
    assert [entry.revision for entry in await redis.cache.changes_since(0, 0.0)] == [after.revision]


KINDS: list[Kind] = ["agent", "number"]
RECORDS = st.dictionaries(
    st.tuples(st.sampled_from(KINDS), st.sampled_from("abcdef")), st.binary(min_size=1, max_size=1)
)


def applied(changes: list[Change], held: Records) -> Records:
    result = dict(held)
    for change in changes:
        if change.value is None:
            del result[change.kind, change.key]
        else:
            result[change.kind, change.key] = change.value
    return result


@given(RECORDS, RECORDS)
def test_the_differences_make_what_is_wanted_of_what_is_held(held: Records, wanted: Records) -> None:
    changes = differences(held, wanted)
    assert applied(changes, held) == wanted
    unequal = {key for key in held.keys() | wanted.keys() if held.get(key) != wanted.get(key)}
    assert len(changes) == len(unequal)
    steps = [(change.kind, change.value is None) for change in changes]
    order = [("agent", False), ("number", False), ("number", True), ("agent", True)]
    assert steps == sorted(steps, key=order.index)
