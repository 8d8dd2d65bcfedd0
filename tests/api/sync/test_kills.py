"""A publisher killed between each two steps loses nothing, repeats nothing and keeps the order."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from routing.cache import PlaceLostError
from routing.replica import Replica
from tests.api.conftest import Store
from tests.api.sync import dying_publisher
from tests.api.sync.conftest import held, open_source
from tests.api.sync.dying_publisher import FIRST_STEPS, ONLY_SQLITE, STEPS
from tests.routing.conftest import RedisServer, until


async def live_and_die(
    directory: Path, redis: RedisServer, step: str, times: int, *, first: int = 0, database_url: str = ""
) -> list[str]:
    return await asyncio.to_thread(
        dying_publisher.live_and_die, directory, redis.url, step, times, first, database_url
    )


@pytest.mark.parametrize(
    ("step", "times"), [(step, times) for step in STEPS for times in ([1] if step in FIRST_STEPS else [1, 4])]
)
async def test_killed_between_two_steps(
    step: str, times: int, store: Store, tmp_path: Path, redis: RedisServer, replica: Callable[..., Replica]
) -> None:
    if store.backend == "postgresql" and step == ONLY_SQLITE:
        pytest.skip("on PostgreSQL the same coroutine commits and tells")
    node = replica()
    await node.start()
    acknowledged = await live_and_die(tmp_path / "data", redis, step, times, database_url=store.url)

    async with open_source(tmp_path / "data", redis, database_url=store.url) as source:
        wanted = await source.wanted()
        registered = sorted(key for _, key in wanted)
        assert set(acknowledged) <= set(registered), "what was acknowledged is stored"
        assert len(registered) <= len(acknowledged) + 1, "what was not is stored whole, or not at all"
        revision = await source.service.database.read(
            lambda session: source.service._outbox.head(session).revision
        )
        assert revision == len(registered), "each change has its place in the outbox"

        # A publisher that was killed after it had compared everything leaves nothing to compare.
        place = await source.publisher.publish()
        if place.verified:
            assert await held(redis.cache) == wanted
        source.start()
        await until(lambda: node.loaded and all(node.get(number) for number in registered))
        await source.stop()
        for _ in range(3):
            try:
                await source.publisher.verify()
                break
            except PlaceLostError:
                continue
        assert await held(redis.cache) == wanted

    if step not in FIRST_STEPS:
        logged = await redis.cache.changes_since(0, 0.01)
        assert [change.change.key for change in logged] == registered, "each once, in order"


async def test_killed_again_and_again(
    tmp_path: Path, redis: RedisServer, replica: Callable[..., Replica]
) -> None:
    node = replica()
    await node.start()
    acknowledged: list[str] = []
    for life, step in enumerate(STEPS):
        times = 1 if step in FIRST_STEPS else 3
        if step in FIRST_STEPS:
            await redis.client.flushall()  # or there would be nothing to claim
        acknowledged += await live_and_die(tmp_path / "data", redis, step, times, first=100 * life)
    async with open_source(tmp_path / "data", redis) as source:
        source.start()
        await until(lambda: node.loaded and all(node.get(number) for number in acknowledged))
        await until(lambda: source.publisher.synced.is_set())
        await source.stop()
        assert await held(redis.cache) == await source.wanted()
