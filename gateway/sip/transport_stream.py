"""SIP over TCP (RFC 3261 §18): connections accepted and opened by one listener.

A message for a connection that is still there leaves through it; anything else goes through the connection
that is open to the same host and port, or a new one. `gateway.sip.transport_tls` is the same with TLS.
"""

from __future__ import annotations

import asyncio
import socket
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, TypeAlias

from gateway.sip.addresses import is_ip_literal, is_wildcard
from gateway.sip.connection import Connection
from gateway.sip.flow import Flow
from gateway.sip.network import LENT_SHIFT, LISTENER_BITS, Address, Receiver
from gateway.sip.tls import fault_of

BACKLOG = 256
"""Connections that the kernel completes while we are busy; a carrier's edge opens a few."""


Lend: TypeAlias = Callable[[Flow, bytes], bool]
"""Sends a message through a connection of another process; False if that is gone."""


@dataclass(frozen=True, slots=True)
class StreamLimits:
    """What a peer can make a stream listener hold.

    connections: accepted ones at a time. A carrier keeps a few open; 512 leaves descriptors for media.
    connections_a_source: accepted ones from one address.
    outgoing: connections open to agents, or being opened.
    idle: seconds without a byte before a connection is closed. Long, since peers may keep one for a whole
        call and RFC 3261 §18 wants no less than a transaction's life; a new one is opened when needed.
    unfinished: seconds that a message may take from its first byte to its last (slow loris).
    connect: seconds to open a connection: a lost SYN is sent again after one. A caller waits meanwhile.
    handshake: seconds that TLS may take on top of that; a peer that is slow at it holds no more than that.
    unsent: bytes waiting for a peer that does not read, before the connection is given up.
    """

    connections: int = 512
    connections_a_source: int = 128
    outgoing: int = 512
    idle: float = 600.0
    unfinished: float = 10.0
    connect: float = 1.5
    handshake: float = 3.0
    unsent: int = 256 * 1024

    @property
    def sweep(self) -> float:
        """Seconds between looks for connections past their time: a tenth of the shortest time."""
        return min(self.idle, self.unfinished) / 10


