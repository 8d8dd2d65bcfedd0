"""What a media port lends to a DTLS handshake: its two sockets, and its idea of who the peer is."""

from __future__ import annotations

from contextlib import suppress

from gateway.media.latch import SymmetricLatch
from gateway.media.ports import Address
from gateway.media.rtcp_latch import RtcpLatch
from gateway.media.sockets import SocketPair


def is_handshake(datagram: bytes) -> bool:
    """Whether a datagram is DTLS and no packet of a stream (RFC 7983 §7)."""
    return len(datagram) > 0 and 20 <= datagram[0] <= 63


class PortDoor:
    """See `gateway.media.ports.HandshakeDoor`."""

    __slots__ = ("_answers", "_latch", "_rtcp", "_sockets")

    def __init__(self, sockets: SocketPair, latch: SymmetricLatch, rtcp: RtcpLatch) -> None:
        self._sockets = sockets
        self._latch = latch
        self._rtcp = rtcp
        self._answers: dict[bool, Address] = {}

    def admits(self, host: str) -> bool:
        """See `HandshakeDoor`."""
        return self._latch.admits(host)

    def answer_to(self, host: str, port: int, *, rtcp: bool) -> None:
        """See `HandshakeDoor`."""
        self._answers[rtcp] = host, port

    def send(self, datagram: bytes, *, rtcp: bool) -> bool:
        """See `HandshakeDoor`."""
        target = self._answers.get(rtcp) or (self._rtcp.target if rtcp else self._latch.target)
        if target is None:
            return False
        with suppress(OSError):  # sent again if it mattered
            (self._sockets.rtcp if rtcp else self._sockets.rtp).sendto(datagram, target)
        return True
