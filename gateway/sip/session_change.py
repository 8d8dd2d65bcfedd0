"""Changing a session that is up: offers of both sides, and what happens when they meet.

By re-INVITE (RFC 3261 §14) or UPDATE (RFC 3311); also what only keeps a session alive (RFC 4028). Only one
offer may be under way in a dialog, whoever made it:

    ours is under way, the peer's comes         491 to the peer                              §14.2
    the peer's waits for our answer, another    500 + Retry-After to the second              §14.2
    an UPDATE before the first offer is         500 + Retry-After                            RFC 3311 §5.2
    answered
    the peer's waits, we want one               the owner is told 491 at once
    our answer waits for its ACK, we want one   ours waits for the ACK, too                  §14.1
    our refresh is under way, we want one       ours waits for the end of that
    ours was answered 491                       again after a random pause; whoever made
                                                the Call-ID pauses longer (2.1–4 s, 0–2 s)   §14.1
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeAlias

from gateway.sip.core import ALLOW
from gateway.sip.events import (
    FailureCause,
    ReinviteAnswered,
    ReinviteFailed,
    ReinviteReceived,
    SessionRefreshed,
)
from gateway.sip.received_invite import ReceivedInvite
from gateway.sip.received_offer import ReceivedOffer
from gateway.sip.sent_invite import STATUS_OF_CAUSE, SentInvite

if TYPE_CHECKING:
    from gateway.sip.core import Core
    from gateway.sip.dialog import Dialog
    from gateway.sip.incoming_request import IncomingRequest
    from gateway.sip.leg import HeaderList, Leg
    from gateway.sip.message import Request, Response
    from gateway.sip.timers import Timer

MAX_COLLISIONS = 5
"""How often an offer is made again after 491 (or a timer after 422) before the owner is told: honest peers
need one or two."""

RETRY_AFTER_STEP = 10
"""A second INVITE is told to come back in 0 to 10 s (§14.2)."""

Method: TypeAlias = Literal["INVITE", "UPDATE"]


class _Offer:
    """What is to be sent: what the owner wants, or a refresh."""

    __slots__ = ("attempts", "body", "headers", "method", "refresh")

    def __init__(self, body: bytes, headers: HeaderList, method: Method, *, refresh: bool = False) -> None:
        self.body = body
        self.headers = headers
        self.method = method
        self.refresh = refresh
        self.attempts = 0


class SessionChange:
    """The offers of one leg after the first.

    Args:
        core: the surroundings.
        leg: whose session it is.
        longer_pause: this side made the Call-ID.

    """

    __slots__ = (
        "_core",
        "_dialog",
        "_leg",
        "_longer_pause",
        "_next",
        "_offer",
        "_received",
        "_sent",
        "_timer",
        "_updating",
    )

    def __init__(self, core: Core, leg: Leg, *, longer_pause: bool) -> None:
        self._core = core
        self._leg = leg
        self._longer_pause = longer_pause
        self._offer: _Offer | None = None
        self._next: _Offer | None = None
        self._sent: SentInvite | None = None
        self._updating = False
        self._received: ReceivedInvite | ReceivedOffer | None = None
        self._dialog: Dialog | None = None
        self._timer: Timer | None = None

    # --- our side's

    def offer(self, body: bytes, headers: HeaderList, method: Method = "INVITE") -> None:
        """Send an offer, or say soon why not."""
        refreshing = self._offer is not None and self._offer.refresh and self._next is None
        if self._received is not None or (self._busy and not refreshing):
            self._core.timers.schedule(0, self._refuse_offer)
            return
        wanted = _Offer(body, headers, method)
        if refreshing:
            self._next = wanted
            return
        self._offer = wanted
        self.go_on()

    def refresh(self, body: bytes, *, by_update: bool) -> None:
        """Send what changes nothing; whatever is under way already shows as well that both are there.

        body: for a re-INVITE, our latest session description.
        """
        if self._busy or self._received is not None:
            return
        method: Method = "UPDATE" if by_update else "INVITE"
        self._offer = _Offer(b"" if by_update else body, (), method, refresh=True)
        self.go_on()

    def go_on(self) -> None:
        """Send what is wanted, unless something else must be settled first; then that calls here."""
        idle = self._sent is None and not self._updating and self._received is None and self._timer is None
        if self._offer is not None and idle and not self._leg.awaiting_ack:
            self._send(self._offer)

    def acknowledge(self, body: bytes) -> bool:
        """Confirm the 2xx that made an offer; False if none waits for it."""
        if self._sent is None or not self._sent.awaits_ack:
            return False
        self._sent.acknowledge(self._leg.dialog, body)
        self._sent = None
        return True

    @property
    def _busy(self) -> bool:
        return self._offer is not None or self._sent is not None

    def _refuse_offer(self) -> None:
        if not self._leg.ended:
            self._leg.emit(ReinviteFailed(self._leg, 491, None))

    def _send(self, offer: _Offer) -> None:
        leg, core = self._leg, self._core
        headers = leg.invite_headers(offer.headers, "application/sdp" if offer.body else None)
        if leg.digest is not None:
            headers = (*headers, *leg.credentials(offer.method, leg.dialog.remote_target))
        branch = core.transactions.branch()
        lines = leg.invite_lines(offered=bool(offer.body))
        request = leg.dialog.request(offer.method, branch, headers=headers, lines=lines, body=offer.body)
        flow = core.next_hop(leg.dialog, leg.flow)
        if offer.method == "UPDATE":
            self._updating = True
            core.transactions.request(request, flow, self._update_responded, self._update_failed)
            return
        self._sent = SentInvite(
            core, request, flow, local_tag=leg.local_tag, offered=bool(offer.body), user=self
        )

    def _retry_later(self) -> None:
        # §14.1, in units of 10 ms.
        chance = self._core.chance()
        pause = 2.1 + round(chance * 190) / 100 if self._longer_pause else round(chance * 200) / 100
        self._timer = self._core.timers.schedule(pause, self._pause_over)

    def _pause_over(self) -> None:
        self._timer = None
        self.go_on()

    def _update_responded(self, response: Response) -> None:
        if response.status < 200 or not self._updating:
            return
        self._updating = False
        if response.status < 300:
            self._agreed(response)
        else:
            self._refused(response.status, response)

    def _update_failed(self, cause: FailureCause) -> None:
        if self._updating:
            self._updating = False
            self._refused(STATUS_OF_CAUSE[cause], None)

    def invite_progressed(self, response: Response) -> None:
        """Nothing of a provisional response to a re-INVITE concerns anybody."""

    def invite_answered(self, response: Response) -> None:
        """The peer agreed."""
        sent = self._sent
        if sent is None:
            self._offer = None
            return
        if sent.offered or self._leg.ended:
            self._leg.dialog.refresh_target(response)  # where the ACK goes, too
            self.acknowledge(b"")
        self._agreed(response)

    def invite_failed(self, status: int, reason: str, cause: FailureCause, response: Response | None) -> None:
        """The peer did not agree."""
        self._sent = None
        self._refused(status, response)

    def _agreed(self, response: Response) -> None:
        leg, offer = self._leg, self._offer
        self._offer = None
        leg.dialog.refresh_target(response)
        if leg.ended:
            return
        leg.timer_answered(response)
        if offer is not None and offer.refresh:
            if response.body:
                leg.emit(SessionRefreshed(leg, response.body))
            self._wanted_next()
            return
        if offer is not None and offer.body:
            leg.described = offer.body
        leg.emit(ReinviteAnswered(leg, response))

    def _refused(self, status: int, response: Response | None) -> None:
        leg, offer = self._leg, self._offer
        if leg.ended or offer is None:
            return
        offer.attempts += 1
        if offer.attempts <= MAX_COLLISIONS:
            if status == 491:
                self._retry_later()
                return
            if leg.may_prove(response):
                self.go_on()
                return
            if status == 422 and response is not None and leg.timer_refused(response):
                self.go_on()
                return
        self._offer = None
        if offer.refresh:
            leg.refresh_refused(status, method=offer.method, answered=response is not None)
            self._wanted_next()
            return
        leg.emit(ReinviteFailed(leg, status, response))
        leg.request_failed(status)

    def _wanted_next(self) -> None:
        """The refresh is over: what the owner wanted meanwhile is next."""
        wanted, self._next = self._next, None
        if wanted is None or self._leg.ended:
            return
        if self._offer is not None:  # refreshed once more, in another way
            self._next = wanted
            return
        self._offer = wanted
        self.go_on()

    # --- the peer's

    def receive(self, incoming: IncomingRequest, dialog: Dialog) -> None:
        """Take a re-INVITE of the peer's, or an UPDATE or PRACK with an offer, or send it away.

        dialog: the one it is in; early, perhaps.
        """
        leg, request = self._leg, incoming.request
        reinvited_early = request.method == "INVITE" and leg.awaiting_answer
        if request.method != "INVITE" and not request.body:
            self._refreshed(incoming, dialog)
        elif self._received is not None or not leg.takes_offers or reinvited_early:
            pause = round(self._core.chance() * RETRY_AFTER_STEP)
            incoming.respond(500, "Another offer is pending", (("Retry-After", str(pause)),))
        elif self._sent is not None or self._updating or leg.awaiting_offer_answer:
            incoming.respond(491)
        else:
            contact = leg.contact
            self._dialog = dialog
            self._received = (
                ReceivedInvite(self._core, incoming, "", contact, self)
                if request.method == "INVITE"
                else ReceivedOffer(incoming, (contact, ALLOW))
            )
            leg.emit(ReinviteReceived(leg, request))

    def _refreshed(self, incoming: IncomingRequest, dialog: Dialog) -> None:
        """Answer an UPDATE that changes no session: it refreshes timer and target (RFC 3311 §5.2)."""
        leg = self._leg
        dialog.refresh_target(incoming.request)
        timer = leg.agree_on_timer(incoming.request) if leg.takes_offers else ()
        incoming.respond(200, None, (leg.contact, ALLOW, *timer))

    def answer(self, body: bytes, headers: HeaderList) -> ReceivedInvite | None:
        """Accept the peer's offer; the leg watches for the ACK of a re-INVITE. None if there will be none."""
        received, self._received = self._received, None
        if received is None:
            return None
        leg, dialog = self._leg, self._dialog or self._leg.dialog
        dialog.refresh_target(received.request)
        timer = () if received.request.method == "PRACK" else leg.agree_on_timer(received.request)
        received.accept((*timer, *headers), body)
        if isinstance(received, ReceivedInvite):
            return received
        self.go_on()
        return None

    def refuse(self, status: int, reason: str | None, headers: HeaderList) -> None:
        """Refuse the peer's offer, unless it was cancelled meanwhile."""
        received, self._received = self._received, None
        if received is not None:
            received.refuse(status, reason, headers)
            if not self._leg.ended:
                self.go_on()

    def invite_cancelled(self, request: Request) -> None:
        """The peer sent CANCEL for its re-INVITE."""
        self.refuse(487, None, ())

    def invite_forgotten(self) -> None:
        """Nothing depends on when a re-INVITE is forgotten."""

    def prack_timed_out(self) -> None:
        """Nothing of a re-INVITE's is answered provisionally."""

    def ack_timed_out(self) -> None:
        """The peer has never confirmed our answer."""
        self._leg.ack_timed_out()

    def close(self) -> None:
        """The leg is over: answer what is pending (§15.1.2), confirm what was answered, want nothing more.

        A re-INVITE that a proxy has taken with 100, and whose peer is gone, would else wait for five minutes.
        """
        self.refuse(487, None, ())
        if self._sent is not None:
            self._sent.cancel()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._offer = self._next = None
        self._updating = False
        self.acknowledge(b"")
