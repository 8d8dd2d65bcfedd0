"""When this node has more to do than it can: how much of the new calls it takes then, and from whom.

In the spirit of RFC 7339, from the receiving side alone: what is measured is the standing delay that messages
meet here, and what is controlled is the share of new INVITEs that are taken (its "loss" algorithm, §5.10.1).
The share falls fast while the delay is above its limit, and rises slowly when it is well below, so that it
settles where the node is just busy. Requests of calls under way always go on: ending calls makes room.

Shedding is fair between carriers. What the node can take is shared out evenly, and whoever asks for less than
its part gets all of it: one carrier's storm costs no other carrier its calls.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from typing import Final

WINDOW: Final = 5
"""Ticks of which the least delay counts, as in CoDel (RFC 8289 §4.2): a burst, or a stall of the machine,
leaves a queue that is soon gone; one that stands for half a second shows that more comes than goes."""

SMOOTHING: Final = 0.3
"""Weight of the newest tick in what each carrier asks for."""

DECREASE: Final = 0.6
"""What a tick with too much delay leaves of the share: a twelfth after half a second, since a queue that has
stood for that long holds seconds of work by then."""

INCREASE: Final = 0.02
"""What a tick without gives back: everything after five seconds."""

CALM: Final = 0.7
"""Part of the limit below which the share rises. Between the two it stays, or it would swing."""

MIN_SHARE: Final = 0.1
"""What is taken in the worst case. Rates bound how much more than it can a node is asked for; below this,
refusing still more would cost the modest carriers' calls and win nothing."""

RATE_SMOOTHING: Final = 0.02
"""Weight of the newest tick in rates of calls: they are means over the last five seconds."""

MIN_RETRY_AFTER: Final = 1
MAX_RETRY_AFTER: Final = 30
"""Seconds; longer than that, and the carrier stays away from a node that is well again."""


class OverloadControl:
    """Decides about each new call; told every `tick` seconds how the node does.

    Args:
        limit: seconds of delay above which calls are refused.
        tick: seconds between calls of `measured`.

    """

    __slots__ = (
        "_credit",
        "_delays",
        "_ended",
        "_ended_rate",
        "_limit",
        "_offered",
        "_offered_rate",
        "_refused",
        "_refused_rate",
        "_share",
        "_shares",
        "_tick",
    )

    def __init__(self, limit: float, tick: float) -> None:
        self._limit = limit
        self._tick = tick
        self._delays: deque[float] = deque([0.0] * WINDOW, WINDOW)
        self._share = 1.0
        self._shares: dict[str, float] = {}
        self._credit: dict[str, float] = {}
        self._offered: dict[str, int] = {}
        self._offered_rate: dict[str, float] = {}
        self._refused = self._ended = 0
        self._refused_rate = self._ended_rate = 0.0

    @property
    def level(self) -> float:
        """The standing delay as part of its limit; 1 while calls are refused."""
        return 1.0 if self.shedding else min(1.0, min(self._delays) / self._limit)

    @property
    def shedding(self) -> bool:
        """Whether calls are refused at the moment."""
        return self._share < 1.0

    def measured(self, delay: float, fill: float = 0.0) -> None:
        """Take a tick's measurements.

        delay: seconds by which the event loop, or a message that waited to be read, was late.
        fill: part of the room for transactions that is taken, 0 to 1; a full table weighs like the delay's
            limit.
        """
        self._delays.append(max(delay, fill * self._limit))
        standing = min(self._delays)
        if standing > self._limit:
            self._share = max(MIN_SHARE, self._share * DECREASE)
        elif standing < CALM * self._limit:
            self._share = min(1.0, self._share + INCREASE)
        self._ended_rate += RATE_SMOOTHING * (self._ended / self._tick - self._ended_rate)
        self._refused_rate += RATE_SMOOTHING * (self._refused / self._tick - self._refused_rate)
        self._ended = self._refused = 0
        self._share_out()

    def admits(self, carrier: str) -> bool:
        """Whether the next call of this carrier is taken.

        carrier: its name; there are as many as the operator's files have.
        """
        self._offered[carrier] = self._offered.get(carrier, 0) + 1
        if self._share >= 1.0:
            return True
        # Not by chance: of ten calls at a share of 0.3 exactly three are taken.
        credit = self._credit.get(carrier, 1.0) + self._shares.get(carrier, 1.0)
        if credit < 1.0:
            self._credit[carrier] = credit
            return False
        self._credit[carrier] = credit - 1.0
        return True

    def refused(self) -> None:
        """A call was refused for want of room, by whichever limit: it is going to come again."""
        self._refused += 1

    def ended(self) -> None:
        """A call has ended, and made room."""
        self._ended += 1

    def retry_after(self, excess: int = 0) -> int:
        """Whole seconds after which those who are being refused find room.

        That is when as many calls have ended, at the pace of the last seconds, as a second's refusals need.

        excess: calls that must end before there is room for any.
        """
        wanted = max(1.0, self._refused_rate) + excess
        if self._ended_rate * MAX_RETRY_AFTER <= wanted:
            return MAX_RETRY_AFTER
        return max(MIN_RETRY_AFTER, math.ceil(wanted / self._ended_rate))

    def _share_out(self) -> None:
        for carrier in self._offered.keys() - self._offered_rate.keys():
            self._offered_rate[carrier] = 0.0
        for carrier, rate in list(self._offered_rate.items()):
            now = self._offered.get(carrier, 0) / self._tick
            rate += SMOOTHING * (now - rate)
            if rate < 0.01:
                del self._offered_rate[carrier]
                self._credit.pop(carrier, None)
            else:
                self._offered_rate[carrier] = rate
        self._offered.clear()
        self._shares = fair_shares(self._offered_rate, self._share) if self.shedding else {}


def fair_shares(offered: Mapping[str, float], share: float) -> dict[str, float]:
    """What part of its calls each carrier gets through when all together get `share` of theirs.

    Max-min fairness: nobody gets more as long as somebody who asks for it has less.

    offered: calls a second, by carrier, each above 0.
    """
    left = share * sum(offered.values())
    shares: dict[str, float] = {}
    modest_first = sorted(offered.items(), key=lambda item: item[1])
    for position, (carrier, rate) in enumerate(modest_first):
        granted = min(rate, left / (len(modest_first) - position))
        shares[carrier] = granted / rate
        left -= granted
    return shares
