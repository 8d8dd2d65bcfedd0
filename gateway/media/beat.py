"""The moments at which streams want to be woken, and one timer of the event loop for all of them.

A timer for each frame of each stream costs more than the packet that it is for. Streams that are due within
the grain of the loop's timers are woken by one, in the order of their deadlines.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final
from weakref import WeakKeyDictionary

from gateway.media.pacer import TIMER_GRAIN

AT_REST: Final = -1.0
"""What a stream answers that is not to be woken again."""

Wake = Callable[[float], float]
"""Takes the loop's time; the next moment to be called at, or `AT_REST`."""


class Beat:
    """Wakes the streams of one event loop. Seconds of its clock throughout.

    Nearly always a stream is due again after all others that wait, so that the line needs no sorting. Every
    method is called inside of the loop, which is not kept here: it would never be let go.
    """

    __slots__ = ("_due", "_line", "_timer", "_waking")

    def __init__(self) -> None:
        self._line: deque[tuple[float, Wake]] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._due = 0.0
        self._waking = False

    def wake(self, deadline: float, stream: Wake) -> None:
        """Call `stream` at this time, and then whenever it says."""
        line = self._line
        if not line or line[-1][0] <= deadline:
            line.append((deadline, stream))
        else:
            place = len(line) - 1
            while place and line[place - 1][0] > deadline:
                place -= 1
            line.insert(place, (deadline, stream))
        if not self._waking:
            self._set_timer()

    def forget(self, stream: Wake) -> None:
        """Do not call it any more."""
        for entry in self._line:
            if entry[1] == stream:
                self._line.remove(entry)
                break
        if not self._line and self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _set_timer(self) -> None:
        due = self._line[0][0]
        if self._timer is not None:
            if self._due <= due:
                return
            self._timer.cancel()
        self._due = due
        self._timer = asyncio.get_running_loop().call_at(due, self._wake)

    def _wake(self) -> None:
        self._timer = None
        self._waking = True
        line, now = self._line, asyncio.get_running_loop().time()
        limit = now + TIMER_GRAIN
        try:
            while line and line[0][0] <= limit:
                stream = line.popleft()[1]
                deadline = stream(now)
                if deadline > AT_REST:
                    self.wake(deadline, stream)
        finally:  # a stream that raises goes on by itself, and the loop reports it
            self._waking = False
            if line:
                self._set_timer()


_beats: WeakKeyDictionary[asyncio.AbstractEventLoop, Beat] = WeakKeyDictionary()


def beat_of(loop: asyncio.AbstractEventLoop) -> Beat:
    """The one beat of a loop."""
    beat = _beats.get(loop)
    if beat is None:
        beat = _beats[loop] = Beat()
    return beat
