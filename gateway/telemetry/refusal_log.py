"""Calls refused at the door, told in lines that a flood cannot multiply."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Final

import structlog

log = structlog.get_logger("admission")

INTERVAL: Final = 10.0
"""Seconds between lines: the first refusal is told at once, then the sum of each interval."""


class RefusalLog:
    """Counts refusals and writes a line now and then.

    Args:
        count: counts each for the metrics, by carrier and rule.
        clock: seconds, monotonic.

    """

    def __init__(self, count: Callable[[str, str], None], clock: Callable[[], float]) -> None:
        self._count = count
        self._clock = clock
        self._untold: Counter[tuple[str, str]] = Counter()
        self._told_at = float("-inf")

    def __call__(self, carrier: str, rule: str) -> None:
        """Take one refusal."""
        self._count(carrier, rule)
        self._untold[carrier, rule] += 1
        self.tell()

    def tell(self) -> None:
        """Write what has not been told yet, if the last lines are old enough."""
        if not self._untold or self._clock() - self._told_at < INTERVAL:
            return
        self._told_at = self._clock()
        for (carrier, rule), refusals in self._untold.items():
            log.warning("calls refused", carrier=carrier, rule=rule, refusals=refusals)
        self._untold.clear()
