"""Where a message came from, or goes to: one value that every SIP layer hands on unopened."""

from __future__ import annotations

from typing import NamedTuple


class Flow(NamedTuple):
    """A path to one peer, in the sense of RFC 5626 §2.

    transport: ``"udp"``, ``"tcp"`` or ``"tls"``.
    host, port: the peer's address as the socket sees it (IPv6 without brackets).
    channel: which local socket: a listener's number for UDP, a connection's number for streams;
        0 on a stream means "no connection yet, open one".
    name: over TLS the domain that the peer must prove, or has proved, by its certificate; else empty.
    """

    transport: str
    host: str
    port: int
    channel: int = 0
    name: str = ""

    @property
    def reliable(self) -> bool:
        """Whether the transport itself retransmits (RFC 3261 §17: timers A, E, G, I, J, K depend on it)."""
        return self.transport != "udp"
