"""The server machines: a request of the peer's, answered once however often it comes (RFC 3261 §17.2)."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Protocol

from gateway.sip.transaction import T1, T2, T4, TRANSACTION_TIMEOUT, ServerKey, State

if TYPE_CHECKING:
    from gateway.sip.message import Request
    from gateway.sip.response_path import ResponsePath
    from gateway.sip.timers import Timer
    from gateway.sip.transaction_layer import TransactionLayer


class ServerTransaction:
    """What both server machines do: answer, and answer the same again.

    Args:
        layer: the table it lives in, and its way to the network.
        key: its place in that table.
        method: the request's, for the counters.
        path: where responses go.

    """

    __slots__ = ("_end", "_last", "_layer", "_method", "_status", "key", "path", "state")

    initial: ClassVar[State]
    kind: ClassVar[str]

    def __init__(self, layer: TransactionLayer, key: ServerKey, method: str, path: ResponsePath) -> None:
        self._layer = layer
        self._method = method
        self._last: bytes | None = None
        self._status = 0
        self._end: Timer | None = None
        self.key = key
        self.path = path
        self.state = self.initial

    def receive_again(self) -> None:
        """Take the same request once more."""
        raise NotImplementedError

    def _send(self, status: int, data: bytes) -> None:
        self._status = status
        self._last = data
        self._layer.send_response(self.path, data, self._method, status)

    def _send_again(self) -> None:
        if self._last is not None:
            self._layer.send_response_again(self.path, self._last, self._method, self._status)

    def _end_after(self, delay: float) -> None:
        """Stay to absorb repetitions for a while; not at all if nothing can be repeated."""
        if self._end is not None:
            self._end.cancel()
        if delay:
            self._end = self._layer.timers.schedule(delay, self._terminate)
        else:
            self._terminate()

    def _terminate(self) -> None:
        self.state = State.TERMINATED
        self._layer.forget_server(self)


class InviteServerUser(Protocol):
    """Who answers an INVITE."""

    def invite_cancelled(self, request: Request) -> None:
        """Learn of a CANCEL, in time: a final response (487) is to be sent."""

    def invite_terminated(self) -> None:
        """Learn that the transaction is over: 64*T1 after a 2xx, whether its ACK has come or not."""


class InviteServer(ServerTransaction):
    """Figure 7 of §17.2.1 as corrected by RFC 6026 §8.5.

    state       event      next        what happens
    PROCEEDING  INVITE     PROCEEDING  last provisional again
                1xx        PROCEEDING  sent
                2xx        ACCEPTED    sent; L starts
                3xx–6xx    COMPLETED   sent; G (UDP only) and H start
    COMPLETED   INVITE     COMPLETED   final again
                timer G    COMPLETED   final again; G doubles up to T2
                ACK        CONFIRMED   G and H stop; I starts
                timer H    TERMINATED  the peer is gone, and the call was refused anyway
    CONFIRMED   any        CONFIRMED   absorbed
                timer I    TERMINATED
    ACCEPTED    INVITE     ACCEPTED    absorbed
                2xx        ACCEPTED    sent: retransmissions of a 2xx are the user agent's (§13.3.1.4)
                timer L    TERMINATED

    An ACK for a 2xx has a branch of its own (§13.2.2.4), so that it never comes here.

    Attributes:
        to_tag: our tag, for the response to its CANCEL (§9.2).
        user: who answers it, until it has terminated; None if it was refused out of hand.

    """

    __slots__ = ("_interval", "_resend", "to_tag", "user")

    initial = State.PROCEEDING
    kind = "invite_server"

    def __init__(self, layer: TransactionLayer, key: ServerKey, method: str, path: ResponsePath) -> None:
        super().__init__(layer, key, method, path)
        self._interval = T1
        self._resend: Timer | None = None
        self.to_tag = ""
        self.user: InviteServerUser | None = None

    def respond(self, status: int, data: bytes) -> None:
        """Send a response of the user's; ignored where the figure has no arrow for it."""
        if self.state is State.PROCEEDING:
            self._send(status, data)
            if 200 <= status < 300:
                self.state = State.ACCEPTED
                self._last = None
                self._end_after(TRANSACTION_TIMEOUT)
            elif status >= 300:
                self.state = State.COMPLETED
                if not self.path.flow.reliable:
                    self._resend = self._layer.timers.schedule(T1, self._timer_g)
                self._end_after(TRANSACTION_TIMEOUT)
        elif self.state is State.ACCEPTED and 200 <= status < 300:
            self._layer.send_response_again(self.path, data, self._method, status)

    def receive_again(self) -> None:
        """Take the same INVITE once more."""
        if self.state is State.PROCEEDING or self.state is State.COMPLETED:
            self._send_again()

    def receive_ack(self) -> None:
        """Take the ACK of a 3xx–6xx."""
        if self.state is State.COMPLETED:
            self.state = State.CONFIRMED
            self._stop_resending()
            self._end_after(0 if self.path.flow.reliable else T4)

    def _timer_g(self) -> None:
        self._send_again()
        self._interval = min(self._interval * 2, T2)
        self._resend = self._layer.timers.schedule(self._interval, self._timer_g)

    def _stop_resending(self) -> None:
        if self._resend is not None:
            self._resend.cancel()
            self._resend = None

    def receive_cancel(self, request: Request) -> None:
        """Take a CANCEL, which has been answered 200; after a final response it has no effect."""
        if self.state is State.PROCEEDING and self.user is not None:
            self.user.invite_cancelled(request)

    def _terminate(self) -> None:
        self._stop_resending()
        super()._terminate()
        user, self.user = self.user, None
        if user is not None:
            user.invite_terminated()


class Server(ServerTransaction):
    """Figure 8 of §17.2.2, for everything but INVITE and ACK.

    state       event      next        what happens
    TRYING      again      TRYING      absorbed
                1xx        PROCEEDING  sent
    TRYING,     2xx–6xx    COMPLETED   sent; J starts
    PROCEEDING
    PROCEEDING  again      PROCEEDING  last provisional again
                1xx        PROCEEDING  sent
    COMPLETED   again      COMPLETED   final again
                response   COMPLETED   ignored
                timer J    TERMINATED
    """

    __slots__ = ()

    initial = State.TRYING
    kind = "server"

    def respond(self, status: int, data: bytes) -> None:
        """Send a response of the user's; ignored after a final one."""
        if self.state is State.TRYING or self.state is State.PROCEEDING:
            self._send(status, data)
            if status < 200:
                self.state = State.PROCEEDING
            else:
                self.state = State.COMPLETED
                self._end_after(0 if self.path.flow.reliable else TRANSACTION_TIMEOUT)

    def receive_again(self) -> None:
        """Take the same request once more."""
        self._send_again()
