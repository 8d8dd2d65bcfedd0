"""How fast one key, or one stranger, may ask: token buckets in a table that cannot grow without bound."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

MAX_BUCKETS: Final = 10_000
"""Askers remembered; the one that was quiet longest is forgotten for a new one."""


class TokenBuckets:
    """One bucket for each asker.

    Args:
        rate: tokens a second; burst: tokens at most.
        clock: seconds, monotonic.

    """

    def __init__(self, rate: float, burst: float, clock: Callable[[], float]) -> None:
        self._rate = rate
        self._burst = burst
        self._clock = clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._buckets)

    def take(self, asker: str) -> int:
        """Take a token. Returns 0, or the whole seconds until there is one."""
        now = self._clock()
        tokens, since = self._buckets.pop(asker, (self._burst, now))
        tokens = min(self._burst, tokens + (now - since) * self._rate)
        wait = 0 if tokens >= 1 else max(1, math.ceil((1 - tokens) / self._rate))
        self._buckets[asker] = (tokens if wait else tokens - 1, now)
        if len(self._buckets) > MAX_BUCKETS:
            self._buckets.popitem(last=False)
        return wait

    def left(self, asker: str) -> bool:
        """Whether there is a token, without taking it."""
        tokens, since = self._buckets.get(asker, (self._burst, self._clock()))
        return tokens + (self._clock() - since) * self._rate >= 1
