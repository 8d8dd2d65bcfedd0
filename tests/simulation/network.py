"""A network in memory and in virtual time: it loses, doubles, delays and reorders, all from a seed."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Callable
from dataclasses import dataclass

from gateway.sip.flow import Flow
from gateway.sip.network import LISTENER_BITS, Address, Receiver

Tap = Callable[[str, str, bytes], None]
"""Sees every message that arrives: from which host, at which host, what."""


IN_ORDER = 1e-9
"""Seconds between two arrivals where nothing may overtake: timers of one instant fire in any order."""


@dataclass(frozen=True, slots=True)
class Faults:
    """What goes wrong on the way, per datagram; streams only suffer the delay.

    loss, duplication: probabilities; delay: seconds at least and at most, so later datagrams overtake
    unless these are the same.
    """

    loss: float = 0.0
    duplication: float = 0.0
    delay: tuple[float, float] = (0.001, 0.002)


class SimulatedNetwork:
    """Every host of one simulated world."""

    def __init__(self, rng: random.Random, faults: Faults) -> None:
        self.loop = asyncio.get_running_loop()
        self.rng = rng
        self.faults = faults
        self.taps: list[Tap] = []
        self._listeners: dict[tuple[str, str, int], SimulatedTransport] = {}
        self._gone: dict[str, float] = {}
        self._last_arrival = 0.0

    def vanish(self, host: str) -> None:
        """From now on nothing reaches the host and nothing comes from it, signalling and media alike."""
        self._gone.setdefault(host, self.loop.time())

    def reset(self, host: str) -> None:
        """Every TCP connection of a host ends without a goodbye; both ends learn of it."""
        for (kind, address, _), transport in list(self._listeners.items()):
            if kind == "tcp" and address == host:
                transport.reset()

    def gone_since(self, host: str) -> float | None:
        """When the host vanished, if it has."""
        return self._gone.get(host)

    def host(self, address: str, watch: Callable[[bytes], None] | None = None) -> Host:
        """One host's view of the network.

        watch: sees every message that the host sends, whether or not it arrives.
        """
        return Host(self, address, watch or _unwatched)

    def listen(self, transport: SimulatedTransport) -> None:
        """A listener is there."""
        key = (transport.kind, *transport.address)
        if key in self._listeners:
            raise OSError(f"port taken: {key}")
        self._listeners[key] = transport

    def leave(self, transport: SimulatedTransport) -> None:
        """A listener is gone."""
        self._listeners.pop((transport.kind, *transport.address), None)

    def listener(self, kind: str, host: str, port: int) -> SimulatedTransport | None:
        """Who listens there."""
        return self._listeners.get((kind, host, port))

    def datagram(self, source: SimulatedTransport, host: str, port: int, data: bytes) -> None:
        """Carry one datagram, or lose it, or carry it twice."""
        copies = 2 if self.rng.random() < self.faults.duplication else 1
        for _ in range(copies):
            if self.rng.random() >= self.faults.loss:
                arrival = self.loop.time() + self.rng.uniform(*self.faults.delay)
                if self.faults.delay[0] == self.faults.delay[1]:
                    arrival = self._last_arrival = max(arrival, self._last_arrival + IN_ORDER)
                self.loop.call_at(arrival, self._arrive, source, host, port, data)

    def reaches(self, source: str, target: str) -> bool:
        """Whether both ends are still there."""
        return source not in self._gone and target not in self._gone

    def arrived(self, source: str, target: str, data: bytes) -> None:
        """Tell the taps."""
        for tap in self.taps:
            tap(source, target, data)

    def _arrive(self, source: SimulatedTransport, host: str, port: int, data: bytes) -> None:
        target = self._listeners.get(("udp", host, port))
        if target is None or not self.reaches(source.address[0], host):
            return
        self.arrived(source.address[0], host, data)
        target.receiver.message_received(data, Flow("udp", *source.address, target.channel))


class Host:
    """One host: fulfils `gateway.sip.network.Network`."""

    def __init__(self, network: SimulatedNetwork, address: str, watch: Callable[[bytes], None]) -> None:
        self._network = network
        self._address = address
        self._watch = watch
        self._ports = itertools.count(20_000)

    async def open(
        self, transport: str, address: Address, channel: int, receiver: Receiver
    ) -> SimulatedTransport:
        port = address[1] or next(self._ports)
        local = self._address, port
        opened = SimulatedTransport(self._network, transport, local, channel, receiver, self._watch)
        self._network.listen(opened)
        return opened

    def local_host(self, peer: str) -> str:
        return self._address


@dataclass(eq=False, slots=True)
class _Connection:
    """One end of a stream; `peer` is the other one. What is sent arrives in order, unless a host is gone."""

    owner: SimulatedTransport
    number: int
    remote: Address
    peer: _Connection | None = None
    open: bool = True
    clear_at: float = 0.0

    @property
    def flow(self) -> Flow:
        return Flow("tcp", *self.remote, self.owner.channel | self.number << LISTENER_BITS)


class SimulatedTransport:
    """One listener: fulfils `gateway.sip.network.Transport`."""

    def __init__(
        self,
        network: SimulatedNetwork,
        kind: str,
        address: Address,
        channel: int,
        receiver: Receiver,
        watch: Callable[[bytes], None],
    ) -> None:
        self.kind = kind
        self.address = address
        self.channel = channel
        self.receiver = receiver
        self._network = network
        self._watch = watch
        self._connections: dict[int, _Connection] = {}
        self._numbers = itertools.count(1)

    def send(self, flow: Flow, data: bytes) -> None:
        self._watch(data)
        if self.kind == "udp":
            self._network.datagram(self, flow.host, flow.port, data)
            return
        connection = self._connection(flow)
        if connection is None:
            self._network.loop.call_later(0.001, self.receiver.flow_failed, flow, "connection refused")
            return
        loop = self._network.loop
        delay = self._network.rng.uniform(*self._network.faults.delay)
        connection.clear_at = max(connection.clear_at, loop.time() + delay)
        loop.call_at(connection.clear_at, self._deliver, connection, data)

    def is_open(self, flow: Flow) -> bool:
        if self.kind == "udp":
            return True
        return flow.channel >> LISTENER_BITS in self._connections

    def waited(self) -> float:
        return 0.0

    def lost(self) -> int:
        return 0

    def close(self) -> None:
        self._network.leave(self)
        self._connections.clear()

    def reset(self) -> None:
        """Lose every connection."""
        for connection in list(self._connections.values()):
            if connection.peer is not None:
                connection.peer.owner.lose(connection.peer)
            self.lose(connection)

    def lose(self, connection: _Connection) -> None:
        """Learn that one connection is no more."""
        if self._connections.pop(connection.number, None) is not None:
            self._network.loop.call_soon(self.receiver.flow_failed, connection.flow, "connection reset")

    def accept(self, remote: Address) -> _Connection:
        """A peer connects."""
        connection = _Connection(self, next(self._numbers), remote)
        self._connections[connection.number] = connection
        return connection

    def _connection(self, flow: Flow) -> _Connection | None:
        """The connection to send on, opened if need be; None if it is refused."""
        number = flow.channel >> LISTENER_BITS
        if number:
            return self._connections.get(number)
        remote = (flow.host, flow.port)
        for connection in self._connections.values():
            if connection.remote == remote:
                return connection
        target = self._network.listener("tcp", flow.host, flow.port)
        if target is None or not target.receiver.admits(self.address[0]):
            return None
        mine = self.accept(remote)
        mine.peer = target.accept((self.address[0], 50_000 + mine.number))
        mine.peer.peer = mine
        return mine

    def _deliver(self, connection: _Connection, data: bytes) -> None:
        peer = connection.peer
        if peer is None or not self._network.reaches(self.address[0], peer.owner.address[0]):
            return
        self._network.arrived(self.address[0], peer.owner.address[0], data)
        peer.owner.receiver.message_received(data, peer.flow)


def _unwatched(data: bytes) -> None:
    """Nobody looks."""
