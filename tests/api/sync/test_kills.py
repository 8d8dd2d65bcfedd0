"""A publisher killed between each two steps loses nothing, repeats nothing and keeps the order."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from routing.cache import PlaceLostError
from routing.replica import Replica
from tests.api.conftest import Store
from tests.api.sync.conftest import held, open_source
from tests.api.sync.dying_publisher import FIRST_STEPS, ONLY_SQLITE, STEPS
from tests.routing.conftest import RedisServer, until

ROOT = Path(__file__).parents[3]
PATIENCE = 60


async def live_and_die(
    directory: Path, redis: RedisServer, step: str, times: int, *, first: int = 0, database_url: str = ""
) -> list[str]:
    """Run a process to its end; returns the numbers whose registration it acknowledged."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "tests.api.sync.dying_publisher", str(directory), redis.url, step, str(times)),
        stdout=asyncio.subprocess.PIPE,
        cwd=ROOT,
        env={**os.environ, "FIRST_NUMBER": str(first), "DATABASE_URL": database_url},
    )
    try:
        async with asyncio.timeout(PATIENCE):
            out, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == -signal.SIGKILL, f"it never came to the step: {step}"
    return out.decode().split()


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
