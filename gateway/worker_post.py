"""A worker's end of the SIP messages that go between workers: what it hands on, and what it is handed."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from gateway.sip.ingress import CarrierIngress
from gateway.sip.network import Receiver
from gateway.telemetry.metrics import Metrics
from gateway.worker_seat import Seat
from gateway.workers.handover import Handover
from gateway.workers.steered import SteeredIngress
from gateway.workers.steering import Handed, Steering

RESULTS = ("taken", "asked", "stood_in")
"""What becomes of a message that belongs elsewhere, for the metrics."""


class WorkerPost:
    """See above.

    Args:
        seat: of this worker.
        knows: whether what an INVITE or a CANCEL is about is here.
        metrics: counts.

    """

    def __init__(self, seat: Seat, knows: Callable[[bytes], bool], metrics: Metrics) -> None:
        self._seat = seat
        self._knows = knows
        self._counters = {result: metrics.handed.labels(result) for result in RESULTS}
        self._handover = Handover(seat.directory, seat.slot, self._take, metrics.dropped)
        self._steered: SteeredIngress | None = None

    def steer(self, ingress: CarrierIngress) -> Receiver:
        """What stands before whoever hears carriers; see `gateway.sip.endpoint.SipEndpoint`."""
        order = self._seat.order
        self._steered = SteeredIngress(
            ingress,
            lambda deliver, hears: Steering(
                order.slot,
                order.members,
                order.elders,
                deliver=deliver,
                hears=hears,
                hand=self._handover.hand,
                knows=self._knows,
                clock=time.monotonic,
                restarted=order.restarted,
                on_handed=lambda result: self._counters[result].inc(),
            ),
        )
        return self._steered

    async def open(self) -> None:
        """Take what siblings hand over. Raises OSError."""
        await self._handover.open()

    def close(self) -> None:
        """Take no more. Idempotent."""
        self._handover.close()

    @property
    def retired(self) -> bool:
        """Another version has new calls."""
        return self._steered is not None and self._steered.steering.retired

    def retire(self, successors: Sequence[int]) -> None:
        """Give those what is new from now on."""
        if self._steered is not None:
            self._steered.steering.retire(successors)

    def _take(self, handed: Handed) -> None:
        if self._steered is not None:
            self._steered.steering.handed(handed)
