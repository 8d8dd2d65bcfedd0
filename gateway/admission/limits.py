"""When the gateway takes no new calls: draining, without routes, or full.

Each is a 503, on which carriers move on to the next node at once (docs/carriers.md).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

DRAINING_RETRY_AFTER: Final = 60
"""Seconds: this node is going away, and its successor needs a while."""

STARTING_RETRY_AFTER: Final = 5
"""Seconds: routes are loaded soon, or somebody is being paged."""

FULL_RETRY_AFTER: Final = 2
"""Seconds, where nobody knows how fast calls end."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a call is not taken now, as the caller, the log and the metrics say it.

    status: SIP status code.
    reason: its reason phrase, which is also the text of the Reason header.
    retry_after: seconds until it is worth trying again.
    rule: a fixed word for logs and metrics: ``draining``, ``no_routes``, ``max_active_calls``, or one of
        `gateway.admission.gate.RULES`.
    """

    status: int
    reason: str
    retry_after: int
    rule: str

    @property
    def headers(self) -> tuple[tuple[str, str], ...]:
        """Retry-After (RFC 3261 §20.33) and Reason (RFC 3326) of the response."""
        return (
            ("Retry-After", str(self.retry_after)),
            ("Reason", f'SIP;cause={self.status};text="{self.reason}"'),
        )


_DRAINING: Final = Refusal(503, "Draining", DRAINING_RETRY_AFTER, "draining")
_NO_ROUTES: Final = Refusal(503, "Routes Not Loaded", STARTING_RETRY_AFTER, "no_routes")


@dataclass(slots=True)
class AdmissionLimits:
    """The state of this node that decides about new calls.

    max_active_calls: calls at a time; None for as many as media ports allow.
    draining: the node is on its way out; calls under way go on.
    routes_loaded: numbers are known, from Redis or from the snapshot.
    """

    max_active_calls: int | None = None
    draining: bool = False
    routes_loaded: bool = False

    def unready(self) -> Refusal | None:
        """Why no call at all can be taken, if so: what OPTIONS and `/readyz` answer."""
        if self.draining:
            return _DRAINING
        return None if self.routes_loaded else _NO_ROUTES

    def refusal(self, active_calls: int) -> Refusal | None:
        """Why the next call is not taken, if so.

        active_calls: calls under way, the new one not counted.
        """
        if self.excess(active_calls) is not None:
            return self.unready() or self.full()
        return self.unready()

    def excess(self, active_calls: int) -> int | None:
        """How many calls are too many beside a new one; None while there is room."""
        if self.max_active_calls is None or active_calls < self.max_active_calls:
            return None
        return active_calls - self.max_active_calls

    def full(self, retry_after: int = FULL_RETRY_AFTER) -> Refusal:
        """There is no room for one more."""
        return Refusal(503, "All Lines Busy", retry_after, "max_active_calls")
