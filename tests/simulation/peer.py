"""A SIP user agent on a simulated host: what carriers and agents are made of."""

from __future__ import annotations

import random
from collections.abc import Callable

from gateway.sip.extensions import Extensions
from gateway.sip.flow import Flow
from gateway.sip.inbound_leg import InboundLeg
from gateway.sip.sink import Direction
from gateway.sip.user_agent import UserAgent
from tests.simulation.network import SimulatedNetwork, SimulatedTransport

UDP, TCP = 1, 2
PORT = 5060


class Peer:
    """Listens on UDP and, if told so, on TCP.

    deaf: messages are not even read; what a crashed process behind a live network does.
    """

    def __init__(
        self,
        network: SimulatedNetwork,
        host: str,
        on_invite: Callable[[InboundLeg], None] | None = None,
        *,
        extensions: Extensions | None = None,
    ) -> None:
        self.host = host
        self._extensions = extensions
        self.deaf = False
        self.network = network
        self._life: _Life | None = None
        self._on_invite = on_invite or (lambda leg: leg.refuse(480))
        self._transports: dict[int, SimulatedTransport] = {}
        rng = random.Random(f"{host} {network.rng.random()}")
        self.rng = rng
        self.agent = self._born()

    def _born(self) -> UserAgent:
        self._life = life = _Life(self)
        return UserAgent(
            life,
            self.network.loop.time,
            lambda: f"{self.rng.getrandbits(64):016x}",
            product="peer",
            extensions=self._extensions,
            on_invite=self._on_invite,
        )

    def crash(self) -> None:
        """The process is gone, and with it all that it knew; its host resets its connections."""
        self.deaf = True
        self._life.end()
        self.network.reset(self.host)

    def restart(self) -> None:
        """A new process, which remembers nothing."""
        self.deaf = False
        self.agent = self._born()

    async def start(self, *, tcp: bool = True) -> None:
        host = self.network.host(self.host)
        self._transports[UDP] = await host.open("udp", (self.host, PORT), UDP, self)
        if tcp:
            self._transports[TCP] = await host.open("tcp", (self.host, PORT), TCP, self)

    def stop(self) -> None:
        for transport in self._transports.values():
            transport.close()

    # What a listener tells.

    def message_received(self, data: bytes, flow: Flow) -> None:
        if not self.deaf:
            self.agent.receive(data, flow)

    def flow_failed(self, flow: Flow, reason: str) -> None:
        self.agent.transport_failed(flow, reason)

    def admits(self, host: str) -> bool:
        return True

    # What the core asks for.

    def send(self, flow: Flow, data: bytes) -> None:
        self._transports[UDP if flow.transport == "udp" else TCP].send(flow, data)

    def flow_to(self, near: Flow, transport: str, host: str, port: int) -> Flow:
        return self.flow(host, port, transport)

    def flow(self, host: str, port: int, transport: str = "udp") -> Flow:
        return Flow(transport, host, port, UDP if transport == "udp" else TCP)

    def local_address(self, flow: Flow) -> tuple[str, int]:
        return self.host, PORT

    def is_open(self, flow: Flow) -> bool:
        return self._transports[TCP].is_open(flow)


class _Life:
    """The sink of one process of a peer: when it has ended, whatever still runs of it is heard by nobody."""

    def __init__(self, peer: Peer) -> None:
        self._peer = peer
        self._timer = None
        self._alive = True
        self.flow_to = peer.flow_to
        self.local_address = peer.local_address
        self.is_open = peer.is_open

    def end(self) -> None:
        self._alive = False
        if self._timer is not None:
            self._timer.cancel()

    def send(self, flow: Flow, data: bytes) -> None:
        if self._alive:
            self._peer.send(flow, data)

    def wake(self, deadline: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._alive:
            self._timer = self._peer.network.loop.call_at(deadline, self._peer.agent.handle_timers)

    def message(self, direction: Direction, method: str, code: int) -> None: ...

    def retransmission(self, direction: Direction) -> None: ...

    def dropped(self, reason: str) -> None: ...


def any_extensions(rng: random.Random) -> Extensions:
    """What a peer may be set up to do."""
    return Extensions(
        reliable=rng.choice(("off", "required", "supported")), session_expires=rng.choice((0, 0, 90))
    )
