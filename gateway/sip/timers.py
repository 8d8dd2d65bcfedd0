"""All the core's deadlines in one heap, so that the outside needs a single timer."""

from __future__ import annotations

from collections.abc import Callable
from heapq import heapify, heappop, heappush
from typing import TypeAlias

COMPACT_ABOVE = 256
"""Cancelled entries tolerated before the heap is rebuilt; beyond it they may at most equal the live ones.

Most timers are cancelled (an answer comes before Timer B), so lazy deletion alone would keep 32 s of
finished calls in memory; rebuilding whenever the dead outnumber the living costs O(1) per cancellation.
"""

Callback: TypeAlias = Callable[[], None]


class Timer:
    """One deadline that can be taken back.

    deadline: seconds of the queue's clock.
    """

    __slots__ = ("_callback", "_queue", "deadline")

    def __init__(self, deadline: float, callback: Callback, queue: TimerQueue) -> None:
        self.deadline = deadline
        self._callback: Callback | None = callback
        self._queue = queue

    @property
    def pending(self) -> bool:
        """Neither due yet nor cancelled."""
        return self._callback is not None

    def cancel(self) -> None:
        """Take it back. Idempotent, and harmless after the deadline."""
        if self._callback is not None:
            self._callback = None
            self._queue.cancelled()

    def take(self) -> Callback | None:
        """What is to be called now, once; None if it was taken back."""
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
        # No two entries have the same order, so that timers are never compared.
        self._heap: list[tuple[float, int, Timer]] = []
        self._order = 0
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
        timer = Timer(deadline, callback, self)
        self._order += 1
        heappush(self._heap, (deadline, self._order, timer))
        if self._announced is None or deadline < self._announced:
            self._announced = deadline
            self._wake(deadline)
        return timer

    def next_deadline(self) -> float | None:
        """When the next pending timer is due; None when none is."""
        heap = self._heap
        while heap:
            if heap[0][2].pending:
                return heap[0][0]
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
                callback = heappop(self._heap)[2].take()
                if callback is not None:
                    callback()
        finally:
            self._announced = self.next_deadline()
            if self._announced is not None:
                self._wake(self._announced)

    def cancelled(self) -> None:
        """Count a timer that was taken back, and drop all of them when they are too many."""
        self._dead += 1
        if self._dead > COMPACT_ABOVE and self._dead > len(self._heap) // 2:
            self._heap = [entry for entry in self._heap if entry[2].pending]
            heapify(self._heap)
            self._dead = 0
