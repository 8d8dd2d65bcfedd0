"""What can go wrong at a carrier, ordered up for one operation."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal


@dataclass(slots=True)
class Fault:
    """What happens to the next requests for an operation.

    kind:
        `refused`   answered with status, headers and body; nothing happens.
        `answered`  it happens, but status, headers and body are the answer.
        `silent`    it happens; no answer ever comes, and the connection stays open.
        `dropped`   it happens; the connection is closed without an answer.
        `unheard`   nothing happens, and the connection is closed without an answer.
    times: how many requests it meets; each fault is met before the next one that was ordered.
    after: requests that pass before it begins.
    then: is called when it meets a request, once that has its effect, and before its connection is closed.
    """

    kind: Literal["refused", "answered", "silent", "dropped", "unheard"]
    status: int = 0
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)
    times: int = 1
    after: int = 0
    then: Callable[[], None] = lambda: None

    @property
    def has_effect(self) -> bool:
        """Whether the request is granted all the same."""
        return self.kind in {"answered", "silent", "dropped"}
