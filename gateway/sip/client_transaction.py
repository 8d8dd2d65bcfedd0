"""The client machines: a request of ours, sent until something comes back (RFC 3261 §17.1, RFC 6026 §7.2)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar

from gateway.sip.transaction import T1, T2, T4, TRANSACTION_TIMEOUT, ClientKey, State

if TYPE_CHECKING:
    from gateway.sip.events import FailureCause
    from gateway.sip.flow import Flow
    from gateway.sip.message import Response
    from gateway.sip.request_writer import RequestWriter
    from gateway.sip.timers import Timer
    from gateway.sip.transaction_layer import TransactionLayer


class ClientTransaction:
    """What both client machines do: send, send again, time out, give way to another transport.

    Args:
        layer: the table it lives in, and its way to the network.
        request: what to send; its branch names the transaction.
        flow: where to; a request too large for UDP goes to the same place over TCP, and comes back to UDP
            when that fails before any response (§18.1.1).
        on_response: told each response that is not a repetition.
        on_failure: told once, instead of a final response.

    """

    __slots__ = (
        "_data",
        "_end",
        "_fallback",
        "_interval",
        "_layer",
        "_on_failure",
        "_on_response",
        "_resend",
        "flow",
        "request",
        "state",
    )

    initial: ClassVar[State]
    kind: ClassVar[str]

    def __init__(
        self,
        layer: TransactionLayer,
        request: RequestWriter,
        flow: Flow,
        on_response: Callable[[Response], None],
        on_failure: Callable[[FailureCause], None],
    ) -> None:
        self._layer = layer
        self._on_response = on_response
        self._on_failure = on_failure
        self.request = request
        self._data, self.flow, self._fallback = layer.fit(request, flow)
        self._start()

    @property
    def key(self) -> ClientKey:
        """Its place in the layer's table."""
        return self.request.branch, self.request.method

    @property
    def waiting(self) -> bool:
        """No response has come yet, so that only the transport could say that none will."""
        return self.state is self.initial

    def _start(self) -> None:
        self.state = self.initial
        self._interval = T1
        # Timers A and E: never over a reliable transport.
        self._resend: Timer | None = (
            None if self.flow.reliable else self._layer.timers.schedule(T1, self._send_again)
        )
        # Timers B and F.
        self._end = self._layer.timers.schedule(TRANSACTION_TIMEOUT, self._timed_out)
        self._layer.await_answer(self)
        self._layer.send(self.flow, self._data, self.request.method)

    def transport_failed(self) -> None:
        """Learn that the request cannot have arrived; ignored once anything has come back."""
        if not self.waiting:
            return
        self._stop_timers()
        if self._fallback is not None:
            self.flow, self._fallback = self._fallback, None
            self._data = self.request.write(self._layer.via(self.flow))
            self._start()
        else:
            self._fail("transport")

    def _timed_out(self) -> None:
        self._fail("timeout")

    def _send_again(self) -> None:
        self._layer.send_again(self.flow, self._data, self.request.method)
        self._interval = self._next_interval()
        self._resend = self._layer.timers.schedule(self._interval, self._send_again)

    def _next_interval(self) -> float:
        raise NotImplementedError

    def _stop_resending(self) -> None:
        if self._resend is not None:
            self._resend.cancel()
            self._resend = None

    def _stop_timers(self) -> None:
        self._stop_resending()
        self._end.cancel()

    def _end_after(self, delay: float) -> None:
        """Stay to absorb repetitions for a while; not at all if nothing can be repeated."""
        self._stop_timers()
        if delay:
            self._end = self._layer.timers.schedule(delay, self._terminate)
        else:
            self._terminate()

    def _fail(self, cause: FailureCause) -> None:
        on_failure = self._on_failure
        self._terminate()
        on_failure(cause)

    def _terminate(self) -> None:
        self._stop_timers()
        self.state = State.TERMINATED
        self._layer.forget_client(self)
        # Whoever listens holds this transaction as well: let go, rather than wait for the garbage collector.
        self._on_response = self._on_failure = _nobody


def _nobody(_: object) -> None:
    """Takes what comes after the end."""


class InviteClient(ClientTransaction):
    """Figure 5 of §17.1.1.2 as corrected by RFC 6026 §8.4.

    state       event      next        what happens
    CALLING     timer A    CALLING     INVITE again; A doubles, unbounded by T2
                timer B    TERMINATED  told "timeout"
                error      TERMINATED  told "transport" (or CALLING anew, by the fallback)
    CALLING,    1xx        PROCEEDING  told; A and B stop
    PROCEEDING  2xx        ACCEPTED    told; M starts
                3xx–6xx    COMPLETED   ACK sent, told; D starts
    COMPLETED   3xx–6xx    COMPLETED   ACK again
                timer D    TERMINATED
    ACCEPTED    2xx        ACCEPTED    told: a repetition or another fork
                timer M    TERMINATED
    """

    __slots__ = ("_ack",)

    initial = State.CALLING
    kind = "invite_client"

    _ack: bytes

    def receive(self, response: Response) -> None:
        """Take a response that belongs here."""
        state, status = self.state, response.status
        if state is State.COMPLETED:
            if status >= 300:
                self._layer.retransmission_received()
                self._layer.send_again(self.flow, self._ack, "ACK")
            return
        if state is State.ACCEPTED:
            if 200 <= status < 300:
                self._on_response(response)
            return
        on_response = self._on_response  # over a stream, a refusal ends the transaction at once
        if status < 200:
            if state is State.CALLING:
                self.state = State.PROCEEDING
                self._stop_timers()
        elif status < 300:
            self.state = State.ACCEPTED
            self._data = b""
            self._end_after(TRANSACTION_TIMEOUT)
        else:
            self.state = State.COMPLETED
            self._ack = self.request.write_ack(self._layer.via(self.flow), response.headers.get("To") or "")
            self._layer.send(self.flow, self._ack, "ACK")
            self._end_after(0 if self.flow.reliable else TRANSACTION_TIMEOUT)
        on_response(response)

    def abandon(self) -> None:
        """Stop waiting for a final response that a CANCEL has not brought within 64*T1 (§9.1)."""
        if self.state is State.CALLING or self.state is State.PROCEEDING:
            self._fail("timeout")

    def _next_interval(self) -> float:
        return self._interval * 2


class Client(ClientTransaction):
    """Figure 6 of §17.1.2.2, for everything but INVITE and ACK.

    state       event      next        what happens
    TRYING      timer E    TRYING      request again; E doubles up to T2
    PROCEEDING  timer E    PROCEEDING  request again; E is T2
    both        timer F    TERMINATED  told "timeout"
    TRYING      error      TERMINATED  told "transport" (or TRYING anew, by the fallback)
    both        1xx        PROCEEDING  told
                2xx–6xx    COMPLETED   told; E and F stop, K starts
    COMPLETED   any        COMPLETED   absorbed
                timer K    TERMINATED
    """

    __slots__ = ()

    initial = State.TRYING
    kind = "client"

    def receive(self, response: Response) -> None:
        """Take a response that belongs here."""
        if self.state is State.COMPLETED:
            self._layer.retransmission_received()
            return
        on_response = self._on_response  # over a stream, a final response ends the transaction at once
        if response.status < 200:
            self.state = State.PROCEEDING
        else:
            self.state = State.COMPLETED
            self._end_after(0 if self.flow.reliable else T4)
        on_response(response)

    def _next_interval(self) -> float:
        return T2 if self.state is State.PROCEEDING else min(self._interval * 2, T2)
