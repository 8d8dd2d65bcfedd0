"""One press, one key: the same press may arrive as an event, as a tone in the audio, and in a SIP INFO."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

SAME_PRESS = 1.0
"""Seconds within which the same key by another way is the same press: the tone comes through the jitter
buffer, INFO through a proxy or two."""

MAX_RECENT = 32
"""Presses remembered: nobody presses more in a second."""

EVENT = "rfc4733"
TONE = "in-band"
INFO = "info"
"""The ways that a key may come by."""


@dataclass(slots=True)
class _Press:
    key: str
    at: float
    ways: set[str] = field(default_factory=set)


class KeyPresses:
    """Tells new presses from further news of known ones. Pure; seconds of one clock throughout.

    By one way each report is a press of its own, so ``11`` is two even when it comes quickly and twice.
    """

    __slots__ = ("_recent",)

    def __init__(self) -> None:
        self._recent: deque[_Press] = deque(maxlen=MAX_RECENT)

    def is_new(self, key: str, way: str, now: float) -> bool:
        """Whether this is a press not reported before."""
        while self._recent and now - self._recent[0].at > SAME_PRESS:
            self._recent.popleft()
        for press in self._recent:
            if press.key == key and way not in press.ways:
                press.ways.add(way)
                return False
        self._recent.append(_Press(key, now, {way}))
        return True
