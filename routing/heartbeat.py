"""One node's heartbeat: what it says of itself every other second, and what it hears in answer."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from typing import Final

from redis.exceptions import RedisError

from routing.nodes import Neighbours, NodeRegistry, NodeWords

BEAT_SECONDS: Final = 2.0

GOODBYE_SECONDS: Final = 1.0
"""For Redis to take a goodbye; a node that cannot say it is shown as gone."""

FAILURES: Final = (RedisError, OSError, TimeoutError)
"""What saying something may raise."""


class Heartbeat:
    """Runs until cancelled.

    Args:
        registry: told.
        name: of this node.
        words: what it says of itself now.
        on_beat: told what was heard in answer, and how many seconds that took.
        on_error: told what went wrong, each time.
        clock: seconds, monotonic.

    Attributes:
        neighbours: what was heard last; None: nothing yet.

    """

    def __init__(
        self,
        registry: NodeRegistry,
        name: str,
        words: Callable[[], NodeWords],
        *,
        on_beat: Callable[[Neighbours, float], None] = lambda neighbours, seconds: None,
        on_error: Callable[[BaseException], None] = lambda error: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._registry = registry
        self._name = name
        self._words = words
        self._on_beat = on_beat
        self._on_error = on_error
        self._clock = clock
        self.neighbours: Neighbours | None = None

    async def run(self) -> None:
        """Beat until cancelled."""
        while True:
            await self.beat()
            await asyncio.sleep(BEAT_SECONDS)

    async def beat(self) -> None:
        """Say it once. Raises nothing."""
        began = self._clock()
        try:
            self.neighbours = await self._registry.beat(self._name, self._words())
        except FAILURES as error:
            self._on_error(error)
        else:
            self._on_beat(self.neighbours, self._clock() - began)

    async def goodbye(self) -> None:
        """Say that the node ends in good order. Raises nothing."""
        with contextlib.suppress(*FAILURES):
            async with asyncio.timeout(GOODBYE_SECONDS):
                await self._registry.leave(self._name)
