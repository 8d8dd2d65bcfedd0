"""The real network: UDP, TCP and TLS listeners on this machine's addresses."""

from __future__ import annotations

import socket
import time
from collections.abc import Collection, Mapping

from gateway.sip.addresses import KNOWN_HOSTS
from gateway.sip.network import Address, Receiver, Transport
from gateway.sip.remembering import remember
from gateway.sip.tls import Tls
from gateway.sip.transport_stream import Lend, StreamLimits, StreamTransport
from gateway.sip.transport_tls import TlsTransport
from gateway.sip.transport_udp import UdpTransport

ROUTE_LIFETIME = 60.0
"""Seconds that the local address towards a peer is remembered: interfaces and routes change, but rarely."""

_ANY_PORT = 9
"""Connecting a UDP socket sends nothing; some port must be given (discard)."""


class SocketNetwork:
    """A `gateway.sip.network.Network` of sockets.

    Args:
        tls: what TLS is spoken with; None where it is not.
        shared: addresses that other processes of ours listen on as well.
        lend: sends through a connection which one of them holds, by the flow that came with its message.
        held: sockets that are bound already, by ``"udp"`` or ``"tcp"`` and address; other processes of ours
            may read them, too, and they outlive this one.
        counts_lost: whether this is the process that counts what the kernel had no room for in those.

    """

    def __init__(
        self,
        stream_limits: StreamLimits | None = None,
        tls: Tls | None = None,
        shared: Collection[Address] = (),
        lend: Lend | None = None,
        held: Mapping[tuple[str, Address], socket.socket] | None = None,
        *,
        counts_lost: bool = True,
    ) -> None:
        self._held = held or {}
        self._counts_lost = counts_lost
        self._stream_limits = stream_limits or StreamLimits()
        self._tls = tls
        self._shared = frozenset(shared)
        self._lend = lend
        self._routes: dict[str, tuple[float, str]] = {}

    async def open(self, transport: str, address: Address, channel: int, receiver: Receiver) -> Transport:
        """Open a listener; see `gateway.sip.network.Network.open`."""
        shared = address in self._shared
        held = self._held.get(("udp" if transport == "udp" else "tcp", address))
        if transport == "udp":
            return UdpTransport(
                address, channel, receiver, shared=shared, held=held, counts_lost=self._counts_lost
            )
        streams: StreamTransport | None = None
        if transport == "tcp":
            streams = StreamTransport(
                address, channel, receiver, self._stream_limits, shared=shared, lend=self._lend, held=held
            )
        elif transport == "tls" and self._tls is not None:
            streams = TlsTransport(
                address,
                channel,
                receiver,
                self._stream_limits,
                self._tls,
                shared=shared,
                lend=self._lend,
                held=held,
            )
        if streams is not None:
            await streams.listen()
            return streams
        raise ValueError(f"no transport called {transport}")

    def local_host(self, peer: str) -> str:
        """Ask the routing table which address of ours packets to `peer` carry; loopback without a route."""
        now = time.monotonic()
        known = self._routes.get(peer)
        if known is not None and now < known[0]:
            return known[1]
        host = _route(peer)
        remember(self._routes, peer, (now + ROUTE_LIFETIME, host), KNOWN_HOSTS)
        return host


def _route(peer: str) -> str:
    family = socket.AF_INET6 if ":" in peer else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        sock.setblocking(False)
        try:
            sock.connect((peer, _ANY_PORT))
            return str(sock.getsockname()[0])
        except OSError:
            return "::1" if family == socket.AF_INET6 else "127.0.0.1"
