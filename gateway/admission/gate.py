"""The door for new calls: asked for each INVITE that begins one, before anything of it is remembered."""

from __future__ import annotations

import math
from collections.abc import Callable

from gateway.admission.carriers import Carrier
from gateway.admission.limits import AdmissionLimits, Refusal
from gateway.admission.overload import MAX_RETRY_AFTER, OverloadControl
from gateway.admission.token_bucket import TokenBucket

CARRIER_RATE = "carrier_rate"
OVERLOAD = "overload"
RULES = (CARRIER_RATE, OVERLOAD, "max_active_calls")
"""Why a call is refused at the door, as the metrics say it."""


class CallGate:
    """Refuses calls that come too fast or too many.

    Args:
        limits: how many calls at a time.
        overload: how the node does.
        rate: calls a second that a carrier may place unless its entry says otherwise.
        active_calls: how many are under way.
        clock: seconds, monotonic.
        on_refused: told the carrier's name and the rule, for each.
        share: of every rate, the part that is this process's.

    """

    __slots__ = (
        "_active_calls",
        "_buckets",
        "_clock",
        "_limits",
        "_on_refused",
        "_overload",
        "_rate",
        "_share",
    )

    def __init__(
        self,
        limits: AdmissionLimits,
        overload: OverloadControl,
        *,
        rate: float,
        active_calls: Callable[[], int],
        clock: Callable[[], float],
        on_refused: Callable[[str, str], None] = lambda carrier, rule: None,
        share: float = 1.0,
    ) -> None:
        self._limits = limits
        self._overload = overload
        self._rate = rate
        self._active_calls = active_calls
        self._clock = clock
        self._on_refused = on_refused
        self._share = share
        # By name, so that reading the carriers again changes nothing; as many as the files have had.
        self._buckets: dict[str, TokenBucket] = {}

    def refusal(self, carrier: Carrier) -> Refusal | None:
        """Why this carrier's next call is not taken, if so. A call that is taken is counted."""
        refusal = self._too_many(carrier)
        if refusal is not None:
            self._overload.refused()
            self._on_refused(carrier.name, refusal.rule)
        return refusal

    def _too_many(self, carrier: Carrier) -> Refusal | None:
        now = self._clock()
        bucket = self._bucket(carrier, now)
        if not bucket.take(now):
            wait = min(MAX_RETRY_AFTER, math.ceil(bucket.wait(now)))
            return Refusal(503, "Too Many Calls A Second", wait, CARRIER_RATE)
        if not self._overload.admits(carrier.name):
            return Refusal(503, "Overloaded", self._overload.retry_after(), OVERLOAD)
        excess = self._limits.excess(self._active_calls())
        return None if excess is None else self._limits.full(self._overload.retry_after(excess))

    def _bucket(self, carrier: Carrier, now: float) -> TokenBucket:
        rate = (carrier.calls_per_second or self._rate) * self._share
        bucket = self._buckets.get(carrier.name)
        if bucket is None or bucket.rate != rate:
            bucket = self._buckets[carrier.name] = TokenBucket(rate, now)
        return bucket
