"""Calls that are over, on their way from a worker to its office, where no API takes them out of Redis."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

from gateway.worker_client import FAILURES, WorkerClient
from routing.call_records import CallShown

MAX_WAITING: Final = 10_000
"""Calls that wait for an office which is being started again, 10 MB; of what comes after, the oldest goes."""

BATCH: Final = 200
"""Calls sent at once."""

GATHER_SECONDS: Final = 0.5
"""Between two batches, and after one that did not arrive."""

LAST_SECONDS: Final = 2.0
"""For those of a worker that ends."""


class WorkerHistory:
    """Sends them.

    Args:
        directory: of the processes' sockets.
        on_dropped: told of each that was given up.

    """

    def __init__(self, directory: Path, on_dropped: Callable[[], None]) -> None:
        self._office = WorkerClient(directory, 0)
        self._waiting: deque[CallShown] = deque()
        self._news = asyncio.Event()
        self._on_dropped = on_dropped

    def put(self, call: CallShown) -> None:
        """A call is over. Never blocks."""
        if len(self._waiting) >= MAX_WAITING:
            self._waiting.popleft()
            self._on_dropped()
        self._waiting.append(call)
        self._news.set()

    async def run(self) -> None:
        """For ever; cancel it."""
        while True:
            await self._news.wait()
            await asyncio.sleep(GATHER_SECONDS)
            await self._send()
            if not self._waiting:
                self._news.clear()

    async def close(self) -> None:
        """Send what is left, if the office takes it, and let go of the connection."""
        try:
            async with asyncio.timeout(LAST_SECONDS):
                while self._waiting and await self._send():
                    pass
        except TimeoutError:
            pass
        await self._office.close()

    async def _send(self) -> bool:
        """Send a batch; whether it arrived."""
        batch = [self._waiting[each] for each in range(min(BATCH, len(self._waiting)))]
        try:
            status, _ = await self._office.forward("POST", "/ended", {}, msgspec.msgpack.encode(batch))
        except FAILURES:
            return False
        for call in batch[: len(batch) if status == 204 else 0]:
            if self._waiting and self._waiting[0] is call:
                self._waiting.popleft()
        return status == 204
