"""One INVITE of the peer's, first or repeated in a dialog: its responses, and its 2xx until the ACK."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from gateway.sip.core import ALLOW
from gateway.sip.transaction import T1, T2

if TYPE_CHECKING:
    from gateway.sip.core import Core
    from gateway.sip.incoming_request import IncomingRequest
    from gateway.sip.leg import HeaderList
    from gateway.sip.message import Request
    from gateway.sip.timers import Timer

SDP = ("Content-Type", "application/sdp")


class ReceivedInviteUser(Protocol):
    """Whose INVITE it is."""

    def invite_cancelled(self, request: Request) -> None:
        """Learn of the CANCEL, before any final response."""

    def invite_forgotten(self) -> None:
        """Learn that no copy of the INVITE can come any more."""

    def ack_timed_out(self) -> None:
        """Learn that our 2xx has not been confirmed within 64*T1."""


class ReceivedInvite:
    """An INVITE that waits for our final response, or whose 2xx waits for an ACK.

    Args:
        core: the surroundings.
        incoming: the INVITE; 100 Trying is sent for it at once.
        to_tag: our tag, for the first INVITE of a dialog.
        contact: our Contact header.
        user: who is told.

    Attributes:
        final_status: the final status sent, if one was.
        last_provisional: the latest provisional status sent.
        makes_offer: its 2xx had to make the SDP offer, so that its ACK has the answer.

    """

    __slots__ = (
        "_contact",
        "_core",
        "_data",
        "_interval",
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
    ) -> None:
        self._core = core
        self._user: ReceivedInviteUser | None = user
        self._transaction = incoming.serve_invite(self, to_tag)
        self._writer = incoming.writer(to_tag)
        self._contact = contact
        self._data = b""
        self._interval = T1
        self._resend: Timer | None = None
        self.request = incoming.request
        self.final_status: int | None = None
        self.makes_offer = not incoming.request.body
        self.last_provisional = 100
        self._transaction.respond(100, self._writer.write(100))

    @property
    def pending(self) -> bool:
        """No final response was sent."""
        return self.final_status is None

    def progress(self, status: int, reason: str | None, headers: HeaderList, body: bytes) -> None:
        """Send a provisional response that makes an early dialog."""
        lines = (self._contact, ALLOW, *headers, *((SDP,) if body else ()))
        self.last_provisional = status
        self._data = self._writer.write(status, reason, lines, body, forms_dialog=True)
        self._transaction.respond(status, self._data)

    def repeat_progress(self) -> None:
        """Send the last provisional response again, so that no proxy takes the call for dead (§13.3.1.1)."""
        if self.last_provisional > 100:
            self._transaction.respond(self.last_provisional, self._data)

    def accept(self, headers: HeaderList, body: bytes) -> None:
        """Send 200, and again until the ACK: after T1, doubling up to T2, for 64*T1 (§13.3.1.4)."""
        lines = (self._contact, ALLOW, ("Server", self._core.product), *headers, *((SDP,) if body else ()))
        self._data = self._writer.write(200, None, lines, body, forms_dialog=True)
        self.final_status = 200
        # Over a stream as well: a hop behind the next one may use UDP.
        self._resend = self._core.timers.schedule(T1, self._send_again)
        self._transaction.respond(200, self._data)

    def refuse(self, status: int, reason: str | None = None, headers: HeaderList = ()) -> None:
        """Send a final refusal; the transaction repeats it until its ACK."""
        self.final_status = status
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
        user, self._user = self._user, None
        if user is not None:
            user.invite_forgotten()
            if unconfirmed:
                user.ack_timed_out()

    def _send_again(self) -> None:
        self._transaction.respond(200, self._data)
        self._interval = min(self._interval * 2, T2)
        self._resend = self._core.timers.schedule(self._interval, self._send_again)