class StreamTransport:
    """One listening TCP socket, the connections accepted by it, and those opened on its behalf."""

    __slots__ = (
        "_accepted_from",
        "_address",
        "_by_number",
        "_by_peer",
        "_channel",
        "_closed",
        "_held",
        "_last_number",
        "_lend",
        "_limits",
        "_loop",
        "_opening",
        "_receiver",
        "_server",
        "_shared",
        "_sweeper",
    )

    name: ClassVar[str] = "tcp"

    def __init__(
        self,
        address: Address,
        channel: int,
        receiver: Receiver,
        limits: StreamLimits,
        *,
        shared: bool = False,
        lend: Lend | None = None,
        held: socket.socket | None = None,
    ) -> None:
        """Take what `SocketNetwork` has been given.

        lend: sends through a connection that another process holds.
        held: the listening socket, if it is there already.
        """
        self._loop = asyncio.get_running_loop()
        self._address = address
        self._channel = channel
        self._receiver = receiver
        self._limits = limits
        self._shared = shared
        self._lend = lend
        self._held = held
        self._closed = False
        self._server: asyncio.Server | None = None
        self._last_number = 0
        self._by_number: dict[int, Connection] = {}
        # A peer that must prove two names over TLS is two peers: what was proved counts for one of them.
        self._by_peer: dict[tuple[str, int, str], Connection] = {}
        self._accepted_from: Counter[str] = Counter()
        self._opening: set[asyncio.Task[None]] = set()
        self._sweeper: asyncio.TimerHandle | None = None

    async def listen(self) -> None:
        """Bind and accept.

        Raises:
            OSError: the port is taken, the host is not ours, …

        """
        sock = self._bound()
        name = sock.getsockname()
        self._address = (name[0], name[1])
        self._server = await self._loop.create_server(self._make_accepted, sock=sock, backlog=BACKLOG)

    def _bound(self) -> socket.socket:
        if self._held is None:
            return bound_socket(self._address, shared=self._shared)
        self._held.setblocking(False)
        return self._held

    @property
    def address(self) -> Address:
        """Where the listening socket is bound."""
        return self._address

    def is_open(self, flow: Flow) -> bool:
        """Whether the flow names a connection that is there, here or in another process."""
        return flow.channel in self._by_number or flow.channel >> LENT_SHIFT > 0

    def waited(self) -> float:
        """Nothing is known."""
        return 0.0

    def lost(self) -> int:
        """A stream loses nothing."""
        return 0

    def send(self, flow: Flow, data: bytes) -> None:
        """Send through the flow's connection, else one to its host and port, which is opened if need be."""
        connection = self._by_number.get(flow.channel) or self._by_peer.get(_peer(flow))
        if connection is None:
            if self._closed:
                return
            if flow.channel >> LENT_SHIFT and self._lend is not None:
                if not self._lend(flow, data):
                    reason = "the process that has the connection is gone"
                    self._loop.call_soon(self._receiver.flow_failed, flow, reason)
                return
            fault = self._cannot_open(flow)
            if fault is not None:
                self._loop.call_soon(self._receiver.flow_failed, flow, fault)
                return
            connection = self._open(flow)
        connection.send(flow, data)

    def close(self) -> None:
        """Stop accepting, and close every connection once it has sent what it holds."""
        if self._closed:
            return
        self._closed = True
        if self._server is not None:
            self._server.close()
        if self._sweeper is not None:
            self._sweeper.cancel()
        for task in self._opening:
            task.cancel()
        for connection in {*self._by_number.values(), *self._by_peer.values()}:
            connection.close()
        self._by_number.clear()
        self._by_peer.clear()

    def accept(self, host: str, port: int, certificate: Mapping[str, Any] | None) -> Flow | None:
        """Decide about a connection that the kernel has accepted (`ConnectionOwner`)."""
        if self._closed:
            return None
        identity = self._identify(certificate)
        if identity is None and not self._receiver.admits(host):
            return None
        if (
            self._accepted_from.total() >= self._limits.connections
            or self._accepted_from[host] >= self._limits.connections_a_source
        ):
            self._receiver.dropped("connection_limit")
            return None
        self._accepted_from[host] += 1
        return self._numbered(host, port, identity or "")

    def opened(self, connection: Connection) -> None:
        """Make a connection known by its number (`ConnectionOwner`)."""
        if connection.flow is not None:
            self._by_number[connection.flow.channel] = connection
        if self._sweeper is None:
            self._sweeper = self._loop.call_later(self._limits.sweep, self._sweep)

    def closed(self, connection: Connection) -> None:
        """Forget a connection (`ConnectionOwner`)."""
        flow = connection.flow
        if flow is None:
            return
        self._by_number.pop(flow.channel, None)
        if connection.outgoing:
            self._by_peer.pop(_peer(flow), None)
        else:
            self._accepted_from[flow.host] -= 1
            if not self._accepted_from[flow.host]:
                del self._accepted_from[flow.host]

    def _make_accepted(self) -> Connection:
        return Connection(self, self._receiver, None, unsent_limit=self._limits.unsent)

    def _identify(self, certificate: Mapping[str, Any] | None) -> str | None:
        """The name that admits a peer, if its certificate has one."""
        return None

    def _numbered(self, host: str, port: int, name: str) -> Flow:
        self._last_number += 1
        return Flow(self.name, host, port, self._channel | self._last_number << LISTENER_BITS, name)

    def _cannot_open(self, flow: Flow) -> str | None:
        if not is_ip_literal(flow.host):  # connecting would ask DNS
            return f"{flow.host} is not an IP address"
        if not 0 < flow.port <= 65_535:
            return f"{flow.port} is not a port"
        if len(self._by_peer) >= self._limits.outgoing:
            return "too many connections"
        return None

    def _open(self, flow: Flow) -> Connection:
        numbered = self._numbered(flow.host, flow.port, flow.name)
        connection = Connection(self, self._receiver, numbered, unsent_limit=self._limits.unsent)
        self._by_peer[_peer(flow)] = connection
        task = self._loop.create_task(self._connect(connection, flow))
        self._opening.add(task)
        task.add_done_callback(self._opening.discard)
        return connection

    async def _connect(self, connection: Connection, flow: Flow) -> None:
        here = self._address[0]
        local = None if is_wildcard(here) else (here, 0)
        try:
            await self._dial(connection, flow, local)
        except TimeoutError:
            connection.end("connecting timed out")
        except OSError as error:
            connection.end(fault_of(error))

    async def _dial(self, connection: Connection, flow: Flow, local: Address | None) -> None:
        """Open a connection, from the address `local`. Raises OSError."""
        async with asyncio.timeout(self._limits.connect):
            await self._loop.create_connection(lambda: connection, flow.host, flow.port, local_addr=local)

    def _sweep(self) -> None:
        for connection in list(self._by_number.values()):
            connection.close_if_overdue(self._limits.idle, self._limits.unfinished)
        self._sweeper = self._loop.call_later(self._limits.sweep, self._sweep) if self._by_number else None


def _peer(flow: Flow) -> tuple[str, int, str]:
    return flow.host, flow.port, flow.name


def bound_socket(address: Address, *, shared: bool = False) -> socket.socket:
    """A stream's socket on that address, not listening yet. Raises OSError.

    shared: other processes of ours bind it as well, and the kernel spreads connections over them.
    """
    family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        # A restarted node must not wait for the last one's connections to leave TIME_WAIT.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind(address)
    except OSError:
        sock.close()
        raise
    return sock
