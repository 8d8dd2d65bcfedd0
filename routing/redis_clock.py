"""The one clock that all gateways of a Redis share: Redis's own, as it was heard last.

What a gateway tells another one about time goes by it: their own clocks may differ by an hour, and be set at
any moment.
"""

from __future__ import annotations

import time
from collections.abc import Callable


class RedisClock:
    """Carried on by our monotonic clock from one word of Redis's to the next.

    Args:
        clock: seconds, monotonic; wall_clock: seconds since the epoch, believed until Redis was heard.

    """

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, wall_clock: Callable[[], float] = time.time
    ) -> None:
        self._clock = clock
        self._wall_clock = wall_clock
        self._ahead: float | None = None

    def heard(self, seconds: float) -> None:
        """Redis has just said so: seconds since the epoch."""
        self._ahead = seconds - self._clock()

    def now(self) -> float:
        """Seconds since the epoch."""
        return self._wall_clock() if self._ahead is None else self._ahead + self._clock()
