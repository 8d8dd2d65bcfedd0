"""What a service has opened and started: ended in the reverse order."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

import structlog

log = structlog.get_logger("gateway")


class Background(contextlib.AsyncExitStack):
    """An exit stack that runs tasks as well; each is cancelled and awaited when its turn comes."""

    def run(self, work: Callable[[], Awaitable[None]], name: str) -> None:
        """Start a task; one that fails says so in the log and takes nothing else with it."""

        async def guarded() -> None:
            try:
                await work()
            except Exception:
                log.exception("background task failed", task=name)

        task = asyncio.create_task(guarded(), name=name)

        async def end() -> None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

        self.push_async_callback(end)
