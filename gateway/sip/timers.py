"""All the core's deadlines in one heap, so that the outside needs a single timer."""

from __future__ import annotations

from collections.abc import Callable
from heapq import heapify, heappop, heappush
from itertools import count
from typing import Any, TypeAlias, cast

COMPACT_ABOVE = 256
"""Cancelled entries tolerated before the heap is rebuilt; beyond it they may at most equal the live ones.

Most timers are cancelled (an answer comes before Timer B), so lazy deletion alone would keep 32 s of
finished calls in memory; rebuilding whenever the dead outnumber the living costs O(1) per cancellation.
"""

Callback: TypeAlias = Callable[[], None]


class Timer(list[Any]):
    """One deadline that can be taken back: deadline, order, callback (None once over), queue.

    It is its own heap entry, since lists compare item by item in C; no two have the same order, so that
    neither callbacks nor queues are ever compared.
    """

    __slots__ = ()

    @property
    def deadline(self) -> float:
        """Seconds of the queue's clock."""
        return cast(float, self[0])

    @property
    def pending(self) -> bool:
        """Neither due yet nor cancelled."""
        return self[2] is not None

    def cancel(self) -> None:
        """Take it back. Idempotent, and harmless after the deadline."""
        if self[2] is not None:
            self[2] = None
            self[3]._cancelled()


class TimerQueue:
    """Deadlines in order. Two with the same deadline come due in the order they were set.

    Args:
        clock: seconds, monotonic.
        wake: told the earliest deadline, when one is set that comes before all others, and after each
            `run_due` if any is left.

    """

    __slots__ = ("_announced", "_clock", "_dead", "_heap", "_order", "_wake")

    def __init__(self, clock: Callable[[], float], wake: Callable[[float], None]) -> None:
        self._clock = clock
        self._wake = wake
        self._heap: list[Timer] = []
        self._order = count()
        self._dead = 0
        self._announced: float | None = None

    def __len__(self) -> int:
        """Timers pending."""
        return len(self._heap) - self._dead

    @property
    def entries(self) -> int:
        """Heap entries, cancelled ones included: at most twice the pending ones and `COMPACT_ABOVE`."""
        return len(self._heap)

    def now(self) -> float:
        """The clock's seconds."""
        return self._clock()

    def schedule(self, delay: float, callback: Callback) -> Timer:
        """Call `callback` in `delay` seconds, unless the timer is cancelled."""
        deadline = self._clock() + delay
        timer = Timer((deadline, next(self._order), callback, self))
        heappush(self._heap, timer)
        if self._announced is None or deadline < self._announced:
            self._announced = deadline
            self._wake(deadline)
        return timer

    def next_deadline(self) -> float | None:
        """When the next pending timer is due; None when none is."""
        heap = self._heap
        while heap:
            if heap[0][2] is not None:
                return heap[0].deadline
            heappop(heap)
            self._dead -= 1
        return None

    def run_due(self) -> None:
        """Call everything due by now, in order; what that sets with no delay runs as well.

        An exception of a callback passes through; the timers behind it stay due.
        """
        # While running nothing needs announcing: the end of this method announces what is left.
        self._announced = float("-inf")
        now = self._clock()
        try:
            while (deadline := self.next_deadline()) is not None and deadline <= now:
                timer = heappop(self._heap)
                callback, timer[2] = timer[2], None
                callback()
        finally:
            self._announced = self.next_deadline()
            if self._announced is not None:
                self._wake(self._announced)

    def _cancelled(self) -> None:
        self._dead += 1
        if self._dead > COMPACT_ABOVE and self._dead > len(self._heap) // 2:
            self._heap = [entry for entry in self._heap if entry[2] is not None]
            heapify(self._heap)
            self._dead = 0
