"""Changing a session that is up: re-INVITEs of both sides, and what happens when they meet (RFC 3261 §14).

Only one INVITE may be under way in a dialog, whoever sent it:

    ours is under way, the peer's comes         491 to the peer                              §14.2
    the peer's waits for our answer, another    500 + Retry-After to the second              §14.2
    the peer's waits, we want one               the owner is told 491 at once
    our answer waits for its ACK, we want one   ours waits for the ACK, too                  §14.1
    ours was answered 491                       again after a random pause; whoever made
                                                the Call-ID pauses longer (2.1–4 s, 0–2 s)   §14.1
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.sip.events import FailureCause, ReinviteAnswered, ReinviteFailed, ReinviteReceived
from gateway.sip.received_invite import ReceivedInvite
from gateway.sip.sent_invite import SentInvite

if TYPE_CHECKING:
    from gateway.sip.core import Core
    from gateway.sip.incoming_request import IncomingRequest
    from gateway.sip.leg import HeaderList, Leg
    from gateway.sip.message import Request, Response
    from gateway.sip.timers import Timer

MAX_COLLISIONS = 5
"""How often a re-INVITE is tried again after 491 before the owner is told: honest peers need one or two."""

RETRY_AFTER_STEP = 10
"""A second INVITE is told to come back in 0 to 10 s (§14.2)."""


class _Offer:
    """A re-INVITE that the owner wants."""

    __slots__ = ("attempts", "body", "headers")

    def __init__(self, body: bytes, headers: HeaderList) -> None:
        self.body = body
        self.headers = headers
        self.attempts = 0


class SessionChange:
    """The re-INVITEs of one leg.

    Args:
        core: the surroundings.
        leg: whose session it is.
        longer_pause: this side made the Call-ID.

    """

    __slots__ = ("_core", "_leg", "_longer_pause", "_offer", "_received", "_sent", "_timer")

    def __init__(self, core: Core, leg: Leg, *, longer_pause: bool) -> None:
        self._core = core
        self._leg = leg
        self._longer_pause = longer_pause
        self._offer: _Offer | None = None
        self._sent: SentInvite | None = None
        self._received: ReceivedInvite | None = None
        self._timer: Timer | None = None

    # --- our side's

    def offer(self, body: bytes, headers: HeaderList) -> None:
        """Send a re-INVITE, or say soon why not."""
        if self._offer is not None or self._sent is not None or self._received is not None:
            self._core.timers.schedule(0, self._refuse_offer)
            return
        self._offer = _Offer(body, headers)
        self.go_on()

    def go_on(self) -> None:
        """Send what is wanted, unless something else must be settled first; then that calls here."""
        idle = self._sent is None and self._received is None and self._timer is None
        if self._offer is not None and idle and not self._leg.awaiting_ack:
            self._send(self._offer)

    def acknowledge(self, body: bytes) -> bool:
        """Confirm the 2xx that made an offer; False if none waits for it."""
        if self._sent is None or not self._sent.awaits_ack:
            return False
        self._sent.acknowledge(self._leg.dialog, body)
        self._sent = None
        return True

    def _refuse_offer(self) -> None:
        if not self._leg.ended:
            self._leg.emit(ReinviteFailed(self._leg, 491, None))

    def _send(self, offer: _Offer) -> None:
        leg, core = self._leg, self._core
        headers = leg.invite_headers(offer.headers, "application/sdp" if offer.body else None)
        request = leg.dialog.request("INVITE", core.transactions.branch(), headers=headers, body=offer.body)
        flow = core.next_hop(leg.dialog, leg.flow)
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

    def invite_progressed(self, response: Response) -> None:
        """Nothing of a provisional response to a re-INVITE concerns anybody."""

    def invite_answered(self, response: Response) -> None:
        """The peer agreed."""
        leg, sent = self._leg, self._sent
        self._offer = None
        leg.dialog.refresh_target(response)
        if sent is None:
            return
        if sent.offered or leg.ended:
            self.acknowledge(b"")
        if not leg.ended:
            leg.emit(ReinviteAnswered(leg, response))

    def invite_failed(self, status: int, reason: str, cause: FailureCause, response: Response | None) -> None:
        """The peer did not agree."""
        leg, offer = self._leg, self._offer
        self._sent = None
        if leg.ended or offer is None:
            return
        offer.attempts += 1
        if status == 491 and offer.attempts <= MAX_COLLISIONS:
            self._retry_later()
            return
        self._offer = None
        leg.emit(ReinviteFailed(leg, status, response))
        leg.request_failed(status)

    # --- the peer's

    def receive(self, incoming: IncomingRequest) -> None:
        """Take a re-INVITE of the peer's, or send it away."""
        leg = self._leg
        if self._received is not None or leg.awaiting_answer:
            pause = round(self._core.chance() * RETRY_AFTER_STEP)
            incoming.respond(500, "Another INVITE is pending", (("Retry-After", str(pause)),))
        elif self._sent is not None or leg.awaiting_offer_answer:
            incoming.respond(491)
        else:
            contact = leg.contact
            self._received = ReceivedInvite(self._core, incoming, "", contact, self)
            leg.emit(ReinviteReceived(leg, incoming.request))

    def answer(self, body: bytes, headers: HeaderList) -> ReceivedInvite | None:
        """Accept the peer's re-INVITE; the leg watches for its ACK. None if it was cancelled meanwhile."""
        received, self._received = self._received, None
        if received is not None:
            self._leg.dialog.refresh_target(received.request)
            received.accept(headers, body)
        return received

    def refuse(self, status: int, reason: str | None, headers: HeaderList) -> None:
        """Refuse the peer's re-INVITE, unless it was cancelled meanwhile."""
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

    def ack_timed_out(self) -> None:
        """The peer has never confirmed our answer."""
        self._leg.ack_timed_out()

    def close(self) -> None:
        """The leg is over: answer what is pending (§15.1.2), confirm what was answered, want nothing more."""
        self.refuse(487, None, ())
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._offer = None
        self.acknowledge(b"")
