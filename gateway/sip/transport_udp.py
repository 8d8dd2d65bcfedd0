"""SIP over UDP (RFC 3261 §18): one non-blocking socket, drained at each wakeup, written to directly.

asyncio's own datagram transport costs 12–47 µs a datagram, a drained socket 6–7 µs (loadtests/bench_udp.py).
"""

from __future__ import annotations

import asyncio
import socket
import sys
from collections import deque
from contextlib import suppress

from gateway.sip.addresses import is_ip_literal
from gateway.sip.flow import Flow
from gateway.sip.icmp import read_errors, reason_of, report_errors
from gateway.sip.network import Address, Receiver
from gateway.sip.readiness import watch
from gateway.sip.receive_queue import ReceiveQueue

MAX_DATAGRAM = 65_535
"""Bytes: what UDP can carry. Carriers' INVITEs exceed an Ethernet frame and arrive in fragments."""

DATAGRAMS_A_WAKEUP = 32
"""Datagrams read before timers and media get their turn: some 5 ms of work, a quarter of an audio frame."""

LAST_DATAGRAMS = 1024
"""Datagrams read when a shared port is closed: what comes in a tenth of a second at most."""

RECEIVE_BUFFER = 4 * 1024 * 1024
"""Bytes asked of the kernel: some 3,000 INVITEs wait out a pause of the process instead of being lost."""

SEND_QUEUE = 512
"""Datagrams kept while the kernel has no room (a tenth of a second's traffic); later ones are lost, and SIP's
timers send them again."""

LONGEST_KEEPALIVE = 4
"""Bytes: CRLF CRLF. Proxies send that, or one zero byte, to hold a NAT binding open; no SIP message is as
short."""

_SO_RCVBUFFORCE = 33
"""<asm-generic/socket.h>: a receive buffer beyond net.core.rmem_max, for a privileged process."""


