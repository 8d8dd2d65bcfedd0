"""One INVITE of the peer's, first or repeated in a dialog: its responses, and its 2xx until the ACK."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.sip.core import ALLOW
from gateway.sip.transaction import T1, T2, TRANSACTION_TIMEOUT

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.sip.core import Core
    from gateway.sip.incoming_request import IncomingRequest
    from gateway.sip.leg import HeaderList
    from gateway.sip.message import Request
    from gateway.sip.timers import Timer

SDP = ("Content-Type", "application/sdp")


class ReceivedInvite:
    """An INVITE that waits for our final response, or whose 2xx waits for an ACK.

    Args:
        core: the surroundings.
        incoming: the INVITE; 100 Trying is sent for it at once.
        to_tag: our tag, for the first INVITE of a dialog.
        contact: our Contact header.
        on_cancel: called with the CANCEL, which is still to be answered.

    Attributes:
        final_status: the final status sent, if one was.
        last_provisional: the latest provisional status sent.
        makes_offer: its 2xx had to make the SDP offer, so that its ACK has the answer.

    """

    __slots__ = (
        "_contact",
        "_core",
        "_data",
        "_give_up",
        "_interval",
        "_resend",
        "_transaction",
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
        on_cancel: Callable[[IncomingRequest], None],
    ) -> None:
        self._core = core
        self._transaction = incoming.serve_invite(on_cancel)
        self._writer = incoming.writer(to_tag)
        self._contact = contact
        self._data = b""
        self._interval = T1
        self._resend: Timer | None = None
        self._give_up: Timer | None = None
        self.request = incoming.request
        self.final_status: int | None = None
        self.makes_offer = not incoming.request.body
        self.last_provisional = 100
        self._transaction.respond(100, self._writer.write(100))

    @property
    def pending(self) -> bool:
        """No final response was sent."""
        return self.final_status is None

    def cancelled_by(self, cancel: Request) -> bool:
        """Whether this CANCEL is for this INVITE (and not for an earlier one), and not too late."""
        return self.pending and cancel.cseq == self.request.cseq

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

    def accept(self, headers: HeaderList, body: bytes, on_timeout: Callable[[], None]) -> None:
        """Send 200, and again until the ACK: after T1, doubling up to T2 (§13.3.1.4).

        on_timeout: called when no ACK has come within 64*T1.
        """
        lines = (self._contact, ALLOW, ("Server", self._core.product), *headers, *((SDP,) if body else ()))
        self._data = self._writer.write(200, None, lines, body, forms_dialog=True)
        self.final_status = 200
        timers = self._core.timers
        # Over a stream as well: a hop behind the next one may use UDP.
        self._resend = timers.schedule(T1, self._send_again)

        def give_up() -> None:
            self.stop()
            on_timeout()

        self._give_up = timers.schedule(TRANSACTION_TIMEOUT, give_up)
        self._transaction.respond(200, self._data)

    def refuse(self, status: int, reason: str | None = None, headers: HeaderList = ()) -> None:
        """Send a final refusal; the transaction repeats it until its ACK."""
        self.final_status = status
        lines = (("Server", self._core.product), *headers)
        self._transaction.respond(status, self._writer.write(status, reason, lines))

    def stop(self) -> None:
        """Stop repeating the 2xx: its ACK came, or the call is over. Idempotent."""
        if self._resend is not None and self._give_up is not None:
            self._resend.cancel()
            self._give_up.cancel()
            self._resend = self._give_up = None

    def _send_again(self) -> None:
        self._transaction.respond(200, self._data)
        self._interval = min(self._interval * 2, T2)
        self._resend = self._core.timers.schedule(self._interval, self._send_again)
