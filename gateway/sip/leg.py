"""One side of a call: the dialog verbs that both the caller's leg and the agent's leg have."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeAlias

from gateway.sip.core import ALLOW, Core
from gateway.sip.digest_client import CHALLENGED, DigestClient, request_with_digest
from gateway.sip.events import (
    AckReceived,
    AckTimedOut,
    Event,
    FailureCause,
    HungUp,
    InfoReceived,
    LegEnded,
    ReferReceived,
    SessionExpired,
)
from gateway.sip.leg_state import LegState
from gateway.sip.referral import Referral
from gateway.sip.request_writer import header_lines
from gateway.sip.sent_invite import STATUS_OF_CAUSE
from gateway.sip.session_change import SessionChange
from gateway.sip.session_timer import SessionTimer

if TYPE_CHECKING:
    from gateway.sip.dialog import Dialog
    from gateway.sip.flow import Flow
    from gateway.sip.incoming_request import IncomingRequest
    from gateway.sip.message import Request, Response
    from gateway.sip.received_invite import ReceivedInvite
    from gateway.sip.session_guard import SessionGuard

Listener: TypeAlias = Callable[[Event], None]
HeaderList: TypeAlias = Sequence[tuple[str, str]]

DIALOG_IS_GONE = frozenset({408, 481})
"""Answers to a request inside a dialog that end it (RFC 3261 §12.2.1.2); silence counts as 408."""


EXPIRED: HeaderList = (("Reason", 'SIP;cause=408;text="Session timer expired"'),)
"""What a BYE says to a peer who has not refreshed the session (RFC 3326)."""


class LegStateError(Exception):
    """A verb was called out of order: a mistake of ours, never of the peer's."""


def unheard(event: Event) -> None:
    """Take events before the owner has set a listener."""