class UdpTransport:
    """One bound UDP socket."""

    __slots__ = (
        "_address",
        "_channel",
        "_closed",
        "_counts_lost",
        "_loop",
        "_queue",
        "_readiness",
        "_receive_queue",
        "_receiver",
        "_sendto",
        "_shared",
        "_socket",
    )

    def __init__(
        self,
        address: Address,
        channel: int,
        receiver: Receiver,
        *,
        shared: bool = False,
        held: socket.socket | None = None,
        counts_lost: bool = True,
    ) -> None:
        """Bind and start to receive; call inside the running event loop.

        shared: other processes of ours bind the same port, and the kernel spreads peers over them.
        held: the socket, if it is bound already. What waits in it when this is closed is for whoever reads it
            next, so that there is nothing to be saved. counts_lost: see `gateway.sip.transport`.

        Raises:
            OSError: the port is taken, the host is not ours, …

        """
        self._loop = asyncio.get_running_loop()
        self._shared = shared and held is None
        self._counts_lost = counts_lost or held is None
        self._socket = _bound(address, shared=shared) if held is None else _prepared(held)
        self._sendto = self._socket.sendto
        name = self._socket.getsockname()
        self._address: Address = (name[0], name[1])
        self._channel = channel
        self._receiver = receiver
        self._queue: deque[tuple[Flow, bytes]] = deque()
        self._receive_queue = ReceiveQueue(self._socket)
        self._closed = False
        self._readiness = watch(self._loop, self._socket, self._on_ready)

    @property
    def address(self) -> Address:
        """Where the socket is bound."""
        return self._address

    def is_open(self, flow: Flow) -> bool:
        """UDP has no connection to lose."""
        return not self._closed

    def waited(self) -> float:
        """Seconds that a datagram waited to be read."""
        return self._receive_queue.waited()

    def lost(self) -> int:
        """Datagrams that the kernel dropped since the last question."""
        return self._receive_queue.lost() if self._counts_lost and not self._closed else 0

    def send(self, flow: Flow, data: bytes) -> None:
        """Send one datagram, now or as soon as the kernel has room for it."""
        if not is_ip_literal(flow.host):  # the socket would ask DNS, and block
            self._fail_soon(flow, f"{flow.host} is not an IP address")
        elif self._queue:
            self._enqueue(flow, data)
        else:
            self._send(flow, data)

    def close(self) -> None:
        """Close the socket; what waits to be sent is lost.

        What waits to be read is told to the receiver of a shared port, which may know whose it is.
        """
        if not self._closed:
            if self._shared:
                self._read_last()
            self._closed = True
            self._readiness.close()
            self._queue.clear()
            self._socket.close()

    def _send(self, flow: Flow, data: bytes, *, again: bool = True) -> None:
        try:
            self._sendto(data, (flow.host, flow.port))
        except (BlockingIOError, InterruptedError):
            self._enqueue(flow, data)
        except OSError as error:
            if self._closed:
                return
            # The error may be an ICMP answer to an earlier datagram; this one was then not sent.
            if again and self._report_errors():
                self._send(flow, data, again=False)
            else:
                self._fail_soon(flow, reason_of(error.errno))
        except OverflowError:
            self._fail_soon(flow, f"{flow.port} is not a port")

    def _enqueue(self, flow: Flow, data: bytes) -> None:
        if len(self._queue) >= SEND_QUEUE:
            self._receiver.dropped("send_queue_full")
            return
        if not self._queue:
            self._readiness.want_write(True)
        self._queue.append((flow, data))

    def _flush(self) -> None:
        waiting, self._queue = self._queue, deque()
        while waiting and not self._queue:
            self._send(*waiting.popleft())
        self._queue.extend(waiting)
        if not self._queue:
            self._readiness.want_write(False)

    def _on_ready(self) -> None:
        if self._queue:
            self._flush()
        received, queue = 0, self._receive_queue
        while received < DATAGRAMS_A_WAKEUP and not self._closed:
            try:
                if queue.wanted:
                    data, peer = queue.receive(MAX_DATAGRAM)
                else:
                    data, peer = self._socket.recvfrom(MAX_DATAGRAM)
            except (BlockingIOError, InterruptedError):
                break
            except OSError:  # an ICMP error is pending
                self._report_errors()
                break
            received += 1
            if len(data) > LONGEST_KEEPALIVE:
                self._receiver.message_received(data, Flow("udp", peer[0], peer[1], self._channel))
        if not received:
            self._report_errors()

    def _read_last(self) -> None:
        for _ in range(LAST_DATAGRAMS):
            try:
                data, peer = self._socket.recvfrom(MAX_DATAGRAM)
            except OSError:  # nothing is left
                return
            self._receiver.message_received(data, Flow("udp", peer[0], peer[1], self._channel))

    def _report_errors(self) -> bool:
        found = False
        for (host, port), reason in read_errors(self._socket):
            found = True
            self._fail_soon(Flow("udp", host, port, self._channel), reason)
        return found

    def _fail_soon(self, flow: Flow, reason: str) -> None:
        self._loop.call_soon(self._fail, flow, reason)

    def _fail(self, flow: Flow, reason: str) -> None:
        if not self._closed:
            self._receiver.flow_failed(flow, reason)


def _bound(address: Address, *, shared: bool) -> socket.socket:
    family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_DGRAM)
    try:
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        _prepared(sock)
        if shared:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.bind(address)
    except OSError:
        sock.close()
        raise
    return sock


def _prepared(sock: socket.socket) -> socket.socket:
    sock.setblocking(False)
    _enlarge_receive_buffer(sock)
    report_errors(sock)
    return sock


def _enlarge_receive_buffer(sock: socket.socket) -> None:
    with suppress(OSError):  # macOS refuses what is above its limit; Linux takes as much as it allows
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
    if sys.platform == "linux":
        with suppress(PermissionError):
            sock.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, RECEIVE_BUFFER)
