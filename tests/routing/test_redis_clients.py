"""A cancelled command ends, whenever it is cancelled."""

from __future__ import annotations

import asyncio
import gc
import warnings

import pytest
from redis.exceptions import RedisError

from routing.redis_clients import connect, connected
from tests.routing.conftest import PATIENCE, RedisServer

TICKS = 60
"""Turns of the event loop that a first command takes, with its connection, and some to spare."""


async def ask_for_ever(url: str, timeout: float) -> None:
    client = connect(url, timeout)
    try:
        while True:
            await client.ping()
    finally:
        await client.aclose()


async def test_a_task_that_is_cancelled_in_any_turn_of_the_loop_ends(redis: RedisServer) -> None:
    for ticks in range(TICKS):
        task = asyncio.create_task(ask_for_ever(redis.url, 1.0))
        for _ in range(ticks):
            await asyncio.sleep(0)
        task.cancel()
        done, _ = await asyncio.wait({task}, timeout=2.0)
        task.cancel()
        assert done, f"cancelled after {ticks} turns, and still running"
        assert task.cancelled()


async def test_a_task_that_was_cancelled_before_may_still_ask_while_it_cleans_up(redis: RedisServer) -> None:
    answered = list[bool]()

    async def ends_slowly() -> None:
        try:
            await asyncio.sleep(PATIENCE)
        finally:
            answered.append(bool(await redis.client.ping()))

    task = asyncio.create_task(ends_slowly())
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait({task}, timeout=PATIENCE)
    assert task.cancelled()
    assert answered == [True]


async def test_a_connection_is_closed_whenever_its_user_is_cancelled(
    redis: RedisServer, recwarn: pytest.WarningsRecorder
) -> None:
    async def use() -> None:
        async with connected(redis.url, 1.0) as client:
            await client.ping()

    warnings.simplefilter("always")
    gc.freeze()  # what the tests before have left on the heap is not looked through 60 times
    try:
        for ticks in range(TICKS):
            task = asyncio.create_task(use())
            for _ in range(ticks):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait({task}, timeout=PATIENCE)
            del task
            await redis.client.ping()  # while what was begun is ended
            gc.collect()
            assert [str(warning.message) for warning in recwarn] == [], f"cancelled after {ticks} turns"
    finally:
        gc.unfreeze()


async def test_nobody_listening_is_an_error_at_once() -> None:
    client = connect("unix:///nonexistent/redis.sock", 1.0)
    with pytest.raises((RedisError, OSError)):
        await client.ping()
    await client.aclose()
