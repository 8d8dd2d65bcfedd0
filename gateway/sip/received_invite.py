"""One INVITE of the peer's, first or repeated in a dialog: its responses, and its 2xx until the ACK."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from gateway.sip.core import ALLOW
from gateway.sip.reliable_provisionals import ReliableProvisionals
from gateway.sip.request_writer import header_lines
from gateway.sip.transaction import T1, T2

if TYPE_CHECKING:
    from gateway.sip.core import Core
    from gateway.sip.incoming_request import IncomingRequest
    from gateway.sip.leg import HeaderList
    from gateway.sip.message import Request
    from gateway.sip.timers import Timer

SDP = ("Content-Type", "application/sdp")

SDP_LINE: Final = header_lines((SDP,))

ALLOW_LINE: Final = header_lines((ALLOW,))


class ReceivedInviteUser(Protocol):
    """Whose INVITE it is."""

    def invite_cancelled(self, request: Request) -> None:
        """Learn of the CANCEL, before any final response."""

    def invite_forgotten(self) -> None:
        """Learn that no copy of the INVITE can come any more."""

    def ack_timed_out(self) -> None:
        """Learn that our 2xx has not been confirmed within 64*T1."""

    def prack_timed_out(self) -> None:
        """Learn that a reliable provisional response has not been confirmed within 64*T1."""


class ReceivedInvite:
    """An INVITE that waits for our final response, or whose 2xx waits for an ACK.

    Args:
        core: the surroundings.
        incoming: the INVITE; 100 Trying is sent for it at once.
        to_tag: our tag, for the first INVITE of a dialog.
        contact: our Contact header.
        user: who is told.
        reliably: provisional responses are sent until the caller has confirmed them (RFC 3262).

    Attributes:
        answering: a 2xx was sent, or is about to be, once the caller has confirmed a session description.
        final_status: the final status sent, if one was.
        last_provisional: the latest provisional status sent.
        makes_offer: its 2xx had to make the SDP offer, so that its ACK has the answer.

    """

    __slots__ = (
        "_answer",
        "_contact",
        "_core",
        "_data",
        "_interval",
        "_reliable",
        "_resend",
        "_transaction",
        "_user",
        "_writer",
        "final_status",
        "last_provisional",
        "makes_offer",
        "request",
    )

    def __init__(
        self,
        core: Core,
        incoming: IncomingRequest,
        to_tag: str,
        contact: tuple[str, str],
        user: ReceivedInviteUser,
        *,
        reliably: bool = False,
    ) -> None:
        self._core = core
        self._user: ReceivedInviteUser | None = user
        self._transaction = incoming.serve_invite(self, to_tag)
        self._writer = incoming.writer(to_tag)
        self._contact = header_lines((contact,))
        self._data = b""
        self._interval = T1
        self._resend: Timer | None = None
        self._answer: tuple[HeaderList, bytes] | None = None
        self._reliable = ReliableProvisionals(core, incoming.request.cseq, self) if reliably else None
        self.request = incoming.request
        self.final_status: int | None = None
        self.makes_offer = not incoming.request.body
        self.last_provisional = 100
        self._transaction.respond(100, self._writer.write(100))

    @property
    def pending(self) -> bool:
        """No final response was sent."""
        return self.final_status is None

    @property
    def answering(self) -> bool:
        """See the class."""
        return self.final_status == 200 or self._answer is not None

    @property
    def session_told(self) -> bool:
        """The caller has confirmed a provisional response with our answer to its offer."""
        return self._reliable is not None and self._reliable.session_told

    def progress(self, status: int, reason: str | None, headers: HeaderList, body: bytes) -> None:
        """Send a provisional response that makes an early dialog."""
        if self._reliable is None:
            self.send_provisional(status, reason, headers, body)
        elif body or not self.makes_offer:  # else the first reliable one would have to make the offer
            self._reliable.send(status, reason, headers, body)

    def repeat_progress(self) -> None:
        """Send the last provisional response again, so that no proxy takes the call for dead (§13.3.1.1)."""
        if self.last_provisional > 100 and self._reliable is None:
            self._transaction.respond(self.last_provisional, self._data)
        elif self.last_provisional > 100:
            self.progress(self.last_provisional, None, (), b"")  # a number of its own: it is a new one

    def confirm(self, prack: Request) -> bool:
        """Take a PRACK; False if it confirms nothing. Raises SipParseError (400)."""
        return self._reliable is not None and self._reliable.confirm(prack)

    def send_provisional(self, status: int, reason: str | None, headers: HeaderList, body: bytes) -> None:
        """Put a provisional response on the wire."""
        lines = f"{self._contact}{ALLOW_LINE}{SDP_LINE if body else ''}"
        self.last_provisional = status
        self._data = self._writer.write(status, reason, headers, body, lines=lines, forms_dialog=True)
        self._transaction.respond(status, self._data)

    def send_provisional_again(self) -> None:
        """Put the last provisional response on the wire once more."""
        self._transaction.receive_again()

    def provisional_confirmed(self) -> None:
        """Send the answer that waited for this."""
        if self._answer is not None:
            self._accept(*self._answer)

    def provisional_timed_out(self) -> None:
        """Give the caller up."""
        if self._user is not None:
            self._user.prack_timed_out()

    def accept(self, headers: HeaderList, body: bytes) -> None:
        """Send 200, and again until the ACK: after T1, doubling up to T2, for 64*T1 (§13.3.1.4)."""
        if self._reliable is not None and self._reliable.holds_back_answer:
            self._answer = headers, body
        else:
            self._accept(headers, body)

    def _accept(self, headers: HeaderList, body: bytes) -> None:
        lines = f"{self._contact}{self._core.answer_lines}{SDP_LINE if body else ''}"
        if self._reliable is not None:
            self._reliable.stop()
        self._data = self._writer.write(200, None, headers, body, lines=lines, forms_dialog=True)
        self.final_status = 200
        # Over a stream as well: a hop behind the next one may use UDP.
        self._resend = self._core.timers.schedule(T1, self._send_again)
        self._transaction.respond(200, self._data)

    def refuse(self, status: int, reason: str | None = None, headers: HeaderList = ()) -> None:
        """Send a final refusal; the transaction repeats it until its ACK."""
        self.final_status = status
        self._answer = None
        if self._reliable is not None:
            self._reliable.stop()
        lines = (("Server", self._core.product), *headers)
        self._transaction.respond(status, self._writer.write(status, reason, lines))

    def stop(self) -> None:
        """Stop repeating the 2xx: its ACK came, or the call is over. Idempotent."""
        if self._resend is not None:
            self._resend.cancel()
            self._resend = None
            self._data = b""

    def invite_cancelled(self, request: Request) -> None:
        """Pass a CANCEL on."""
        if self._user is not None:
            self._user.invite_cancelled(request)

    def invite_terminated(self) -> None:
        """Give up waiting for the ACK: Timer L has run since the 2xx."""
        unconfirmed = self._resend is not None
        self.stop()
        if self._reliable is not None:
            self._reliable.stop()
            self._reliable = None
        user, self._user = self._user, None
        if user is not None:
            user.invite_forgotten()
            if unconfirmed:
                user.ack_timed_out()

    def _send_again(self) -> None:
        self._transaction.respond(200, self._data)
        self._interval = min(self._interval * 2, T2)
        self._resend = self._core.timers.schedule(self._interval, self._send_again)
