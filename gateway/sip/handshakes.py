"""How many TLS handshakes are under way at a time, and for whom: each costs us a signature.

Peers whose address is admitted only share a number with each other. Strangers, who may come where carriers
are known by certificates, get a smaller one and a rate, so that handshakes which lead nowhere cannot keep the
event loop from calls.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

MAX_HANDSHAKES = 64
"""At a time, in all. A carrier's edge opens a few connections; each handshake takes two round trips."""

MAX_HANDSHAKES_A_SOURCE = 16
"""At a time, from one address: a peer that begins and never ends them holds no more."""

MAX_STRANGERS = 16
"""At a time, from addresses that nobody has admitted."""

STRANGERS_A_SECOND = 10.0
"""Handshakes of strangers that are begun: one costs about a millisecond with an RSA key, so 1 % of a core."""


class HandshakeGate:
    """Counts handshakes under way. Without I/O.

    Args:
        clock: seconds, monotonic.

    """

    __slots__ = ("_clock", "_filled_at", "_from", "_strangers", "_tokens")

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._from: Counter[str] = Counter()
        self._strangers = 0
        self._tokens = STRANGERS_A_SECOND
        self._filled_at = clock()

    def enter(self, host: str, *, known: bool) -> bool:
        """Begin a handshake; False if there is no room for it. Each True is ended by `leave`."""
        if self._from.total() >= MAX_HANDSHAKES or self._from[host] >= MAX_HANDSHAKES_A_SOURCE:
            return False
        if not known and not self._room_for_stranger():
            return False
        self._from[host] += 1
        return True

    def leave(self, host: str, *, known: bool) -> None:
        """End one."""
        self._from[host] -= 1
        if not self._from[host]:
            del self._from[host]
        if not known:
            self._strangers -= 1

    def _room_for_stranger(self) -> bool:
        now = self._clock()
        self._tokens = min(STRANGERS_A_SECOND, self._tokens + (now - self._filled_at) * STRANGERS_A_SECOND)
        self._filled_at = now
        if self._strangers >= MAX_STRANGERS or self._tokens < 1:
            return False
        self._tokens -= 1
        self._strangers += 1
        return True
