"""Media ports without media: a packet has come lately from whoever is still there to send one."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from gateway.media.ports import Address, KeyExchange, Network, NoPortLeft, PacketSeal
from gateway.media.reception import PortStats

LastHeard = Callable[[str, float], float | None]
"""When a host last sent RTP, given the host and the time since when it could have."""


def discard(packet: bytes) -> None:
    """Nobody listens."""


class SimulatedPort:
    """Fulfils `gateway.media.ports.MediaPort`."""

    def __init__(self, ports: SimulatedPorts, address: Address) -> None:
        self.address = address
        self.sink = self.rtcp_sink = discard
        self.sending = True
        self.stats = PortStats()
        self._ports = ports
        self._opened_at = ports.clock()
        self._remote = ""
        self._closed = False

    @property
    def last_packet_at(self) -> float | None:
        return self._ports.last_heard(self._remote, self._opened_at) if self._remote else None

    def set_remote(self, host: str, port: int, rtcp_port: int | None = None) -> None:
        self._remote = host

    def send(self, packet: bytes) -> None:
        if not self._closed and self._remote:
            self.stats.packets_out += 1

    def send_rtcp(self, packet: bytes) -> None: ...

    def secure(self, seal: PacketSeal) -> None: ...

    def exchange_keys(self, exchange: KeyExchange) -> None: ...

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._ports.in_use -= 1


class SimulatedPorts:
    """Fulfils `gateway.media.ports.MediaPorts`: a few ports, so that they run out now and then."""

    def __init__(self, host: str, count: int, clock: Callable[[], float], last_heard: LastHeard) -> None:
        self.in_use = 0
        self.clock = clock
        self.last_heard = last_heard
        self._host = host
        self._count = count
        self._next = 30_000

    def open(self, latch_ranges: Sequence[Network] | None = None, *, ipv6: bool = False) -> SimulatedPort:
        if self.in_use >= self._count:
            raise NoPortLeft
        self.in_use += 1
        self._next += 2
        return SimulatedPort(self, (self._host, self._next))
