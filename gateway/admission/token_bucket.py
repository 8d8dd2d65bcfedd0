"""How fast something may come: token buckets, alone and by key. Pure: time is handed in."""

from __future__ import annotations

from typing import Final

BURST_SECONDS: Final = 2.0
"""What a bucket holds, in seconds of its rate: carriers' calls come in bunches at the full hour."""

MIN_BURST: Final = 2.0
"""What every bucket holds at least, however slow: two callers may dial in the same second."""

MAX_KEYS: Final = 4096
"""Keys whose buckets are remembered. The longest known goes first; it begins again with a full bucket."""


class TokenBucket:
    """Lets `rate` things a second through, and a burst after a pause.

    rate: things a second, above 0.
    now: seconds of any clock that only goes forward; all calls use the same.
    """

    __slots__ = ("_at", "_burst", "_level", "rate")

    def __init__(self, rate: float, now: float) -> None:
        self.rate = rate
        self._burst = self._level = max(MIN_BURST, rate * BURST_SECONDS)
        self._at = now

    def take(self, now: float) -> bool:
        """Whether one more may come now; it is counted if so."""
        level = self._level + (now - self._at) * self.rate
        self._at = now
        if level > self._burst:
            level = self._burst
        if level < 1.0:
            self._level = level
            return False
        self._level = level - 1.0
        return True

    def wait(self, now: float) -> float:
        """Seconds until one more may come."""
        return max(0.0, (1.0 - self._level) / self.rate - (now - self._at))


class TokenBuckets:
    """A bucket for each key, all of one rate. Bounded: see `MAX_KEYS`."""

    __slots__ = ("_buckets", "rate")

    def __init__(self, rate: float) -> None:
        self.rate = rate
        self._buckets: dict[str, TokenBucket] = {}

    def __len__(self) -> int:
        """How many keys are remembered."""
        return len(self._buckets)

    def take(self, key: str, now: float) -> bool:
        """Whether one more of this key may come now; it is counted if so."""
        bucket = self._buckets.get(key)
        if bucket is None:
            if len(self._buckets) >= MAX_KEYS:
                del self._buckets[next(iter(self._buckets))]
            bucket = self._buckets[key] = TokenBucket(self.rate, now)
        return bucket.take(now)
