"""SIP over TLS (RFC 3261 §26.2, RFC 5922): the connections of `StreamTransport`, each behind a handshake.

Who may connect is asked twice: before the handshake by address, so that strangers cost us no signature, and
after it, when a certificate may have shown who a stranger is.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final

from gateway.sip.connection import Connection
from gateway.sip.flow import Flow
from gateway.sip.handshakes import HandshakeGate
from gateway.sip.ingress import UNKNOWN_SOURCE
from gateway.sip.network import Address, Receiver
from gateway.sip.peer_identity import certificate_names
from gateway.sip.tls import Tls, fault_of
from gateway.sip.transport_stream import BACKLOG, Lend, StreamLimits, StreamTransport

ACCEPTS_A_WAKEUP: Final = 16
"""Connections taken from the kernel before others get their turn."""

ACCEPT_PAUSE: Final = 1.0
"""Seconds without accepting after the process ran out of descriptors: trying on would only burn time."""

SHUTDOWN_SECONDS: Final = 1.0
"""For the peer to confirm the end of TLS before the connection is cut."""


class TlsTransport(StreamTransport):
    """One TLS port, the connections accepted by it, and those opened on its behalf.

    Without a certificate nothing listens there; the port is held, since our Contact names it.
    """

    __slots__ = ("_gate", "_greeting", "_pause", "_port", "_tls")

    name = "tls"

    def __init__(
        self,
        address: Address,
        channel: int,
        receiver: Receiver,
        limits: StreamLimits,
        tls: Tls,
        *,
        shared: bool = False,
        lend: Lend | None = None,
        held: socket.socket | None = None,
    ) -> None:
        super().__init__(address, channel, receiver, limits, shared=shared, lend=lend, held=held)
        self._tls = tls
        self._gate = HandshakeGate(self._loop.time)
        self._greeting: set[asyncio.Task[None]] = set()
        self._pause: asyncio.TimerHandle | None = None
        self._port: socket.socket | None = None

    async def listen(self) -> None:
        """See `StreamTransport.listen`."""
        self._port = self._bound()
        name = self._port.getsockname()
        self._address = (name[0], name[1])
        if self._tls.server is not None:
            self._port.listen(BACKLOG)
            self._loop.add_reader(self._port, self._accept_waiting)

    def close(self) -> None:
        """See `StreamTransport.close`."""
        if self._port is not None:
            if self._pause is not None:
                self._pause.cancel()
            self._loop.remove_reader(self._port)
            self._port.close()
            self._port = None
        for task in self._greeting:
            task.cancel()
        super().close()

    def _accept_waiting(self) -> None:
        if self._port is None:
            return
        for _ in range(ACCEPTS_A_WAKEUP):
            try:
                sock, peer = self._port.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError:
                self._loop.remove_reader(self._port)
                self._pause = self._loop.call_later(ACCEPT_PAUSE, self._accept_again)
                return
            if not self._greet(sock, peer[0]):
                sock.close()

    def _accept_again(self) -> None:
        if self._port is not None:
            self._loop.add_reader(self._port, self._accept_waiting)

    def _greet(self, sock: socket.socket, host: str) -> bool:
        """Begin a handshake, if its peer is worth one."""
        known = self._receiver.knows(host)
        if not known and not self._receiver.asks_certificates:
            self._receiver.dropped(UNKNOWN_SOURCE)
            return False
        if not self._gate.enter(host, known=known):
            self._receiver.dropped("handshake_limit")
            return False
        sock.setblocking(False)
        task = self._loop.create_task(self._shake_hands(sock, host, known=known))
        self._greeting.add(task)
        task.add_done_callback(self._greeting.discard)
        return True

    async def _shake_hands(self, sock: socket.socket, host: str, *, known: bool) -> None:
        try:
            await self._loop.connect_accepted_socket(
                self._make_accepted,
                sock,
                ssl=self._tls.server,
                ssl_handshake_timeout=self._limits.handshake,
                ssl_shutdown_timeout=SHUTDOWN_SECONDS,
            )
        except OSError as error:  # ssl.SSLError and a handshake that took too long among them
            self._receiver.dropped("tls_handshake")
            if known:
                self._tls.on_failure(host, fault_of(error))
        finally:
            self._gate.leave(host, known=known)

    def _identify(self, certificate: Mapping[str, Any] | None) -> str | None:
        return self._receiver.identify(certificate_names(certificate)) if certificate else None

    async def _dial(self, connection: Connection, flow: Flow, local: Address | None) -> None:
        try:
            async with asyncio.timeout(self._limits.connect + self._limits.handshake):
                await self._loop.create_connection(
                    lambda: connection,
                    flow.host,
                    flow.port,
                    local_addr=local,
                    ssl=self._tls.client,
                    server_hostname=flow.name or flow.host,
                    ssl_handshake_timeout=self._limits.handshake,
                    ssl_shutdown_timeout=SHUTDOWN_SECONDS,
                )
        except OSError as error:
            with suppress(Exception):  # whoever is told must not keep the core from hearing of it
                self._tls.on_failure(
                    flow.name or flow.host, str(error) if isinstance(error, TimeoutError) else fault_of(error)
                )
            raise
