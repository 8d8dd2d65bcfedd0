"""An event loop whose time is a number: nothing waits, the clock jumps to whatever is due next."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class Deadlock(Exception):
    """Everybody waits and nothing is due: somebody forgot a deadline."""


class _NoSelector(selectors.SelectSelector):
    """Never waits for a descriptor; instead moves the clock of its loop."""

    loop: VirtualTimeLoop | None = None

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        assert self.loop is not None
        if timeout is None:
            raise Deadlock
        self.loop.now += timeout
        return []


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """Single-threaded and deterministic: the same program takes the same steps at the same times."""

    def __init__(self) -> None:
        selector = _NoSelector()
        super().__init__(selector)
        selector.loop = self
        self.now = 0.0

    def time(self) -> float:
        return self.now

    def run_in_executor(self, executor: object, function: Any, *arguments: Any) -> asyncio.Future[Any]:
        """At once, in this thread: real threads would finish at times that no seed decides."""
        future = self.create_future()
        try:
            future.set_result(function(*arguments))
        except Exception as error:
            future.set_exception(error)
        return future


def run(main: Coroutine[Any, Any, T]) -> T:
    """`asyncio.run` in virtual time. Tasks left over are an error: what a call started, it ends."""
    loop = VirtualTimeLoop()
    try:
        result = loop.run_until_complete(main)
        leftovers = asyncio.all_tasks(loop)
        assert not leftovers, f"tasks left: {leftovers}"
        return result
    finally:
        for task in asyncio.all_tasks(loop):
            task.cancel()
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()
