"""What all recordings have to do with the disk, gathered: one trip of a thread serves them all.

A trip for each recording costs the event loop more than the writing itself: a lock, a wake-up of the thread,
one of the loop. With hundreds of recordings that is most of their price.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from functools import partial
from typing import Any, TypeVar, TypeVarTuple

GATHER_SECONDS = 0.05
"""Between two trips; little against the half second that a recording keeps in memory anyway."""

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

_Work = tuple[asyncio.Future[Any], Callable[[], Any]]


class Disk:
    """Runs file operations in a thread, in the order they came, many at a time.

    Args:
        executor: whose thread; by default the loop's own.

    """

    __slots__ = ("_executor", "_loop", "_timer", "_under_way", "_waiting")

    def __init__(self, executor: Executor | None = None) -> None:
        self._executor = executor
        self._loop = asyncio.get_running_loop()
        self._waiting: list[_Work] = []
        self._timer: asyncio.TimerHandle | None = None
        self._under_way = False

    def run(self, work: Callable[[*Ts], T], *arguments: *Ts) -> asyncio.Future[T]:
        """Have it done; its result or what it raises is in the future."""
        future: asyncio.Future[T] = self._loop.create_future()
        self._waiting.append((future, partial(work, *arguments)))
        self._set_timer()
        return future

    def _set_timer(self) -> None:
        if self._timer is None and not self._under_way and self._waiting:
            self._timer = self._loop.call_later(GATHER_SECONDS, self._start)

    def _start(self) -> None:
        self._timer = None
        self._under_way = True
        gathered, self._waiting = self._waiting, []
        try:
            trip = self._loop.run_in_executor(self._executor, _do_all, [work for _, work in gathered])
        except RuntimeError:  # the threads are gone: the process ends
            self._under_way = False
            _give_up(gathered)
        else:
            trip.add_done_callback(partial(self._back, gathered))

    def _back(self, gathered: list[_Work], trip: asyncio.Future[list[tuple[Any, OSError | None]]]) -> None:
        self._under_way = False
        self._set_timer()
        if trip.cancelled() or trip.exception() is not None:
            _give_up(gathered)
            return
        for (future, _), (result, error) in zip(gathered, trip.result(), strict=True):
            if future.done():
                continue
            if error is None:
                future.set_result(result)
            else:
                future.set_exception(error)


def _give_up(gathered: list[_Work]) -> None:
    for future, _ in gathered:
        future.cancel()


def _do_all(works: list[Callable[[], Any]]) -> list[tuple[Any, OSError | None]]:
    """In the thread."""
    results: list[tuple[Any, OSError | None]] = []
    for work in works:
        try:
            results.append((work(), None))
        except OSError as error:
            results.append((None, error))
    return results
