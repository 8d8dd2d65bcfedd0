"""The SIP observer of those who are not counted: the metrics are about the gateway."""

from __future__ import annotations


class Unobserved:
    """Takes what `gateway.telemetry.metrics.Metrics` takes of SIP, and forgets it."""

    def message(self, direction: str, method: str, code: int) -> None:
        """One message went by."""

    def retransmission(self, direction: str) -> None:
        """A message went by again."""

    def dropped(self, reason: str) -> None:
        """A message was thrown away."""
