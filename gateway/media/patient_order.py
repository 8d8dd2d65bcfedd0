"""Packets in order, with no more patience than this network has been shown to need.

Most networks never reorder: then a packet that is missing is lost, and waiting for it would only make the
others late. Where one did come late, the next gap is waited for, by as many packets as that one was behind,
until half a minute has passed without another.
"""

from __future__ import annotations

from collections import deque
from typing import Generic, TypeVar

T = TypeVar("T")

MAX_PATIENCE = 5
"""Later packets that are held back for a missing one: 100 ms at 20 ms a packet."""

MAX_STEP = 3000
"""A number further ahead, or further behind, is a restarted source (RFC 3550 A.1)."""

CALM = 1500
"""Packets in turn, half a minute of them, after which nothing is waited for any more."""

KNOWN_MISSING = 64
"""Numbers passed over lately: one of these that comes is late, any other behind its turn is a duplicate."""


class PatientOrder(Generic[T]):
    """Gives back items by their 16-bit sequence numbers, each number once."""

    __slots__ = ("_calm", "_expected", "_missing", "_waiting", "patience")

    def __init__(self) -> None:
        self._expected = 0
        self._waiting: dict[int, T] = {}
        self._missing: deque[int] = deque(maxlen=KNOWN_MISSING)
        self._calm = 0
        self.patience = 0
        """Items that are held back for a missing one."""

    def restart(self, sequence: int) -> None:
        """Begin with this number; what was held back is dropped."""
        self._expected = sequence
        self._waiting.clear()
        self._missing.clear()

    def is_restart(self, sequence: int) -> bool:
        """Whether a number is too far away to be this source's next ones, or late ones."""
        return MAX_STEP < (sequence - self._expected & 0xFFFF) < 0x10000 - MAX_STEP

    def push(self, sequence: int, item: T) -> list[tuple[int, T]]:
        """Take one item; what is ready now, each with the count of those missing before it."""
        ahead = sequence - self._expected & 0xFFFF
        if ahead == 0 and not self._waiting:
            self._expected = sequence + 1 & 0xFFFF
            self._calm += 1
            if self._calm >= CALM:
                self.patience = 0
            return [(0, item)]
        if ahead >= 0x10000 - MAX_STEP:
            self._came_late(sequence, 0x10000 - ahead)
            return []
        self._waiting[sequence] = item
        ready = []
        while self._waiting and (self._expected in self._waiting or len(self._waiting) > self.patience):
            ready.append(self._next())
        return ready

    def _came_late(self, sequence: int, behind: int) -> None:
        if sequence in self._missing:
            self._missing.remove(sequence)
            self.patience = min(max(self.patience, behind), MAX_PATIENCE)
            self._calm = 0

    def _next(self) -> tuple[int, T]:
        expected = self._expected
        first = min(self._waiting, key=lambda sequence: sequence - expected & 0xFFFF)
        missing = first - expected & 0xFFFF
        self._missing.extend(expected + n & 0xFFFF for n in range(missing))
        self._expected = first + 1 & 0xFFFF
        return missing, self._waiting.pop(first)
