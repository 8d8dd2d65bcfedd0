"""A bound pair of UDP sockets: RTP on an even port, RTCP on the odd one above it (RFC 3550 §11)."""

from __future__ import annotations

import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Any

MAX_PACKET = 2048
"""Bytes read of one datagram: an Ethernet frame and some; audio packets have 172. Longer ones are cut, and
harmless."""

MAX_STALE = 512
"""Packets thrown away from one socket before reuse: more than a default receive buffer (212,992 bytes)
holds."""


class SocketPair:
    """Two non-blocking sockets bound to one host.

    receive: as the RTP socket's `recvfrom`; sources are pairs of host and port, of IPv6 too.
    """

    __slots__ = ("port", "receive", "rtcp", "rtp")

    def __init__(self, host: str, port: int) -> None:
        """Bind `port` (even) and `port + 1`.

        Raises:
            OSError: one of them is taken, the host is not ours, or descriptors have run out.

        """
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.port = port
        self.rtp = _bound(family, host, port)
        try:
            self.rtcp = _bound(family, host, port + 1)
        except OSError:
            self.rtp.close()
            raise
        self.receive: Callable[[int], tuple[bytes, Any]] = self.rtp.recvfrom
        if family == socket.AF_INET6:
            self.receive = self._receive_without_scope

    def drain(self) -> None:
        """Throw away what arrived while nobody read: the last call's media must not reach the next one."""
        for sock in (self.rtp, self.rtcp):
            with suppress(OSError):
                for _ in range(MAX_STALE):
                    sock.recv(1)

    def close(self) -> None:
        """Give both ports back to the system."""
        self.rtp.close()
        self.rtcp.close()

    def _receive_without_scope(self, size: int) -> tuple[bytes, Any]:
        packet, source = self.rtp.recvfrom(size)
        return packet, source[:2]


def _bound(family: socket.AddressFamily, host: str, port: int) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_DGRAM)
    try:
        sock.setblocking(False)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind((host, port))
    except OSError:
        sock.close()
        raise
    return sock
