"""All the core's deadlines in one heap, so that the outside needs a single timer."""

from __future__ import annotations

from collections.abc import Callable
from heapq import heapify, heappop, heappush
from itertools import count
from typing import TypeAlias

COMPACT_ABOVE = 256
"""Cancelled entries tolerated before the heap is rebuilt; beyond it they may at most equal the live ones.

Most timers are cancelled (an answer comes before Timer B), so lazy deletion alone would keep 32 s of
finished calls in memory; rebuilding whenever the dead outnumber the living costs O(1) per cancellation.
"""

Callback: TypeAlias = Callable[[], None]


class Timer:
    """One deadline that can be taken back.

    Attributes:
        deadline: seconds of the queue's clock.

    """

    __slots__ = ("_callback", "_queue", "deadline")

    def __init__(self, queue: TimerQueue, deadline: float, callback: Callback) -> None:
        self._queue = queue
        self._callback: Callback | None = callback
        self.deadline = deadline

    @property
    def pending(self) -> bool:
        """Neither due yet nor cancelled."""
        return self._callback is not None

    def cancel(self) -> None:
        """Take it back. Idempotent, and harmless after the deadline."""
        if self._callback is not None:
            self._callback = None
            self._queue._cancelled()

    def _take(self) -> Callback | None:
        callback, self._callback = self._callback, None
        return callback


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
        self._heap: list[tuple[float, int, Timer]] = []
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
        timer = Timer(self, deadline, callback)
        heappush(self._heap, (deadline, next(self._order), timer))
        if self._announced is None or deadline < self._announced:
            self._announced = deadline
            self._wake(deadline)
        return timer

    def next_deadline(self) -> float | None:
        """When the next pending timer is due; None when none is."""
        heap = self._heap
        while heap and not heap[0][2].pending:
            heappop(heap)
            self._dead -= 1
        return heap[0][0] if heap else None

    def run_due(self) -> None:
        """Call everything due by now, in order; what that sets with no delay runs as well.

        An exception of a callback passes through; the timers behind it stay due.
        """
        # While running nothing needs announcing: the end of this method announces what is left.
        self._announced = float("-inf")
        now = self._clock()
        try:
            while (deadline := self.next_deadline()) is not None and deadline <= now:
                callback = heappop(self._heap)[2]._take()
                assert callback is not None  # noqa: S101 - next_deadline left a pending one on top
                callback()
        finally:
            self._announced = self.next_deadline()
            if self._announced is not None:
                self._wake(self._announced)

    def _cancelled(self) -> None:
        self._dead += 1
        if self._dead > COMPACT_ABOVE and self._dead > len(self._heap) // 2:
            self._heap = [entry for entry in self._heap if entry[2].pending]
            heapify(self._heap)
            self._dead = 0
