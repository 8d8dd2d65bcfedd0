"""The heads of RTP packets, for captures that show a call's audio; off unless `traces.rtp` asks for it.

Ports that nobody traces have no code for it at all: when it is on, each port that is opened has a tap. Which
call a packet belongs to is found afterwards, by the ports that its session descriptions name.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Final, TypeAlias

from gateway.media.ports import Address, MediaPort, MediaPorts, Network
from gateway.media.tapped_port import TappedPort
from gateway.sip.addresses import is_ip_literal
from gateway.traces.pcap import RTP_HEADER, RTP_LENGTH
from gateway.traces.segments import Entry, Segments, decode
from gateway.traces.writer import TraceWriter

MAX_HEADS: Final = 6_000
"""Packets kept of one port, both directions: the first minute."""

MAX_SHOWN: Final = 24_000
"""Packets shown of one call: both legs of two agents."""

Taken: TypeAlias = tuple[float, bool, Address, Address, bytes]


class RtpHeads:
    """Opens ports that are traced. A `MediaPorts`.

    Args:
        ports: where they really come from.
        segments: where heads are written.
        clock: seconds since the epoch.

    """

    def __init__(
        self, ports: MediaPorts, segments: Segments, *, clock: Callable[[], float] = time.time
    ) -> None:
        self._ports = ports
        self._segments = segments
        self._clock = clock
        self.writer: TraceWriter[Taken] = TraceWriter(segments, _entry)

    @property
    def in_use(self) -> int:
        """See `MediaPorts`."""
        return self._ports.in_use

    def open(self, latch_ranges: Sequence[Network] | None = None, *, ipv6: bool = False) -> MediaPort:
        """See `MediaPorts`."""
        port = self._ports.open(latch_ranges, ipv6=ipv6)
        tap = _Tap(port.address, self.writer.put, self._clock)
        return _TracedPort(port, tap)

    async def read(self, ports: frozenset[int], since: float, until: float) -> list[Entry]:
        """What went through these ports of ours, oldest first, `MAX_SHOWN` at most."""
        await self.writer.flush()
        return await asyncio.to_thread(self._find, ports, since, until) if ports else []

    def _find(self, ports: frozenset[int], since: float, until: float) -> list[Entry]:
        found: list[Entry] = []
        for block in self._segments.blocks(since, until):
            found += [
                entry for entry in decode(block) if entry.local_port in ports and since <= entry.at <= until
            ]
            if len(found) >= MAX_SHOWN:
                break
        return found[:MAX_SHOWN]


class _Tap:
    """See `gateway.media.tapped_port.PacketTap`. remote: the peer's address by its session description."""

    __slots__ = ("_clock", "_left", "_local", "_put", "remote")

    def __init__(self, local: Address, put: Callable[[Taken], None], clock: Callable[[], float]) -> None:
        self.remote: Address | None = None
        self._local = local
        self._put = put
        self._clock = clock
        self._left = MAX_HEADS

    def from_caller(self, packet: bytes) -> bytes:
        """See `PacketTap`."""
        self._take(False, packet)
        return packet

    def to_caller(self, packet: bytes) -> bytes:
        """See `PacketTap`."""
        self._take(True, packet)
        return packet

    def _take(self, out: bool, packet: bytes) -> None:
        if self._left and self.remote is not None:
            self._left -= 1
            head = packet[:RTP_HEADER] + RTP_LENGTH.pack(len(packet))
            self._put((self._clock(), out, self.remote, self._local, head))


class _TracedPort(TappedPort):
    """A port whose tap knows where it sends to."""

    __slots__ = ("_traced",)

    def __init__(self, port: MediaPort, tap: _Tap) -> None:
        super().__init__(port, tap)
        self._traced = tap

    def set_remote(self, host: str, port: int, rtcp_port: int | None = None) -> None:
        """See `MediaPort`."""
        if port and is_ip_literal(host):
            self._traced.remote = host, port
        super().set_remote(host, port, rtcp_port)


def _entry(taken: Taken) -> Entry:
    at, out, remote, local, head = taken
    return Entry(at, out, "rtp", remote[0], remote[1], local[0], local[1], head)
