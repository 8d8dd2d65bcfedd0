"""One connection that carries SIP, TCP or TLS: messages framed, keep-alives answered, its end told once."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Protocol, cast

from gateway.sip.flow import Flow
from gateway.sip.framing import Keepalive, StreamFramer
from gateway.sip.network import Receiver
from gateway.sip.tls import fault_of

PONG = b"\r\n"
"""The answer to a double CRLF (RFC 5626 §3.5.1)."""


class ConnectionOwner(Protocol):
    """The listener to which a connection belongs."""

    def accept(self, host: str, port: int, certificate: Mapping[str, Any] | None) -> Flow | None:
        """Number a connection from this peer; None when it may not connect, and is to be closed.

        certificate: the peer's, verified, as `ssl.SSLSocket.getpeercert` has it; None or empty without one.
        """

    def opened(self, connection: Connection) -> None:
        """Know the connection by `Connection.flow` from now on."""

    def closed(self, connection: Connection) -> None:
        """Forget the connection: nothing can be sent through it any more."""


class Connection(asyncio.Protocol):
    """A stream to one peer, accepted from it or opened towards it.

    Attributes:
        flow: the peer and this connection's number; None until an accepted one is numbered.
        outgoing: whether we opened it.

    """

    __slots__ = (
        "_ended",
        "_framer",
        "_heard_at",
        "_loop",
        "_owner",
        "_receiver",
        "_sent_as",
        "_transport",
        "_unfinished_since",
        "_unsent_limit",
        "_waiting",
        "flow",
        "outgoing",
    )

    def __init__(
        self, owner: ConnectionOwner, receiver: Receiver, flow: Flow | None, *, unsent_limit: int
    ) -> None:
        self.flow = flow
        self.outgoing = flow is not None
        self._owner = owner
        self._receiver = receiver
        self._unsent_limit = unsent_limit
        self._loop = asyncio.get_running_loop()
        self._framer = StreamFramer()
        self._transport: asyncio.Transport | None = None
        self._waiting = bytearray()
        self._sent_as: set[Flow] = set()
        self._ended = False
        self._heard_at = self._loop.time()
        self._unfinished_since: float | None = None

    def send(self, flow: Flow, data: bytes) -> None:
        """Send one message, or keep it until the connection is there.

        flow: as the core knows this path; failures are told by this name.
        """
        self._sent_as.add(flow)
        self._write(data)

    def close_if_overdue(self, idle: float, unfinished: float) -> None:
        """Give up after `idle` seconds of silence, or `unfinished` seconds within one message."""
        now = self._loop.time()
        if self._unfinished_since is not None and now - self._unfinished_since > unfinished:
            self._receiver.dropped("unfinished_message")
            self.abort("a message took too long")
        elif now - self._heard_at > idle:
            self.abort("idle")

    def abort(self, reason: str) -> None:
        """Give the connection up at once; what it still held is lost."""
        if self._transport is not None:
            self._transport.abort()
        self.end(reason)

    def close(self) -> None:
        """Send what is left, then close, and tell nobody."""
        self._ended = True
        if self._transport is not None:
            self._transport.close()

    def end(self, reason: str) -> None:
        """Tell the owner at once, and the core soon, that this connection is no more; once only."""
        if not self._ended:
            self._ended = True
            self._owner.closed(self)
            self._loop.call_soon(self._tell_end, reason)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start to use the connection, or close one that is not wanted."""
        self._transport = cast("asyncio.Transport", transport)
        if self.flow is None:
            peer = transport.get_extra_info("peername")
            self.flow = self._accepted(transport, peer)
            if self.flow is None:
                self._ended = True
        if self._ended:
            self._transport.abort()
            return
        self._owner.opened(self)
        if self._waiting:
            self._transport.write(bytes(self._waiting))
            self._waiting.clear()

    def data_received(self, data: bytes) -> None:
        """Hand on every message that is complete now."""
        self._heard_at = self._loop.time()
        parts = self._framer.feed(data)
        for part in parts:
            if self._ended:
                return
            if part is Keepalive.PING:
                self._write(PONG)
            else:
                self._receiver.message_received(part, cast("Flow", self.flow))
        if self._framer.broken is not None:
            self._receiver.dropped("framing")
            self.abort(self._framer.broken)
        elif not self._framer.unfinished:
            self._unfinished_since = None
        elif self._unfinished_since is None or parts:
            self._unfinished_since = self._heard_at

    def eof_received(self) -> bool:
        """A peer that says no more gets no more: SIP has no use for a half-closed connection."""
        return False

    def connection_lost(self, error: Exception | None) -> None:
        """The connection is closed, by whichever side."""
        self._transport = None
        self.end(fault_of(error) if isinstance(error, OSError) else "connection closed")

    def _accepted(self, transport: asyncio.BaseTransport, peer: tuple[str, int] | None) -> Flow | None:
        if peer is None:  # it has gone already
            return None
        return self._owner.accept(peer[0], peer[1], transport.get_extra_info("peercert"))

    def _write(self, data: bytes) -> None:
        if self._transport is None:
            self._waiting += data
            unsent = len(self._waiting)
        else:
            self._transport.write(data)
            unsent = self._transport.get_write_buffer_size()
        if unsent > self._unsent_limit:
            self._receiver.dropped("send_queue_full")
            self.abort("the peer does not read")

    def _tell_end(self, reason: str) -> None:
        own = {self.flow} if self.flow is not None else set()
        for flow in self._sent_as | own:
            self._receiver.flow_failed(flow, reason)
