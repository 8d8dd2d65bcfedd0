"""All the core's deadlines in one place, so that the outside needs a single timer.

Nearly all are set with one of a few delays, and most are cancelled: an answer comes before Timer B. Timers
with the same delay come due in the order they were set, so each usual delay has a lane, a list into which
they are linked: setting one, cancelling one and finding the first cost the same however many there are. Any
other delay goes into a heap.
"""

from __future__ import annotations

from collections.abc import Callable
from heapq import heapify, heappop, heappush
from typing import Final, TypeAlias

USUAL_DELAYS: Final = (0.5, 5.0, 32.0, 60.0, 300.0)
"""Seconds: T1, T4 and 64*T1 of transactions, the limits of an INVITE that rings here, and of one of ours."""

COMPACT_ABOVE = 256
"""Cancelled entries tolerated before the heap is rebuilt; beyond it they may at most equal the live ones.

Lazy deletion alone would keep them until their deadline; rebuilding whenever the dead outnumber the living
costs O(1) per cancellation.
"""

Callback: TypeAlias = Callable[[], None]


class Timer:
    """One deadline that can be taken back.

    deadline: seconds of the queue's clock.
    """

    __slots__ = ("_callback", "_queue", "after", "before", "deadline", "lane", "order")

    def __init__(
        self, deadline: float, order: int, callback: Callback, queue: TimerQueue, lane: Lane | None
    ) -> None:
        self.deadline = deadline
        self.order = order
        self._callback: Callback | None = callback
        self._queue = queue
        # For the lane it stands in; None in the heap.
        self.lane = lane
        self.before: Timer | None = None
        self.after: Timer | None = None

    @property
    def pending(self) -> bool:
        """Neither due yet nor cancelled."""
        return self._callback is not None

    def cancel(self) -> None:
        """Take it back. Idempotent, and harmless after the deadline."""
        if self._callback is not None:
            self._callback = None
            self._queue.cancelled(self)

    def take(self) -> Callback | None:
        """What is to be called now, once; None if it was taken back."""
        callback, self._callback = self._callback, None
        return callback


class Lane:
    """The pending timers of one delay, linked in the order they were set, that of their deadlines."""

    __slots__ = ("first", "last")

    def __init__(self) -> None:
        self.first: Timer | None = None
        self.last: Timer | None = None

    def remove(self, timer: Timer) -> None:
        """Unlink one that stands here."""
        before, after = timer.before, timer.after
        if before is None:
            self.first = after
        else:
            before.after = after
        if after is None:
            self.last = before
        else:
            after.before = before
        timer.lane = timer.before = timer.after = None


class TimerQueue:
    """Deadlines in order. Two with the same deadline come due in the order they were set.

    Args:
        clock: seconds, monotonic.
        wake: told the earliest deadline, when one is set that comes before all others, and after each
            `run_due` if any is left.

    """

    __slots__ = (
        "_announced",
        "_clock",
        "_dead",
        "_heap",
        "_lane_of",
        "_lanes",
        "_order",
        "_pending",
        "_wake",
    )

    def __init__(self, clock: Callable[[], float], wake: Callable[[float], None]) -> None:
        self._clock = clock
        self._wake = wake
        self._lane_of = {delay: Lane() for delay in USUAL_DELAYS}
        self._lanes = list(self._lane_of.values())
        # No two entries have the same order, so that timers are never compared.
        self._heap: list[tuple[float, int, Timer]] = []
        self._order = 0
        self._pending = 0
        self._dead = 0
        self._announced: float | None = None

    def __len__(self) -> int:
        """Timers pending."""
        return self._pending

    @property
    def entries(self) -> int:
        """Timers held, cancelled ones included: at most twice the pending ones and `COMPACT_ABOVE`."""
        return self._pending + self._dead

    def now(self) -> float:
        """The clock's seconds."""
        return self._clock()

    def schedule(self, delay: float, callback: Callback) -> Timer:
        """Call `callback` in `delay` seconds, unless the timer is cancelled."""
        deadline = self._clock() + delay
        self._order += 1
        self._pending += 1
        lane = self._lane_of.get(delay)
        timer = Timer(deadline, self._order, callback, self, lane)
        if lane is None:
            heappush(self._heap, (deadline, self._order, timer))
        else:
            last = lane.last
            lane.last = timer
            if last is None:
                lane.first = timer
            else:
                timer.before = last
                last.after = timer
        if self._announced is None or deadline < self._announced:
            self._announced = deadline
            self._wake(deadline)
        return timer

    def next_deadline(self) -> float | None:
        """When the next pending timer is due; None when none is."""
        timer = self._next()
        return None if timer is None else timer.deadline

    def run_due(self) -> None:
        """Call everything due by now, in order; what that sets with no delay runs as well.

        An exception of a callback passes through; the timers behind it stay due.
        """
        # While running nothing needs announcing: the end of this method announces what is left.
        self._announced = float("-inf")
        now = self._clock()
        try:
            while (timer := self._next()) is not None and timer.deadline <= now:
                self._pending -= 1
                if timer.lane is not None:
                    timer.lane.remove(timer)
                else:
                    heappop(self._heap)
                callback = timer.take()
                if callback is not None:
                    callback()
        finally:
            self._announced = self.next_deadline()
            if self._announced is not None:
                self._wake(self._announced)

    def cancelled(self, timer: Timer) -> None:
        """Forget a timer that was taken back; one in the heap when they are too many there."""
        self._pending -= 1
        if timer.lane is not None:
            timer.lane.remove(timer)
            return
        self._dead += 1
        if self._dead > COMPACT_ABOVE and self._dead > len(self._heap) // 2:
            self._heap = [entry for entry in self._heap if entry[2].pending]
            heapify(self._heap)
            self._dead = 0

    def _next(self) -> Timer | None:
        """The pending timer that comes first."""
        heap = self._heap
        while heap and not heap[0][2].pending:
            heappop(heap)
            self._dead -= 1
        found = heap[0][2] if heap else None
        for lane in self._lanes:
            first = lane.first
            if first is not None and (
                found is None
                or first.deadline < found.deadline
                or (first.deadline == found.deadline and first.order < found.order)
            ):
                found = first
        return found
