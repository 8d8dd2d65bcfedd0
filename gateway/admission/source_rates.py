"""How fast one address may begin something, and how often we say no."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from gateway.admission.token_bucket import TokenBucket, TokenBuckets

MAX_REFUSALS: Final = 100
"""Refusals a second that are sent to addresses that nobody admitted, or that come too fast; beyond it there
is silence. An honest peer reads one, and a forged source address must not be sent a flood of ours."""


class SourceRates:
    """Both questions of `gateway.sip.ingress.CarrierIngress`.

    Args:
        rate: requests a second that one admitted address may begin.
        clock: seconds, monotonic.

    """

    __slots__ = ("_clock", "_refusals", "_sources")

    def __init__(self, rate: float, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._sources = TokenBuckets(rate)
        self._refusals = TokenBucket(MAX_REFUSALS, clock())

    def within(self, host: str) -> bool:
        """Whether this address may begin one more thing now."""
        return self._sources.take(host, self._clock())

    def may_refuse(self) -> bool:
        """Whether one more refusal may be sent now."""
        return self._refusals.take(self._clock())
