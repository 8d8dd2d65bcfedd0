"""Between the sans-IO core and the event loop: messages one way, sending and waking the other.

Whatever goes wrong in the core or in a handler of its events is caught here and nowhere else: one message is
lost then, never the reader.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Final, Protocol
from zlib import crc32

from gateway.sip.flow import Flow
from gateway.sip.grammar import SipParseError
from gateway.sip.ingress import RESPONSE, CalledHosts
from gateway.sip.listeners import Listener, Listeners, Side
from gateway.sip.message import Request, parse_message
from gateway.sip.network import Network
from gateway.sip.request_checks import metric_method
from gateway.sip.response_path import response_path
from gateway.sip.response_writer import ResponseWriter
from gateway.sip.sink import Direction

RETRY_AFTER_ERROR: Final = 0.05
"""Seconds until timers are looked at again after one of them raised: not at once, lest an error that repeats
itself keeps the loop busy."""

ErrorHandler = Callable[[str, Exception], None]
"""Told where an exception was caught that nobody should have raised, and which."""


class Observer(Protocol):
    """Whoever counts; the names are those of `gateway.sip.sink.Sink`."""

    def message(self, direction: Direction, method: str, code: int) -> None:
        """One message went by."""

    def retransmission(self, direction: Direction) -> None:
        """A message was sent, or came, again."""

    def dropped(self, reason: str) -> None:
        """A message was neither answered nor delivered."""


class Witness(Protocol):
    """Whoever keeps what goes over the wire. On the path of every message: fast, and raising nothing."""

    def received(self, flow: Flow, data: bytes) -> None:
        """An admitted peer's message came, whatever it is."""

    def sent(self, flow: Flow, data: bytes) -> None:
        """A message of ours is handed to the network."""


class Core(Protocol):
    """The part of `UserAgent` that is driven from here."""

    def receive(self, data: bytes, flow: Flow, peer: object = None) -> None:
        """Take one whole message."""

    def handle_timers(self) -> None:
        """Do what is due."""

    def next_deadline(self) -> float | None:
        """When something is due next."""

    def transport_failed(self, flow: Flow, reason: str) -> None:
        """Learn that a flow does not work."""


class Bridge:
    """The core's `Sink`, and the `gateway.sip.ingress.Core` of both ingresses.

    Attributes:
        core: to be set before anything is received.
        agents: the side for whatever goes out without having come in; to be set likewise.
        stopped: nothing is to be told to the core any more.
        called: where requests of ours went, lately.
        delivered_at: when the core was handed the message it works on, in seconds of `time.perf_counter`.

    """

    core: Core
    agents: Side

    def __init__(
        self,
        network: Network,
        listeners: Listeners,
        observer: Observer,
        on_error: ErrorHandler,
        witness: Witness | None = None,
    ) -> None:
        self.called = CalledHosts()
        self.stopped = False
        self.delivered_at = 0.0
        self._network = network
        self._listeners = listeners
        self._loop = asyncio.get_running_loop()
        self._on_error = on_error
        self._timer: asyncio.TimerHandle | None = None
        self.message = observer.message
        self.retransmission = observer.retransmission
        self.dropped = observer.dropped
        self._on_received = None if witness is None else witness.received
        self._on_sent = None if witness is None else witness.sent

    # --- gateway.sip.sink.Sink

    def send(self, flow: Flow, data: bytes) -> None:
        """Send one whole message; failures are told later."""
        listener = self._leaving_by(flow)
        if listener is None:
            self._loop.call_soon(self.flow_failed, flow, f"no listener for {flow.transport.upper()}")
            return
        if not data.startswith(RESPONSE):
            self.called.add(flow.host)
            if listener.own is not None and flow.transport == "udp":
                listener = listener.own  # so that its response comes back to this process
        if self._on_sent is not None:
            self._on_sent(flow, data)
        listener.send(flow, data)

    def flow_to(self, near: Flow, transport: str, host: str, port: int) -> Flow:
        """A flow from the side that `near` belongs to; a stream's connection is opened when it is sent to."""
        beside = self._leaving_by(near)
        side = beside.side if beside is not None else self.agents
        listener = self._listeners.find(side, transport, host, beside)
        return Flow(transport, host, port, listener.channel if listener is not None else 0)

    def local_address(self, flow: Flow) -> tuple[str, int]:
        """Host and port for Via and Contact."""
        listener = self._leaving_by(flow)
        if listener is None:  # sending is going to fail, but the message must be written first
            return self._network.local_host(flow.host), flow.port
        return listener.advertised(flow.host)

    def bound_address(self, flow: Flow) -> tuple[str, int]:
        """Where the listener of a flow is bound; the address that faces the peer, if that is any address."""
        listener = self._leaving_by(flow)
        if listener is None:
            return self._network.local_host(flow.host), 0
        return listener.bound(flow.host)

    def is_open(self, flow: Flow) -> bool:
        """Whether a stream's connection is still there."""
        listener = self._leaving_by(flow)
        return listener is not None and listener.transport.is_open(flow)

    def wake(self, deadline: float) -> None:
        """Have one timer, at the earliest deadline: an absolute time, so that nothing drifts."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None if self.stopped else self._loop.call_at(deadline, self._on_timer)

    # --- gateway.sip.ingress.Core

    def deliver(self, data: bytes, flow: Flow, peer: object) -> None:
        """Hand a message to the core."""
        self.delivered_at = time.perf_counter()
        if self._on_received is not None:
            self._on_received(flow, data)
        if not self.stopped:
            self.guarded("receiving a message", self.core.receive, data, flow, peer)

    def flow_failed(self, flow: Flow, reason: str) -> None:
        """Tell the core that a flow does not work."""
        if not self.stopped:
            self.guarded("a transport failure", self.core.transport_failed, flow, reason)

    def refuse(self, data: bytes, flow: Flow, status: int, headers: tuple[tuple[str, str], ...]) -> None:
        """Answer a request without state (RFC 3261 §8.2.7). ACK has no answer."""
        try:
            request = parse_message(data)
            if not isinstance(request, Request) or request.method == "ACK":
                return
            tag = f"{crc32(data):08x}"  # the same for every retransmission
            refusal = ResponseWriter(request, flow, tag).write(status, headers=headers)
            path = response_path(request.via, flow)
        except SipParseError:
            return
        self.message("out", metric_method(request.method), status)
        self.send(path.resolve(self), refusal)

    # --- what only this class does

    def stop(self) -> None:
        """Tell the core nothing more, and wake it no more."""
        self.stopped = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def guarded(self, where: str, function: Callable[..., object], *args: object) -> bool:
        """Call; if that raises, count and report it, and return False."""
        try:
            function(*args)
        except Exception as error:
            self.dropped("internal_error")
            self._on_error(where, error)
            return False
        return True

    def _on_timer(self) -> None:
        self._timer = None
        if not self.guarded("a timer", self.core.handle_timers) and self._timer is None:
            deadline = self.core.next_deadline()
            if deadline is not None:
                self.wake(max(deadline, self._loop.time() + RETRY_AFTER_ERROR))

    def _leaving_by(self, flow: Flow) -> Listener | None:
        listener = self._listeners.of(flow)
        if listener is None:
            listener = self._listeners.find(self.agents, flow.transport, flow.host)
        return listener
