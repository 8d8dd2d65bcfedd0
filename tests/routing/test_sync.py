"""The numbers file into a real Redis: only what differs is written, and what got lost is written again."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from redis.exceptions import RedisError

from routing.cache import State
from routing.numbers_file import NumbersFileError
from routing.sync import CacheLostError, FileSync, Synced
from tests.routing.conftest import RedisServer, until

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
    assert await redis.cache.state() == State(before.epoch, before.revision + 3)


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
