"""A process that registers numbers and publishes them, until it kills itself at a step of its own.

It is forked from a server that has imported everything already.
"""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import os
import signal
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from api.outbox import Outbox
from api.service import ApiService
from api.store.database import Transaction
from api.store.sqlite import SqliteDatabase
from api.types import PhoneNumberCreate
from routing.cache import RoutingCache
from routing.redis_clients import connect

NUMBERS = 30

PATIENCE = 60.0
"""Seconds for it to die."""

_forks = multiprocessing.get_context("forkserver")
_forks.set_forkserver_preload([__name__, "asyncpg"])

STEPS: dict[str, tuple[Any, str, bool]] = {
    "before the commit": (Transaction, "finish", True),
    "after the commit": (SqliteDatabase, "_told", True),
    "before the outbox is read": (Outbox, "after", True),
    "before Redis advances": (RoutingCache, "advance", True),
    "after Redis advanced": (RoutingCache, "advance", False),
    "before the cache is claimed": (RoutingCache, "claim", True),
    "after the cache was claimed": (RoutingCache, "claim", False),
    "before a difference is looked for": (RoutingCache, "held", True),
    "before the cache is sealed": (RoutingCache, "seal", True),
    "after the cache was sealed": (RoutingCache, "seal", False),
}
"""What is wrapped, and whether the end comes before or after it."""

ONLY_SQLITE = "after the commit"
"""Where a thread commits, and the loop is told later."""

FIRST_STEPS = {step for step, (owner, name, _) in STEPS.items() if name in {"claim", "held", "seal"}}
"""Those that a publisher takes at an empty cache, by comparison and so in no order; the others come after."""


def arm(step: str, times: int) -> None:
    """Make the process die at the step's n-th time."""
    owner, name, before = STEPS[step]
    original: Callable[..., Any] = getattr(owner, name)
    left = [times]

    def die() -> None:
        left[0] -= 1
        if left[0] <= 0:
            os.kill(os.getpid(), signal.SIGKILL)

    if asyncio.iscoroutinefunction(original):

        async def wrapped_coroutine(*args: Any, **options: Any) -> Any:
            if before:
                die()
            result = await original(*args, **options)
            if not before:
                die()
            return result

        setattr(owner, name, wrapped_coroutine)
        return

    def wrapped(*args: Any, **options: Any) -> Any:
        if before:
            die()
        result = original(*args, **options)
        if not before:
            die()
        return result

    setattr(owner, name, wrapped)


async def _live(
    directory: Path, redis_url: str, step: str, times: int, first: int, url: str, told: Connection
) -> None:
    service = ApiService(
        directory, version="0", bootstrap_key="oi_sk_bootstrap-key-of-the-tests", database_url=url
    )
    await service.open()
    publisher = service.publisher(connect(redis_url, 5.0))
    if step not in FIRST_STEPS:
        await publisher.publish()
        await publisher.verify()
    arm(step, times)
    work = asyncio.create_task(publisher.run())
    for index in range(first, first + NUMBERS):
        number = PhoneNumberCreate(phone_number=f"+1415555{index:04}", provider="twilio")
        await service.database.write(lambda tx: service.records.add(tx, [number]))  # noqa: B023
        told.send(number.phone_number)
        await asyncio.sleep(0.005)
    publisher.verify_soon()
    await asyncio.sleep(60)
    work.cancel()


def _run(*arguments: Any) -> None:
    asyncio.run(_live(*arguments))


def live_and_die(directory: Path, redis_url: str, step: str, times: int, first: int, url: str) -> list[str]:
    """Run one to its end; returns the numbers whose registration it acknowledged. Blocks.

    first: number that it registers; url: of the store, empty for SQLite.
    """
    ours, theirs = _forks.Pipe(duplex=False)
    process = _forks.Process(
        target=_run, args=(directory, redis_url, step, times, first, url, theirs), daemon=True
    )
    process.start()
    theirs.close()
    process.join(PATIENCE)
    try:
        assert process.exitcode == -signal.SIGKILL, f"it never came to the step: {step}"
    finally:
        process.kill()
        process.join(PATIENCE)
    acknowledged: list[str] = []
    with contextlib.suppress(EOFError):
        while True:
            acknowledged.append(ours.recv())
    ours.close()
    return acknowledged
