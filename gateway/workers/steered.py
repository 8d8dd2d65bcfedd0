"""Between a shared SIP port and who hears carriers: messages that belong to a sibling go there."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from gateway.sip.flow import Flow
from gateway.sip.ingress import CarrierIngress
from gateway.workers.steering import Steering


class SteeredIngress:
    """A `gateway.sip.network.Receiver` before another one.

    Args:
        ingress: who hears carriers.
        steering: decides; delivers there.

    """

    def __init__(self, ingress: CarrierIngress, steering: Steering) -> None:
        self._ingress = ingress
        self._received = steering.received
        self.flow_failed = ingress.flow_failed
        self.knows = ingress.knows
        self.admits = ingress.admits
        self.identify: Callable[[Sequence[str]], str | None] = ingress.identify
        self.dropped = ingress.dropped

    def message_received(self, data: bytes, flow: Flow) -> None:
        """Take it, or have it taken by the worker that it belongs to."""
        self._received(data, flow)

    @property
    def asks_certificates(self) -> bool:
        """See `CarrierIngress`."""
        return self._ingress.asks_certificates
