"""How unsteadily packets come, and so how long live audio has to wait for the slow ones.

The transit time of a packet (its arrival minus its timestamp) is meaningless by itself, since the two clocks
have nothing in common; but the difference between the slowest and the fastest is the jitter that a buffer has
to absorb. Both are kept for each of the last seconds. The second slowest second decides: one spike in ten
seconds is left to concealment, two are a habit. Clocks that drift apart move both ends of the window alike.
"""

from __future__ import annotations

from collections import deque

BLOCK = 1.0
"""Seconds summed up as one fastest and one slowest packet."""

BLOCKS = 10
"""Blocks remembered: long enough to see what a network does, short enough to forgive it."""

FIRST_TARGET = 0.08
"""Seconds to wait before anything is known: 60 ms of jitter, and a frame. It shrinks in the first pause."""

LEAST_TARGET = 0.02
MOST_TARGET = 0.24
"""Seconds; beyond it people begin to talk over each other (ITU-T G.114)."""

MARGIN = 0.005
"""Seconds above what was measured: the granularity of both event loops."""


class NetworkDelay:
    """Follows one stream. Pure; seconds throughout.

    Attributes:
        fastest: transit time of the fastest packet remembered.
        target: how long after it, counted from the fastest packet's moment, each packet should be played.

    """

    __slots__ = ("_blocks", "_ends_at", "_fast", "_first_target", "_slow", "fastest", "target")

    def __init__(self) -> None:
        self.target = FIRST_TARGET
        self.restart()

    def restart(self) -> None:
        """Begin anew with another clock at the other end; what was learned about the way to it stays."""
        self._first_target = self.target
        self._blocks: deque[tuple[float, float]] = deque(maxlen=BLOCKS)
        self._ends_at: float | None = None
        self._fast = self._slow = self.fastest = 0.0

    def note(self, transit: float, now: float) -> None:
        """Take the transit time of a packet that arrived just now."""
        if self._ends_at is None:
            self._ends_at = now + BLOCK
            self._fast = self._slow = self.fastest = transit
        elif now >= self._ends_at:
            self._blocks.append((self._fast, self._slow))
            self._ends_at = now + BLOCK
            self._fast = self._slow = transit
            self._conclude()
        elif transit < self._fast:
            self._fast = transit
            self._conclude()
        elif transit > self._slow:
            self._slow = transit
            self._conclude()

    def _conclude(self) -> None:
        self.fastest = min(self._fast, min((fast for fast, _ in self._blocks), default=self._fast))
        slowest = sorted([slow for _, slow in self._blocks] + [self._slow])
        if len(slowest) <= 2:
            self.target = max(self._first_target, min(self._slow - self.fastest + MARGIN, MOST_TARGET))
        else:
            self.target = min(max(slowest[-2] - self.fastest + MARGIN, LEAST_TARGET), MOST_TARGET)
