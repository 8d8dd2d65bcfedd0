"""A media port on real sockets."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gateway.media.handshake_door import PortDoor, is_handshake
from gateway.media.latch import HOLD, SymmetricLatch, unicast
from gateway.media.poller import SocketPoller
from gateway.media.ports import Address, KeyExchange, PacketSeal, PacketSink
from gateway.media.reception import PortStats
from gateway.media.rtcp_latch import RtcpLatch
from gateway.media.rtcp_reporter import Reporter
from gateway.media.sockets import MAX_PACKET, SocketPair

READS_PER_VISIT = 32
"""Packets looked at before other sockets get their turn. A visit ends with the first packet from the peer,
since a healthy stream has one waiting; only strangers' packets are read past, so that a flood of them does
not crowd out the peer's."""

RTP_HEADER = 12
RTCP_HEADER = 8


def discard(packet: bytes) -> None:
    """The sink of a port that nobody listens to."""


class RtpPort:
    """One open port; made by `PortPool.open`. See `gateway.media.ports.MediaPort` for what it promises.

    A packet from the latched source costs one read, three comparisons and the statistics; everything else
    (latching, strangers, garbage) is on the slow path.
    """

    __slots__ = (
        "_accepted",
        "_arriving",
        "_clock",
        "_exchange",
        "_latch",
        "_on_close",
        "_poller",
        "_recvfrom",
        "_reporter",
        "_rtcp",
        "_seal",
        "_sendto",
        "_socket_sendto",
        "_sockets",
        "_target",
        "address",
        "last_packet_at",
        "rtcp_sink",
        "sending",
        "sink",
        "stats",
    )

    def __init__(
        self,
        sockets: SocketPair,
        address: Address,
        latch: SymmetricLatch,
        *,
        poller: SocketPoller,
        clock: Callable[[], float],
        on_close: Callable[[SocketPair], None],
    ) -> None:
        self.address = address
        self.sink: PacketSink = discard
        self.rtcp_sink: PacketSink = discard
        self.sending = True
        self.last_packet_at: float | None = None
        self.stats = PortStats()
        self._sockets: SocketPair | None = sockets
        self._recvfrom: Callable[[int], tuple[bytes, Any]] = sockets.receive
        self._arriving: Callable[[int], tuple[bytes, Any]] = self._recvfrom  # before anything is opened
        self._seal: PacketSeal | None = None
        self._exchange: KeyExchange | None = None
        self._sendto: Callable[[bytes, Address], int] = sockets.rtp.sendto
        self._socket_sendto: Callable[[bytes, Address], int] = sockets.rtp.sendto
        self._latch = latch
        self._poller = poller
        self._clock = clock
        self._on_close = on_close
        self._accepted: Address | None = None
        self._target: Address | None = None
        self._rtcp = RtcpLatch()
        self._reporter: Reporter | None = None
        poller.add(sockets.rtp, self._read_rtp)
        poller.add(sockets.rtcp, self._read_rtcp)

    def set_remote(self, host: str, port: int, rtcp_port: int | None = None) -> None:
        """See `MediaPort.set_remote`."""
        if self._sockets is None:
            return
        self._latch.expect(host, port)
        self._follow_latch()
        named = unicast(host, port)
        if named is HOLD:
            self._rtcp.expect(None, held=True)
        else:
            self._rtcp.expect(named and (named[0], rtcp_port or min(named[1] + 1, 0xFFFF)))
            if self._exchange is not None:
                self._exchange.reachable()

    def send(self, packet: bytes) -> None:
        """See `MediaPort.send`."""
        target = self._target
        if target is None or not self.sending:
            return
        stats = self.stats
        try:
            self._sendto(packet, target)
        except OSError:
            stats.send_failures += 1
        else:
            stats.packets_out += 1

    def send_rtcp(self, packet: bytes) -> None:
        """See `MediaPort.send_rtcp`."""
        if self._rtcp.target is None or self._sockets is None:
            return
        try:
            if self._seal is not None:
                packet = self._seal.seal_rtcp(packet)
            self._sockets.rtcp.sendto(packet, self._rtcp.target)
        except OSError:
            self.stats.send_failures += 1

    def watch_next(self, seen: Callable[[bytes], None]) -> None:
        """Call `seen` with the next packet that is sent, once: before it is counted, after it is gone.

        What is needed of a few packets a minute must not cost anything for all of them.
        """

        def send_and_tell(packet: bytes, target: Address) -> int:
            self._sendto = self._socket_sendto
            sent = self._socket_sendto(packet, target)
            seen(packet)
            return sent

        self._sendto = send_and_tell

    def report_by(self, reporter: Reporter) -> None:
        """Have RTCP of our own: `reporter` takes the peer's until somebody else does."""
        self._reporter = reporter
        self.rtcp_sink = reporter.receive

    def secure(self, seal: PacketSeal) -> None:
        """See `MediaPort.secure`.

        By other functions in the sockets' place, so that packets in the clear pay nothing for it.
        """
        sockets = self._sockets
        if sockets is None:
            return
        receive, send = self._arriving, sockets.rtp.sendto

        def receive_sealed(size: int) -> tuple[bytes, Any]:
            packet, source = receive(size)
            return seal.open(packet), source

        def send_sealed(packet: bytes, target: Address) -> int:
            return send(seal.seal(packet), target)

        seal.stats = self.stats
        self._seal = seal
        self._recvfrom = receive_sealed
        if self._sendto == self._socket_sendto:
            self._sendto = send_sealed
        self._socket_sendto = send_sealed

    def exchange_keys(self, exchange: KeyExchange) -> None:
        """See `MediaPort.exchange_keys`; likewise by a function in the socket's place."""
        sockets = self._sockets
        if sockets is None:
            return
        receive = sockets.receive

        def receive_packet(size: int) -> tuple[bytes, Any]:
            for _ in range(READS_PER_VISIT):
                packet, source = receive(size)
                if not is_handshake(packet):
                    return packet, source
                exchange.receive(packet, *source[:2], rtcp=False)
            raise BlockingIOError

        self._recvfrom = self._arriving = receive_packet
        self._exchange = exchange
        exchange.attach(PortDoor(sockets, self._latch, self._rtcp))

    def close(self) -> None:
        """See `MediaPort.close`."""
        sockets = self._sockets
        if sockets is None:
            return
        if self._exchange is not None:
            self._exchange.close()
        if self._reporter is not None:
            self._reporter.leave()
        self._sockets = self._target = None
        self.sink = self.rtcp_sink = discard
        self._poller.remove(sockets.rtp)
        self._poller.remove(sockets.rtcp)
        self._on_close(sockets)

    def _read_rtp(self) -> None:
        if self._sockets is None:  # closed by a sink in the same round
            return
        for _ in range(READS_PER_VISIT):
            try:
                packet, source = self._recvfrom(MAX_PACKET)
            except OSError:  # BlockingIOError: nothing more. Anything else concerns one datagram only.
                return
            if len(packet) < RTP_HEADER or packet[0] & 0xC0 != 0x80 or 192 <= packet[1] <= 223:  # RFC 5761 §4
                self.stats.dropped_invalid += 1
            elif source == self._accepted:
                self.last_packet_at = now = self._clock()
                self.stats.received(packet, now)
                self.sink(packet)
                return
            elif self._admit(packet, source):
                return

    def _admit(self, packet: bytes, source: Address) -> bool:
        """The slow path: a source that is not, or not yet, the peer. True if something was delivered."""
        released = self._latch.offer(packet, source)
        if released is None:
            self.stats.dropped_source += 1
            return False
        self._follow_latch()
        if released and self._accepted is not None:
            self._rtcp.rtp_latched(self._accepted, self._latch.expected)
        for each in released:
            self.last_packet_at = now = self._clock()
            self.stats.received(each, now)
            self.sink(each)
        return bool(released)

    def _follow_latch(self) -> None:
        self._accepted = self._latch.accepted
        self._target = self._latch.target

    def _read_rtcp(self) -> None:
        if self._sockets is None:
            return
        try:
            packet, source = self._sockets.rtcp.recvfrom(MAX_PACKET)
        except OSError:
            return
        if self._exchange is not None and is_handshake(packet):
            self._exchange.receive(packet, *source[:2], rtcp=True)
            return
        if self._seal is not None:
            packet = self._seal.open_rtcp(packet)
        if len(packet) < RTCP_HEADER or packet[0] & 0xC0 != 0x80:
            self.stats.dropped_invalid += 1
        elif self._rtcp.offer(source[:2], self._accepted or self._target):
            self.rtcp_sink(packet)
        else:
            self.stats.dropped_source += 1
