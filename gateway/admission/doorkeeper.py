"""Who was turned away at the door lately, and how often, for people who wonder where their call is."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

MAX_AWAY: Final = 256
"""Addresses and carriers that are remembered; the one that came longest ago goes. A flood costs each of its
messages a dictionary's entry."""


@dataclass(frozen=True, slots=True)
class TurnedAway:
    """Somebody who never got past the door.

    who: an address, or a carrier; rule: what turned them away; count: how often; at: the last time, seconds
    since the epoch.
    """

    who: str
    rule: str
    count: int
    at: float


class Doorkeeper:
    """Remembers them. clock: seconds since the epoch."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._away: dict[tuple[str, str], tuple[int, float]] = {}

    def __call__(self, who: str, rule: str) -> None:
        """One more was turned away."""
        count, _ = self._away.pop((who, rule), (0, 0.0))
        if len(self._away) >= MAX_AWAY:
            del self._away[next(iter(self._away))]
        self._away[who, rule] = (count + 1, self._clock())

    def lately(self) -> list[TurnedAway]:
        """The latest first."""
        return [TurnedAway(who, rule, count, at) for (who, rule), (count, at) in reversed(self._away.items())]
