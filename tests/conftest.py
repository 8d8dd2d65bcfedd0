"""The suite fails on calls of ours that block the event loop, and on tasks that a test leaves behind."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Iterator

import pytest
from blockbuster import BlockBuster, blockbuster_ctx
from hypothesis import HealthCheck, settings

OURS = ["api", "gateway", "routing", "storage"]

LOOKS_FOR_CERTIFICATES = ("asyncpg/connect_utils.py", "_parse_connect_dsn_and_args")
"""What asyncpg does on the loop for each connection to PostgreSQL, of which there are a few; nobody can stop it."""

MIGRATES = ("alembic/command.py", ("upgrade", "downgrade"))
"""Migrations read files; on PostgreSQL they do so on a loop of their own, in a thread."""

READS_STEPS = ("api/store/schema.py", "head")
"""What migrations there are, which is looked for once in a process; likewise."""

# No test depends on how fast a shared machine is today.
settings.register_profile("suite", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("suite")

LAST_STEPS = 10
"""Turns of the loop for tasks that are cancelled to end in."""


@pytest.fixture(autouse=True, scope="session")
def nothing_blocks_the_loop() -> Iterator[BlockBuster]:
    """Raise BlockingError where code of ours reads a file, sleeps or waits for a socket on the loop.

    For the whole session: putting it in place takes three milliseconds, which six thousand tests need not pay.
    """
    with blockbuster_ctx(OURS) as blocking:
        for function in blocking.functions.values():
            function.can_block_in(*LOOKS_FOR_CERTIFICATES)
            function.can_block_in(*MIGRATES)
            function.can_block_in(*READS_STEPS)
        yield blocking


@pytest.fixture
async def no_task_is_left() -> AsyncIterator[None]:
    """Fail a test if a task still runs after the end of its fixtures: nobody awaits or cancels it."""
    yield
    for _ in range(LAST_STEPS):
        await asyncio.sleep(0)
    left = asyncio.all_tasks() - {asyncio.current_task()}
    assert not left, f"tasks left behind: {left}"


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Asynchronous tests, and only they, get `no_task_is_left`: before all others, so that it ends last."""
    for item in items:
        if isinstance(item, pytest.Function) and inspect.iscoroutinefunction(item.function):
            item.fixturenames.insert(0, no_task_is_left.__name__)
