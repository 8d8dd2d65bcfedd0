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
        make: the steering, which is given what delivers here and what tells whether a source is heard.

    Attributes:
        steering: what was made.

    """

    def __init__(
        self,
        ingress: CarrierIngress,
        make: Callable[[Callable[[bytes, Flow], None], Callable[[str], bool]], Steering],
    ) -> None:
        self._ingress = ingress
        self.steering = make(ingress.message_received, ingress.hears)
        self._received = self.steering.received
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