class Leg:
    """One dialog with one peer, from its first INVITE to its last goodbye.

    Goodbyes cross: a verb called on a leg that has `ended` does nothing. A verb that could never be right
    where it is called (answering twice) raises `LegStateError`.

    Attributes:
        listener: told every event, synchronously; the owner sets it, at the latest before control returns
            to the core. Let go of after the last event, so that owner and leg do not hold each other.
        call_id: the dialog's Call-ID.
        local_tag: our tag; unique among all legs of this process.
        flow: the path to the peer, as last seen.
        sips: the dialog was begun with a sips URI: nothing in it leaves TLS.
        digest: who we are, for a peer that asks; None where nobody has told.
        guard: changes session descriptions on their way in and out, where somebody has set one.
        may_refer: the owner takes `ReferReceived`; until it says so, a REFER is declined.
        described: our latest session description in this dialog; what a refresh repeats.
        ended: no call is left on this leg: it was cancelled, refused, has failed, or one side said goodbye.

    """

    __slots__ = (
        "_allow",
        "_awaiting_ack",
        "_bye_headers",
        "_change",
        "_core",
        "_dialog",
        "_heard",
        "_referral",
        "_saying_bye",
        "_timer",
        "call_id",
        "described",
        "digest",
        "ended",
        "flow",
        "guard",
        "listener",
        "local_tag",
        "may_refer",
        "sips",
    )

    def __init__(self, core: Core, call_id: str, local_tag: str, flow: Flow) -> None:
        self._core = core
        self._dialog: Dialog | None = None
        self._change: SessionChange | None = None
        self._allow = ""
        self._heard = True  # by this process, since the dialog is here
        self._timer: SessionTimer | None = None
        self._referral: Referral | None = None
        # Our 2xx responses that the peer has not confirmed, by CSeq number: the first, and a re-INVITE's.
        self._awaiting_ack: dict[int, ReceivedInvite] = {}
        self._bye_headers: HeaderList = ()
        self._saying_bye = False
        self.listener: Listener = unheard
        self.call_id = call_id
        self.local_tag = local_tag
        self.flow = flow
        self.sips = False
        self.digest: DigestClient | None = None
        self.guard: SessionGuard | None = None
        self.described = b""
        self.may_refer = False
        self.ended = False
        core.legs[local_tag] = self

    # --- verbs

    @property
    def takes_update(self) -> bool:
        """The peer has said that it takes UPDATE (RFC 3311 §5.1)."""
        return "UPDATE" in self._allow

    @property
    def remote_contact(self) -> str | None:
        """The URI of the peer's latest Contact; None before there is a dialog."""
        return self._dialog.remote_target if self._dialog is not None else None

    @property
    def remote_tag(self) -> str:
        """The peer's tag; empty before there is a dialog, or for a peer of RFC 2543."""
        return self._dialog.remote_tag if self._dialog is not None else ""

    def hangup(self, headers: HeaderList = ()) -> None:
        """End this leg, whatever its state: BYE, CANCEL, or a 480 to a caller not answered yet.

        The BYE of an answered caller waits for its ACK (§15). `LegEnded` follows an answered call,
        `FailureReceived` or `LegEnded` a cancelled one, nothing a refused one.

        headers: put into the BYE, CANCEL or 480, e.g. a Reason (RFC 3326).
        """
        raise NotImplementedError

    def reinvite(self, body: bytes, headers: HeaderList = ()) -> None:
        """Offer a changed session; `ReinviteAnswered` or `ReinviteFailed` follows (§14.1).

        Waits for the ACK of our own answer. A collision (491) is tried again by itself, after the pause
        that §14.1 sets; when an INVITE of the peer is under way here, or one of ours, `ReinviteFailed`
        with 491 follows.

        body: the SDP offer; empty asks the peer to make one, to be answered by `ack`.
        """
        if self.ended:
            return
        self._require_dialog("reinvite")
        self._session_change.offer(self._outgoing(body, offer=True), headers)

    def update(self, body: bytes, headers: HeaderList = ()) -> None:
        """Offer a changed session by UPDATE (RFC 3311); the events are those of `reinvite`.

        For a peer whose side of the session needs no question to a human: it must answer at once (§5.2).
        """
        if self.ended:
            return
        self._require_dialog("update")
        self._session_change.offer(self._outgoing(body, offer=True), headers, method="UPDATE")

    def ack(self, body: bytes) -> None:
        """Confirm a 2xx that made the offer, with our SDP answer; only after an INVITE of ours without body.

        Raises LegStateError if no 2xx waits for it.
        """
        if self.ended:
            return
        body = self._outgoing(body)
        if self._change is None or not self._change.acknowledge(body):
            raise LegStateError("no 2xx waits for an ACK")
        self.described = body

    def answer_reinvite(self, body: bytes, headers: HeaderList = ()) -> None:
        """Accept the peer's re-INVITE with 200 and an SDP answer, or our offer if it made none.

        `AckReceived` or `AckTimedOut` follows. Does nothing if the peer has cancelled it meanwhile.
        """
        if not self.ended and self._change is not None:
            body = self._outgoing(body)
            self.described = body
            received = self._change.answer(body, headers)
            if received is not None:
                self._awaiting_ack[received.request.cseq] = received

    def refuse_reinvite(self, status: int, reason: str | None = None, headers: HeaderList = ()) -> None:
        """Refuse the peer's re-INVITE, typically with 488; the session stays as it was.

        Does nothing if the peer has cancelled it meanwhile.
        """
        if not self.ended and self._change is not None:
            self._change.refuse(status, reason, headers)

    def info(self, content_type: str, body: bytes) -> None:
        """Send INFO (RFC 6086). A refusal is not told; 481 or silence ends the leg.

        Raises LegStateError before the call is answered.
        """
        if self.ended:
            return
        self._require_dialog("info")
        headers = (("Content-Type", content_type),)
        self._request("INFO", headers, body, self._info_responded, self._info_failed)

    # --- from one process to another

    @property
    def state(self) -> LegState:
        """What another process needs to go on with it. Raises LegStateError before there is a dialog."""
        dialog, flow, timer = self.dialog, self.flow, self._timer
        return LegState(
            not self._made_call_id,
            dialog.call_id,
            dialog.local,
            dialog.remote,
            dialog.local_tag,
            dialog.remote_tag,
            dialog.local_cseq,
            dialog.remote_cseq,
            dialog.remote_target,
            dialog.routes,
            flow.transport,
            flow.host,
            flow.port,
            flow.name,
            self.sips,
            self.takes_update,
            self.described,
            None if timer is None else timer.state,
        )

    def restore(self, dialog: Dialog, *, takes_update: bool, timer: SessionTimer | None) -> None:
        """Go on with what another process had; once, before anything else."""
        self._dialog = dialog
        self._allow = "UPDATE" if takes_update else ""
        self._timer = timer
        self._heard = False

    def forget(self) -> None:
        """Leave the dialog to another process: no BYE, no event. An offer that waits is refused (487)."""
        self.listener = unheard
        if not self.ended:
            self._leave()

    # --- for the parts of this leg

    @property
    def dialog(self) -> Dialog:
        """The dialog. Raises LegStateError before there is one."""
        if self._dialog is None:
            raise LegStateError("there is no dialog yet")
        return self._dialog

    def emit(self, event: Event) -> None:
        """Tell the owner."""
        self.listener(event if self.guard is None else self.guard.came(event))

    def _outgoing(self, body: bytes, *, offer: bool = False) -> bytes:
        """A session description as the peer gets it; see `SessionGuard.leaves`."""
        return body if self.guard is None else self.guard.leaves(body, offer=offer)

    def invite_headers(self, headers: HeaderList, content_type: str | None) -> HeaderList:
        """The headers of an INVITE of ours behind `invite_lines`, from what the owner wants in it.

        content_type: its body's; None if it has none.
        """
        content = (("Content-Type", content_type),) if content_type else ()
        return *self.timer_headers(), *headers, *content

    def invite_lines(self, *, offered: bool) -> str:
        """What every INVITE of ours says of us, as header lines."""
        core = self._core
        return f"{header_lines((self.contact,))}{core.invite_lines if offered else core.late_invite_lines}"

    @property
    def contact(self) -> tuple[str, str]:
        """The Contact header that leads back to this leg."""
        return self._core.contact(self.flow, sips=self.sips)

    @property
    def awaiting_answer(self) -> bool:
        """The peer's first INVITE still waits for our final response."""
        return False

    @property
    def awaiting_ack(self) -> bool:
        """A 2xx of ours still waits for the peer's ACK."""
        return bool(self._awaiting_ack)

    @property
    def awaiting_offer_answer(self) -> bool:
        """A 2xx of ours made an offer, and the ACK that answers it has not come."""
        return any(invite.makes_offer for invite in self._awaiting_ack.values())

    @property
    def takes_offers(self) -> bool:
        """The first offer of this dialog is answered, so that there may be another (RFC 3311 §5.2)."""
        return True

    def credentials(self, method: str, uri: str) -> HeaderList:
        """What a request of ours says of who we are; nothing before the peer has asked."""
        return () if self.digest is None else self.digest.headers(method, uri)

    def may_prove(self, response: Response | None) -> bool:
        """Whether a refusal asks who we are, and there is an answer that it has not had."""
        digest = self.digest
        return (
            digest is not None
            and response is not None
            and response.status in CHALLENGED
            and not self.ended
            and digest.challenged(response)
        )

    def timer_headers(self) -> HeaderList:
        """What an INVITE or UPDATE of ours says of the session timer; nothing if there is none."""
        if self._timer is None:
            if not self._core.extensions.session_expires:
                return ()
            self._timer = SessionTimer(self._core, self)
        return self._timer.request_headers()

    def agree_on_timer(self, request: Request) -> HeaderList:
        """What the 2xx to an INVITE or UPDATE of the peer's says of it. Raises SipParseError (400)."""
        if self._timer is None:
            if not self._core.extensions.session_expires and "Session-Expires" not in request.headers:
                return ()
            self._timer = SessionTimer(self._core, self)
        return self._timer.accept(request)

    def timer_answered(self, response: Response) -> None:
        """Take what the 2xx to an INVITE or UPDATE of ours says of it."""
        self._heard = True
        if self._timer is None:
            if "Session-Expires" not in response.headers:
                return
            self._timer = SessionTimer(self._core, self)
        self._timer.answered(response)

    def timer_refused(self, response: Response) -> bool:
        """Learn from a 422; False if trying again is no use."""
        return self._timer is not None and self._timer.too_short(response)

    def refresh(self) -> None:
        """Show the peer that we are there, and see whether it is."""
        if not self.ended and (self.described or self.takes_update):
            self._session_change.refresh(self.described, by_update=self.takes_update)

    def refresh_refused(self, status: int, *, method: str, answered: bool) -> None:
        """A refresh came to nothing; a refusal is a sign of life as well.

        answered: the peer has said so; else there was none to be reached, and one that has not been heard
            since another process had the dialog is gone.
        """
        if self.ended:
            return
        if status == 408 or not (answered or self._heard):
            self.session_expired()
        elif status == 481:
            self.request_failed(status)
        elif method == "UPDATE":
            self._allow = ""  # whatever it said
            self.refresh()
        elif self._timer is not None:
            self._timer.refused()

    def session_expired(self) -> None:
        """Hang up on a peer that has not refreshed the session, or not answered ours (RFC 4028 §10)."""
        if self.ended:
            return
        self.ended = True
        self._bye_headers = EXPIRED
        self._say_bye()
        self.emit(SessionExpired(self))

    def ack_timed_out(self) -> None:
        """Hang up on a peer that has never confirmed our 2xx (§13.3.1.4)."""
        self._awaiting_ack.clear()
        already_ended, self.ended = self.ended, True
        self._say_bye()
        if not already_ended:
            self.emit(AckTimedOut(self))

    def request_failed(self, status: int) -> None:
        """End the leg if a request inside the dialog was answered so that no dialog can be left."""
        if status not in DIALOG_IS_GONE or self.ended:
            return
        if status == 481:
            self._end(LegEnded(self))
        else:
            self.ended = True
            self._say_bye()

    # --- what the peer sends inside the dialog

    def has_peer(self, tag: str) -> bool:
        """Whether a request with this From tag belongs here."""
        return self._dialog is not None and self._dialog.remote_tag == tag

    def receive(self, incoming: IncomingRequest) -> None:
        """Take a request inside the dialog, whose form has been checked."""
        request, dialog = incoming.request, self.dialog
        self._heard = True
        if self.flow.reliable and incoming.source.reliable:
            self.flow = incoming.source  # a peer that comes back on a new connection is reached there
        if not dialog.accept_cseq(request.cseq):
            incoming.respond_statelessly(500, "CSeq out of order")
        elif request.method == "BYE":
            self._bye_received(incoming)
        elif self.ended:
            incoming.respond(481)
        elif request.method in {"INVITE", "UPDATE"}:
            self._session_change.receive(incoming, dialog)
        elif request.method == "PRACK":
            self._prack_received(incoming)
        elif request.method == "REFER":
            self._refer_received(incoming)
        else:
            incoming.respond(200, None, (ALLOW,))
            if request.method == "INFO":
                self.emit(InfoReceived(self, request))

    def receive_ack(self, request: Request) -> bool:
        """Take the ACK of a 2xx; False if none waits for it."""
        invite = self._awaiting_ack.pop(request.cseq, None)
        if invite is None:
            return False
        invite.stop()
        if self.ended:
            self._say_bye()
            return True
        self._confirmed()
        self.emit(AckReceived(self, request.body))
        if self._change is not None and not self.ended:
            self._change.go_on()
        return True

    def _confirmed(self) -> None:
        """Learn that the peer has our answer."""

    def _refer_received(self, incoming: IncomingRequest) -> None:
        """Take a REFER; one at a time. Raises SipParseError (400)."""
        if not self.may_refer:
            incoming.respond(603, "Nobody Is Transferred From Here")
        elif self._referral is not None and not self._referral.settled:
            incoming.respond(491, "Another Transfer Is Pending")
        else:
            numbered = self._referral is not None
            self._referral = Referral(
                self._core, incoming, self.dialog, self.flow, self.contact, numbered=numbered
            )
            self.emit(ReferReceived(self, incoming.request, self._referral))

    def _prack_received(self, incoming: IncomingRequest) -> None:
        incoming.respond(481)  # nothing of ours that is reliable waits for one

    def _bye_received(self, incoming: IncomingRequest) -> None:
        incoming.respond(200)
        if self._saying_bye:
            return  # both at once: the answer to our own BYE ends the leg
        if self.ended:
            self._end(LegEnded(self))
        else:
            self._end(HungUp(self, incoming.request.headers.get("Reason")))

    # --- goodbye

    def _say_bye(self) -> None:
        """Send BYE, once; its outcome ends the leg."""
        if self._saying_bye:
            return
        self._saying_bye = True
        self._close_sessions()
        self._request("BYE", self._bye_headers, b"", self._bye_responded, self._bye_failed)

    def _bye_responded(self, response: Response) -> None:
        if response.status >= 200:
            self._bye_failed("response")

    def _bye_failed(self, cause: FailureCause) -> None:
        self._end(LegEnded(self))

    def _close_sessions(self) -> None:
        if self._referral is not None:
            self._referral.leg_over()
        if self._change is not None:
            self._change.close()
            self._change = None
        if self._timer is not None:
            self._timer.stop()
            self._timer = None
        for invite in self._awaiting_ack.values():
            invite.stop()
        self._awaiting_ack.clear()

    def _end(self, event: Event) -> None:
        """Forget the leg, and tell its last event."""
        self._leave()
        self.emit(event)
        self.listener = unheard

    def _leave(self) -> None:
        """Forget the leg: whatever comes for it now is answered 481."""
        self.ended = True
        self._close_sessions()
        self._core.legs.pop(self.local_tag, None)

    # --- other requests

    def _request(
        self,
        method: str,
        headers: HeaderList,
        body: bytes,
        on_response: Callable[[Response], None],
        on_failure: Callable[[FailureCause], None],
    ) -> None:
        core, dialog, digest = self._core, self.dialog, self.digest
        lines = (*headers, ("User-Agent", core.product))
        branch = core.transactions.branch()
        if digest is None:
            request = dialog.request(method, branch, headers=lines, body=body)
            core.transactions.request(request, core.next_hop(dialog, self.flow), on_response, on_failure)
            return

        def renewed(cseq: int) -> None:
            dialog.local_cseq = max(dialog.local_cseq, cseq)

        lines = (*lines, *digest.headers(method, dialog.remote_target))
        request = dialog.request(method, branch, headers=lines, body=body)
        flow = core.next_hop(dialog, self.flow)
        request_with_digest(core, digest, request, flow, on_response, on_failure, renewed)

    def _info_responded(self, response: Response) -> None:
        self.request_failed(response.status)

    def _info_failed(self, cause: FailureCause) -> None:
        self.request_failed(STATUS_OF_CAUSE[cause])

    @property
    def _session_change(self) -> SessionChange:
        if self._change is None:
            self._change = SessionChange(self._core, self, longer_pause=self._made_call_id)
        return self._change

    _made_call_id = False

    def _require_dialog(self, verb: str) -> None:
        raise NotImplementedError
