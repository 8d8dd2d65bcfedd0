"""The seam between SIP and the network: what an endpoint asks of it, and what it tells an endpoint.

`SipEndpoint` is written against these protocols. `gateway.sip.transport.SocketNetwork` fulfils them with
sockets; the simulation fulfils them with a network in memory and in virtual time.

A listener is one local address with one transport (UDP 0.0.0.0:5060 and TCP 0.0.0.0:5060 are two). The
endpoint numbers its listeners; the low bits of every `Flow.channel` are that number, so that a flow by itself
says through which listener a message came and must leave:

    channel = listener                                     UDP, or "a new connection" for a stream
    channel = listener | connection << LISTENER_BITS       a stream's connection, counted from 1
    channel = … | worker << LENT_SHIFT                     the same, held by another process of ours
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeAlias

from gateway.sip.flow import Flow

LISTENER_BITS = 6
"""Room for 63 listeners, more addresses than a node has; the rest of the integer counts connections."""

LISTENER_MASK = (1 << LISTENER_BITS) - 1

LENT_SHIFT = 48
"""Leaves 42 bits to count connections with: 4 trillion."""

Address: TypeAlias = tuple[str, int]
"""An IP literal (IPv6 without brackets) and a port."""


class Receiver(Protocol):
    """What an endpoint gives to each listener. None of the methods raises."""

    def message_received(self, data: bytes, flow: Flow) -> None:
        """Take one datagram, or one whole message framed from a stream.

        flow: where it came from, and the way back.
        """

    def flow_failed(self, flow: Flow, reason: str) -> None:
        """Learn that what was sent to `flow` does not arrive: ICMP unreachable, connection refused, reset.

        Never called from within `Transport.send`: the caller is not ready for it there.
        """

    @property
    def asks_certificates(self) -> bool:
        """Whether a certificate can show who a stranger is; then strangers may shake hands."""

    def knows(self, host: str) -> bool:
        """Whether a peer may connect for its address alone; asked before a TLS handshake, counts nothing."""

    def admits(self, host: str) -> bool:
        """Whether a stream's peer may connect at all; asked once, when it does (TLS: after its handshake)."""

    def identify(self, names: Sequence[str]) -> str | None:
        """Which of the names in a verified certificate admits its owner; it becomes `Flow.name`."""

    def dropped(self, reason: str) -> None:
        """Count what was thrown away, by its reason: ``"send_queue_full"``, ``"connection_limit"``, …."""


class Transport(Protocol):
    """One open listener, through which messages also leave."""

    @property
    def address(self) -> Address:
        """Where it is bound; the port is the real one even if 0 was asked for."""

    def send(self, flow: Flow, data: bytes) -> None:
        """Send one whole message. Never blocks and never raises: failures come by `Receiver.flow_failed`."""

    def is_open(self, flow: Flow) -> bool:
        """Whether `flow` can be sent to as it is: for a stream, whether its connection is still there."""

    def waited(self) -> float:
        """Seconds that a message waited in the kernel for us: one of those read since the last question.

        0 where nobody can tell, as for a stream, whose sender is held back instead.
        """

    def lost(self) -> int:
        """Messages that the kernel had no room for, since the last question; 0 where nobody can tell."""

    def close(self) -> None:
        """Stop receiving and close every connection. Idempotent; the receiver is not called any more."""


class Network(Protocol):
    """Opens listeners, and knows the local addresses."""

    async def open(self, transport: str, address: Address, channel: int, receiver: Receiver) -> Transport:
        """Open a listener.

        transport: ``"udp"``, ``"tcp"`` or ``"tls"``.
        address: port 0 for any free one.
        channel: the listener's number, 1 to `LISTENER_MASK`.

        Raises:
            OSError: the port is taken, the host is not ours, …

        """

    def local_host(self, peer: str) -> str:
        """Return the local IP literal from which packets to `peer` (an IP literal) leave."""
