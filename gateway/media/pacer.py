"""When each frame is due.

Deadlines are absolute, so a late event loop delays single packets but never the stream.
"""

from __future__ import annotations

from gateway.media.g711 import FRAME_SECONDS

MAX_BURST = 5
"""Frames sent at once to catch up after a stall: 100 ms, what a receiver's jitter buffer takes. Older
deadlines are
given up: the rest of the audio moves back in time instead of arriving as a flood."""

TIMER_GRAIN = 0.001
"""Seconds a timer may fire early and still count: uvloop's clock and timers tick in milliseconds."""


class Pacer:
    """Numbers frames and says when each is due: frame *n* at `start + n * 20 ms`. Pure; seconds throughout.

    Attributes:
        deadline: when the next frame is due.
        number: of the next frame; times 160 it is the RTP timestamp relative to the start.
        underruns: frames sent at least one frame time late, or given up.

    """

    __slots__ = ("_start", "deadline", "number", "underruns")

    def __init__(self, start: float) -> None:
        self._start = self.deadline = start
        self.number = 0
        self.underruns = 0

    def due(self, now: float) -> bool:
        """Whether the next frame should go out now."""
        return self.deadline <= now + TIMER_GRAIN

    def sent(self, now: float) -> None:
        """Step to the next frame."""
        if now - self.deadline >= FRAME_SECONDS:
            self.underruns += 1
        self.number = number = self.number + 1
        self.deadline = self._start + number * FRAME_SECONDS

    def frames_late(self, now: float) -> int:
        """Whole frame times since the next frame was due."""
        return int((now - self.deadline) / FRAME_SECONDS)

    def give_up_late(self, now: float) -> bool:
        """After a stall longer than `MAX_BURST` frames, skip the numbers beyond it; True if any were."""
        late = self.frames_late(now) - MAX_BURST
        if late <= 0:
            return False
        self.number += late
        self.deadline = self._start + self.number * FRAME_SECONDS
        self.underruns += late
        return True

    def resume(self, now: float) -> None:
        """After a pause: the next frame is due now, and its number shows how long the pause was."""
        pause = int((now - self.deadline) // FRAME_SECONDS)
        if pause > 0:
            self.number += pause
            self._start = now - self.number * FRAME_SECONDS
            self.deadline = now
