"""Putting packets back in order, with as little waiting as that takes.

No timer: a missing packet is waited for until `depth` later ones are there. That suits recording and
detection, which want every sample in its place and do not mind tens of milliseconds; loss becomes a gap in
timestamps, filled by the reader.
"""

from __future__ import annotations

from typing import Generic, TypeVar

T = TypeVar("T")

DEPTH = 4
"""Later packets that prove one lost: 80 ms at 20 ms a packet, more than networks usually reorder by."""

MAX_LATE = 100
"""A number up to this much behind is late or a duplicate, and dropped; further away the source restarted
(RFC 3550 A.1)."""

MAX_AHEAD = 3000
"""A number up to this much ahead is loss; further, a restart (RFC 3550 A.1, MAX_DROPOUT)."""


class ReorderBuffer(Generic[T]):
    """Gives back items in the order of their 16-bit sequence numbers, each number once."""

    __slots__ = ("_depth", "_held", "_next", "dropped")

    def __init__(self, depth: int = DEPTH) -> None:
        self._depth = depth
        self._next: int | None = None
        self._held: dict[int, T] = {}
        self.dropped = 0
        """Duplicates, and packets that came after their turn."""

    def push(self, sequence: int, item: T) -> list[T]:
        """Take one item; returns what is now ready, in order."""
        if self._next is None:
            self._next = sequence
        ahead = (sequence - self._next) & 0xFFFF
        if ahead == 0:
            return self._advance(sequence, item)
        if ahead >= 0x10000 - MAX_LATE or sequence in self._held:
            self.dropped += 1
            return []
        if ahead > MAX_AHEAD:
            ready = [*self.flush(), item]
            self._next = (sequence + 1) & 0xFFFF
            return ready
        self._held[sequence] = item
        if len(self._held) <= self._depth:
            return []
        first = self._first_held()
        return self._advance(first, self._held.pop(first))

    def takes(self, sequence: int) -> bool:
        """Whether this number is the next and nothing is held: it is taken then, and ready without `push`."""
        if sequence != self._next or self._held:
            return False
        self._next = sequence + 1 & 0xFFFF
        return True

    def flush(self) -> list[T]:
        """Everything still held, in order; the next item may have any number."""
        ready = []
        while self._held:
            first = self._first_held()
            ready += self._advance(first, self._held.pop(first))
        self._next = None
        return ready

    def _advance(self, sequence: int, item: T) -> list[T]:
        """Release an item, and those held that follow it without a gap."""
        ready = [item]
        sequence = (sequence + 1) & 0xFFFF
        while self._held and sequence in self._held:
            ready.append(self._held.pop(sequence))
            sequence = (sequence + 1) & 0xFFFF
        self._next = sequence
        return ready

    def _first_held(self) -> int:
        turn = self._next or 0
        return min(self._held, key=lambda sequence: (sequence - turn) & 0xFFFF)
