"""A REFER within a call, and the news of it: an implicit subscription to what becomes of it (RFC 3515)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.sip.core import ALLOW
from gateway.sip.grammar import SipParseError
from gateway.sip.headers import NameAddr
from gateway.sip.reasons import reason_phrase

if TYPE_CHECKING:
    from gateway.sip.core import Core
    from gateway.sip.dialog import Dialog
    from gateway.sip.flow import Flow
    from gateway.sip.incoming_request import IncomingRequest
    from gateway.sip.leg import HeaderList
    from gateway.sip.message import Request

PATIENCE = 300
"""Seconds that the subscription is said to last: longer than any plan of destinations takes."""

FRAGMENT = ("Content-Type", "message/sipfrag;version=2.0")


def refer_to(request: Request) -> NameAddr:
    """Where the peer wants its peer to go (§2.1). Raises SipParseError (400)."""
    values = request.headers.get_all("Refer-To")
    if len(values) != 1:
        raise SipParseError(400, "One Refer-To header is wanted")
    return NameAddr.parse(values[0])


class Referral:
    """Waits for a decision; once accepted, tells the peer what becomes of it, also after its goodbye.

    Args:
        core: the surroundings.
        incoming: the REFER; remembered from now on.
        dialog: the one it is in, which the news are sent in.
        flow, contact: of the leg.
        numbered: it is not the first one of its dialog, so that its news name it (§2.4.6).

    Attributes:
        target: its Refer-To.
        settled: it was refused, or its last news are out.

    """

    __slots__ = (
        "_contact",
        "_core",
        "_decided",
        "_dialog",
        "_event",
        "_flow",
        "_silent",
        "_transaction",
        "_writer",
        "settled",
        "target",
    )

    def __init__(
        self,
        core: Core,
        incoming: IncomingRequest,
        dialog: Dialog,
        flow: Flow,
        contact: tuple[str, str],
        *,
        numbered: bool,
    ) -> None:
        """Raises SipParseError (400) for a Refer-To that cannot be read; nothing is remembered then."""
        request = incoming.request
        self.target = refer_to(request)
        self._core = core
        self._dialog = dialog
        self._flow = flow
        self._contact = contact
        self._event = f"refer;id={request.cseq}" if numbered else "refer"
        # RFC 4488: who asks for no subscription gets no news.
        self._silent = (request.headers.get("Refer-Sub") or "").strip().lower().startswith("false")
        self._transaction = incoming.serve()
        self._writer = incoming.writer()
        self._decided = self.settled = False

    def accept(self) -> None:
        """Say 202, and that it is being tried."""
        self._decided = True
        silent: HeaderList = (("Refer-Sub", "false"),) if self._silent else ()
        self._transaction.respond(202, self._writer.write(202, None, (self._contact, ALLOW, *silent)))
        self._notify(100, reason_phrase(100), f"active;expires={PATIENCE}")

    def refuse(self, status: int, reason: str | None = None) -> None:
        """Say why not."""
        self._decided = self.settled = True
        self._transaction.respond(status, self._writer.write(status, reason))

    def leg_over(self) -> None:
        """Answer what nobody has decided: the leg is over, and a request must not wait for ever."""
        if not self._decided:
            self.refuse(487)

    def report(self, status: int, reason: str | None = None) -> None:
        """Tell how it ended; the subscription ends with it. Idempotent."""
        if not self.settled:
            self.settled = True
            self._notify(status, reason or reason_phrase(status), "terminated;reason=noresource")

    def _notify(self, status: int, reason: str, state: str) -> None:
        if self._silent:
            return
        core = self._core
        headers = (
            self._contact,
            ("User-Agent", core.product),
            ("Event", self._event),
            ("Subscription-State", state),
            FRAGMENT,
        )
        body = f"SIP/2.0 {status} {reason}\r\n".encode()
        notify = self._dialog.request("NOTIFY", core.transactions.branch(), headers=headers, body=body)
        core.transactions.request(notify, core.next_hop(self._dialog, self._flow), _ignore, _ignore)


def _ignore(_: object) -> None:
    """Take the outcome of a NOTIFY: whoever does not want to hear it misses nothing that we need."""
