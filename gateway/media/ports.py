"""The seam between calls and the network's media: what a media port is, whoever makes it.

Calls, the relay and the audio session are written against these two protocols. `PortPool` fulfils them with
UDP sockets; the simulation fulfils them with a network in memory.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from ipaddress import IPv4Network, IPv6Network
from typing import Protocol, TypeAlias

from gateway.media.reception import PortStats

Address: TypeAlias = tuple[str, int]
"""An IP literal (IPv6 without brackets) and a UDP port."""

Network: TypeAlias = IPv4Network | IPv6Network

PacketSink: TypeAlias = Callable[[bytes], None]
"""Takes one whole RTP (or RTCP) packet, as it came off the wire."""


class NoPortLeft(Exception):  # noqa: N818 - it names a state of ours, not a mistake
    """Every port of the range is in a call or still resting: send the caller to another node (503)."""


class PacketSeal(Protocol):
    """Encrypts one leg's packets, and opens the peer's (SRTP).

    Attributes:
        stats: where what it refuses is counted; its port sets it.

    """

    stats: PortStats

    def seal(self, packet: bytes) -> bytes:
        """An RTP packet as it leaves. Raises OSError if it cannot be sealed."""

    def open(self, packet: bytes) -> bytes:
        """An RTP packet that came, in the clear; empty, and counted, if it is not the peer's."""

    def seal_rtcp(self, packet: bytes) -> bytes:
        """As `seal`, for RTCP."""

    def open_rtcp(self, packet: bytes) -> bytes:
        """As `open`, for RTCP."""


class HandshakeDoor(Protocol):
    """What a port lends to a handshake."""

    def admits(self, host: str) -> bool:
        """Whether the peer may be there; what comes from elsewhere is nobody's."""

    def answer_to(self, host: str, port: int, *, rtcp: bool) -> None:
        """Send to where the peer's latest datagram came from, which may be behind a NAT."""

    def send(self, datagram: bytes, *, rtcp: bool) -> bool:
        """Send as it is: where the session description says, until `answer_to` tells more.

        False while that is not known, or the peer holds us. Never raises.
        """


class KeyExchange(Protocol):
    """Agrees on one leg's keys by datagrams between its packets (DTLS, RFC 5764)."""

    def attach(self, door: HandshakeDoor) -> None:
        """Work through this port from now on."""

    def receive(self, datagram: bytes, host: str, port: int, *, rtcp: bool) -> None:
        """A datagram that came, from anybody; rtcp: to the port of RTCP. Never raises."""

    def reachable(self) -> None:
        """A session description has told where to send."""

    def close(self) -> None:
        """The port is closed: nothing is sent any more. Idempotent."""


class MediaPort(Protocol):
    """One RTP port with its RTCP companion: the local end of one leg's audio.

    Attributes:
        sink: receives every accepted RTP packet; a port that is just opened discards.
        rtcp_sink: likewise for RTCP; a port has reports of its own, and takes the peer's.
        sending: False while the peer holds us (``a=sendonly`` or ``a=inactive`` at its side): `send` then
            discards.
        last_packet_at: the pool clock's seconds of the last accepted RTP packet; None before the first.
        stats: what was received, sent, lost and refused.

    """

    sink: PacketSink
    rtcp_sink: PacketSink
    sending: bool
    last_packet_at: float | None
    stats: PortStats

    @property
    def address(self) -> Address:
        """What goes into SDP: the advertised host and the RTP port (even; RTCP is the next one)."""

    def set_remote(self, host: str, port: int, rtcp_port: int | None = None) -> None:
        """Take the peer's address from its SDP; may be called again for a re-INVITE. Never raises.

        Port 0 or the address ``0.0.0.0`` / ``::`` means hold (RFC 3264 §5.1, §8.4): nothing is sent until
        an address comes. A host that is no IP literal is learned from the peer's first packets instead.
        """

    def send(self, packet: bytes) -> None:
        """Send one RTP packet to the peer; discard it while there is no address to send to. Never raises."""

    def send_rtcp(self, packet: bytes) -> None:
        """Send one RTCP packet to the peer; otherwise as `send`."""

    def secure(self, seal: PacketSeal) -> None:
        """Encrypt everything from now on: only what `seal` opens is heard, nothing leaves unsealed.

        Packets are in the clear at every other method and at the sinks.
        """

    def exchange_keys(self, exchange: KeyExchange) -> None:
        """Let keys be agreed on through this port; before `secure`, and once."""

    def close(self) -> None:
        """Give the port back. Idempotent; afterwards `send` discards and no sink is called any more."""


class MediaPorts(Protocol):
    """Where calls get their ports from."""

    @property
    def in_use(self) -> int:
        """Ports that are open now."""

    def open(self, latch_ranges: Sequence[Network] | None = None, *, ipv6: bool = False) -> MediaPort:
        """Open a port.

        latch_ranges: networks (a carrier's media ranges) outside of which the port never latches; None for
            any.
        ipv6: whether the peer is reached over IPv6; without ports of that family it gets one of the other.

        Raises:
            NoPortLeft: the range is exhausted.

        """
