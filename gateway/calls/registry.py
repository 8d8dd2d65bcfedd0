"""The calls that are alive, and their orderly end."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

from gateway.calls.call import Call

GOODBYE_PATIENCE = 5.0
"""Seconds that dismissed calls get to say goodbye in: recordings are closed, BYEs sent."""

UNAVAILABLE = 503


class Registry:
    """Live calls by id, each with the task that works for it."""

    def __init__(self) -> None:
        self._calls: dict[str, tuple[Call, asyncio.Task[None]]] = {}
        self._empty = asyncio.Event()
        self._empty.set()

    def __len__(self) -> int:
        return len(self._calls)

    def __iter__(self) -> Iterator[Call]:
        return iter([call for call, _ in self._calls.values()])

    def get(self, call_id: str) -> Call | None:
        """The live call of that id."""
        entry = self._calls.get(call_id)
        return entry[0] if entry else None

    def add(self, call: Call, task: asyncio.Task[None]) -> None:
        """A call has begun; it leaves by itself when its task is done."""
        self._calls[call.id] = call, task
        self._empty.clear()
        task.add_done_callback(lambda _: self._remove(call.id))

    async def drain(self, patience: float) -> int:
        """Let calls finish, then end those that are left; how many had to be ended.

        patience: seconds for calls to finish by themselves. New calls must be refused by then.
        """
        if await self._emptied(patience):
            return 0
        left = list(self)
        for call in left:
            call.dismiss("the gateway is shutting down", UNAVAILABLE)
        if not await self._emptied(GOODBYE_PATIENCE):
            for _, task in self._calls.values():
                task.cancel()
            await self._emptied(GOODBYE_PATIENCE)
        return len(left)

    async def _emptied(self, patience: float) -> bool:
        try:
            async with asyncio.timeout(patience):
                await self._empty.wait()
        except TimeoutError:
            return False
        return True

    def _remove(self, call_id: str) -> None:
        del self._calls[call_id]
        if not self._calls:
            self._empty.set()
