"""A large dictionary in small parts, so that nothing done to it holds the event loop for long.

A single dictionary of a million entries takes tens of milliseconds to grow or to copy, which is audio that is
late.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

PARTS: Final = 256
"""A million entries make parts of four thousand, each copied or grown in a tenth of a millisecond."""

_SHIFT: Final = 40
"""High bits of the hash choose the part: the dictionaries inside tell their entries apart by the low ones."""


class Table:
    """Encoded records by key."""

    __slots__ = ("_parts",)

    def __init__(self) -> None:
        self._parts: list[dict[str, bytes]] = [{} for _ in range(PARTS)]

    def __len__(self) -> int:
        return sum(map(len, self._parts))

    def get(self, key: str) -> bytes | None:
        """The record of that key."""
        return self._parts[hash(key) >> _SHIFT & PARTS - 1].get(key)

    def put(self, key: str, value: bytes | None) -> None:
        """Keep a record; None removes it."""
        part = self._parts[hash(key) >> _SHIFT & PARTS - 1]
        if value is None:
            part.pop(key, None)
        else:
            part[key] = value

    def parts(self) -> Iterator[dict[str, bytes]]:
        """Everything, in parts, each a copy as of when it is asked for. Other threads may write meanwhile."""
        for part in self._parts:
            if part:
                yield part.copy()
