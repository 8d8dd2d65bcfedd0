"""A caller's leg: an INVITE that came to us."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.sip.dialog import Dialog
from gateway.sip.events import HungUp, InviteCancelled, LegEnded
from gateway.sip.leg import HeaderList, Leg, LegStateError, unheard
from gateway.sip.received_invite import ReceivedInvite

if TYPE_CHECKING:
    from gateway.sip.core import CallKey, Core
    from gateway.sip.incoming_request import IncomingRequest
    from gateway.sip.message import Request

PROGRESS_INTERVAL = 60.0
"""Seconds after which an unanswered INVITE gets its last provisional response again (RFC 3261 §13.3.1.1)."""

UNANSWERED_LIMIT = 6
"""Such intervals after which an INVITE that nobody here has answered is refused with 480: longer than any
plan of destinations takes, so it only bounds what a lost call could hold."""


class InboundLeg(Leg):
    """A call that a peer placed to us; 100 Trying has been sent.

    Attributes:
        request: the INVITE as it came.
        peer: whatever was given to `UserAgent.receive` with it (the carrier).
        merged_with: the earlier leg with the same Call-ID, From tag and CSeq, if this request is a second
            copy, by another path or as a carrier's retry (§8.2.2.2); None for a call seen the first time.
        confirmed: the ACK of our 2xx came.

    """

    __slots__ = ("_intervals", "_invite", "_progress", "confirmed", "merged_with", "peer", "request")

    def __init__(
        self, core: Core, incoming: IncomingRequest, peer: object, merged_with: InboundLeg | None
    ) -> None:
        """Raises SipParseError (400) for a Contact or Record-Route that cannot be read: no leg is made."""
        request = incoming.request
        tag = core.tokens()
        dialog = Dialog.answering(request, tag)
        super().__init__(core, request.call_id, tag, incoming.source)
        self._dialog = dialog
        self.sips = self.flow.transport == "tls" and _is_sips(request, dialog)
        self._allow = request.headers.get("Allow") or ""
        self.request: Request = request
        self.peer = peer
        self.merged_with = merged_with
        self.confirmed = False
        if merged_with is None:
            core.calls[call_key(request)] = self
        reliably = core.extensions.answers_reliably(request)
        self._invite = ReceivedInvite(core, incoming, tag, self.contact, self, reliably=reliably)
        self._intervals = 0
        self._progress = core.timers.schedule(PROGRESS_INTERVAL, self._repeat_progress)

    @property
    def final_status(self) -> int | None:
        """The final status that was sent, if one was."""
        return self._invite.final_status

    @property
    def answered(self) -> bool:
        """A 2xx was sent, or is held back until the caller has confirmed its early media."""
        return self._invite.answering

    @property
    def awaiting_answer(self) -> bool:
        """The INVITE still waits for our final response."""
        return self._invite.pending

    def ring(
        self, status: int = 180, reason: str | None = None, body: bytes = b"", headers: HeaderList = ()
    ) -> None:
        """Send a provisional response (101–199). Repeated every minute until an answer (§13.3.1.1).

        A caller who wants it so gets it until its PRACK (RFC 3262), and `LegEnded` follows if none comes.

        body: SDP for early media, with 183.

        Raises LegStateError after a final response.
        """
        if self.ended:
            return
        self._require_pending("ring")
        if body:
            body = self._outgoing(body)
        self.described = body or self.described
        self._invite.progress(status, reason, headers, body)

    def answer(self, body: bytes, headers: HeaderList = ()) -> None:
        """Send 200 with SDP, again and again until the ACK; `AckReceived` or `AckTimedOut` follows.

        Raises LegStateError after a final response.
        """
        if self.ended:
            return
        self._require_pending("answer")
        body = self._outgoing(body)
        self._progress.cancel()
        self._awaiting_ack[self.request.cseq] = self._invite
        self.described = body
        self._invite.accept((*self.agree_on_timer(self.request), *headers), body)

    def refuse(self, status: int, reason: str | None = None, headers: HeaderList = ()) -> None:
        """Send a final refusal (300–699), again and again until the ACK. The leg has ended.

        Raises LegStateError after an answer.
        """
        if self.ended:
            return
        self._require_pending("refuse")
        self._refuse(status, reason, headers)
        self.listener = unheard

    def hangup(self, headers: HeaderList = ()) -> None:
        """End this leg: BYE once the ACK is there, or 480 before an answer."""
        if self.ended:
            return
        if self._invite.pending:
            self._refuse(480, None, headers)
            self.listener = unheard
            return
        self.ended = True
        self._bye_headers = headers
        if self.confirmed:
            self._say_bye()

    @property
    def takes_offers(self) -> bool:
        """The caller's offer is answered, in the 2xx or in a response that it has confirmed."""
        return self._invite.answering or self._invite.session_told

    def _confirmed(self) -> None:
        self.confirmed = True

    def _prack_received(self, incoming: IncomingRequest) -> None:
        """Take the confirmation of a provisional response, and an offer in it (RFC 3262 §3, §5)."""
        if not self._invite.confirm(incoming.request):
            incoming.respond(481)
        elif incoming.request.body:
            self._session_change.receive(incoming, self.dialog)
        else:
            incoming.respond(200)

    def prack_timed_out(self) -> None:
        """Give up a caller who never confirms what it asked to have confirmed (RFC 3262 §3)."""
        self._refuse(504, "No PRACK came")
        self._end(LegEnded(self))

    def _bye_received(self, incoming: IncomingRequest) -> None:
        if not self._invite.pending:
            super()._bye_received(incoming)
            return
        # A caller may end an early dialog by BYE instead of CANCEL (§15); its INVITE is still answered.
        incoming.respond(200)
        self._refuse(487)
        self._end(HungUp(self, incoming.request.headers.get("Reason")))

    def invite_cancelled(self, request: Request) -> None:
        """Obey the caller's CANCEL."""
        self._refuse(487)
        self._end(InviteCancelled(self, request.headers.get("Reason")))

    def invite_forgotten(self) -> None:
        """From now on a copy of the INVITE is a call of its own."""
        if self.merged_with is None:
            self._core.calls.pop(call_key(self.request), None)

    def _refuse(self, status: int, reason: str | None = None, headers: HeaderList = ()) -> None:
        self._progress.cancel()
        self._invite.refuse(status, reason, headers)
        self._leave()

    def _repeat_progress(self) -> None:
        self._intervals += 1
        if self._intervals < UNANSWERED_LIMIT:
            self._invite.repeat_progress()
            self._progress = self._core.timers.schedule(PROGRESS_INTERVAL, self._repeat_progress)
        else:
            self._refuse(480)
            self._end(LegEnded(self))

    def _require_pending(self, verb: str) -> None:
        if self._invite.answering or not self._invite.pending:
            raise LegStateError(f"{verb} after a final response")

    def _require_dialog(self, verb: str) -> None:
        if not self._invite.answering:
            raise LegStateError(f"{verb} before an answer")


def _is_sips(request: Request, dialog: Dialog) -> bool:
    """Whether a dialog is begun securely: by its Request-URI, or by where its peer is reached (§12.1.1)."""
    return request.uri[:5].lower() == "sips:" or dialog.next_hop[:5].lower() == "sips:"


def call_key(request: Request) -> CallKey:
    """What two copies of one INVITE have in common."""
    return request.call_id, request.from_tag or "", request.cseq
