"""A worker's end of the SIP messages that go between workers: what it hands on, and what it is handed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence

from gateway.sip.flow import Flow
from gateway.sip.ingress import CarrierIngress
from gateway.sip.network import LENT_SHIFT, Receiver
from gateway.telemetry.metrics import Metrics
from gateway.worker_seat import Seat
from gateway.workers.handover import Handover
from gateway.workers.marks import call_id_of, name_finder
from gateway.workers.steered import SteeredIngress
from gateway.workers.steering import Handed, Purpose, Steering

RESULTS = ("taken", "asked", "stood_in")
"""What becomes of a message that belongs elsewhere, for the metrics."""


class WorkerPost:
    """See above.

    A message that has come by a connection is answered by it, so what belongs to a sibling goes there with
    the connection's number and ours; what it answers comes back, and leaves from here.

    Args:
        seat: of this worker.
        knows: whether what a request is about is here; see `gateway.workers.steering`.
        send: sends through a connection of this process, if it is still there.
        metrics: counts.

    """

    def __init__(
        self,
        seat: Seat,
        knows: Callable[[bytes], bool],
        send: Callable[[Flow, bytes], None],
        metrics: Metrics,
    ) -> None:
        self._seat = seat
        self._knows = knows
        self._send = send
        self._counters = {result: metrics.handed.labels(result) for result in RESULTS}
        self._handover = Handover(seat.directory, seat.slot, self._take, metrics.dropped)
        self._name_of: Callable[[bytes], bytes] = call_id_of
        self._steering: Steering | None = None

    def steer(self, ingress: CarrierIngress) -> Receiver:
        """What stands before whoever hears carriers; see `gateway.sip.endpoint.SipEndpoint`."""
        return SteeredIngress(ingress, self._steering_to(ingress))

    def steer_own(self, ingress: CarrierIngress) -> Receiver:
        """The same for the listeners of this worker alone.

        What comes there is its own, unless it has started again: then siblings may have taken calls over that
        the process before had, and their peers may not have heard of it.
        """
        if not self._seat.order.restarted:
            return ingress
        return SteeredIngress(ingress, self._steering_to(ingress))

    def _steering_to(self, ingress: CarrierIngress) -> Steering:
        if self._steering is None:
            order = self._seat.order
            self._steering = Steering(
                order.slot,
                order.members,
                order.elders,
                order.before,
                deliver=ingress.message_received,
                hears=ingress.hears,
                hand=self._hand,
                knows=self._knows,
                name_of=lambda data: self._name_of(data),
                clock=time.monotonic,
                restarted=order.restarted,
                on_handed=lambda result: self._counters[result].inc(),
            )
        return self._steering

    def calls_are_named(self, headers: Iterable[str]) -> None:
        """Learn in which headers carriers name their calls; see `gateway.workers.marks.name_finder`."""
        self._name_of = name_finder(headers)

    async def open(self) -> None:
        """Take what siblings hand over. Raises OSError."""
        await self._handover.open()

    def close(self) -> None:
        """Take no more. Idempotent."""
        self._handover.close()

    @property
    def retired(self) -> bool:
        """Another version has new calls."""
        return self._steering is not None and self._steering.retired

    def begin(self) -> None:
        """Take what is new: those before us do not any more."""
        if self._steering is not None:
            self._steering.begin()

    def retire(self, successors: Sequence[int]) -> None:
        """Give those what is new from now on."""
        if self._steering is not None:
            self._steering.retire(successors)

    def lend(self, flow: Flow, data: bytes) -> bool:
        """Send through a sibling's connection; see `gateway.sip.transport.SocketNetwork`."""
        holder = flow.channel >> LENT_SHIFT
        return self._handover.hand(holder, Handed(Purpose.SEND, self._seat.slot, (), _of_holder(flow), data))

    def _hand(self, slot: int, handed: Handed) -> bool:
        flow = handed.flow
        if flow.reliable and not flow.channel >> LENT_SHIFT:
            lent = flow.channel | self._seat.slot << LENT_SHIFT
            handed = handed._replace(flow=flow._replace(channel=lent))
        return self._handover.hand(slot, handed)

    def _take(self, handed: Handed) -> None:
        if handed.purpose is Purpose.SEND:
            self._send(handed.flow, handed.data)
            return
        if handed.flow.channel >> LENT_SHIFT == self._seat.slot:  # it has come home
            handed = handed._replace(flow=_of_holder(handed.flow))
        if self._steering is not None:
            self._steering.handed(handed)


def _of_holder(flow: Flow) -> Flow:
    """The flow as the process knows it that has the connection."""
    return flow._replace(channel=flow.channel & ((1 << LENT_SHIFT) - 1))
