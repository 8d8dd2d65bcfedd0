"""An agent's leg: an INVITE that we sent."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.sip.core import ALLOW
from gateway.sip.early_dialogs import MAX_FORKS
from gateway.sip.events import (
    AnswerReceived,
    FailureCause,
    FailureReceived,
    InfoReceived,
    ProvisionalReceived,
)
from gateway.sip.leg import HeaderList, Leg, LegStateError, Listener
from gateway.sip.request_writer import RequestWriter
from gateway.sip.sent_invite import SentInvite

if TYPE_CHECKING:
    from gateway.sip.core import Core
    from gateway.sip.flow import Flow
    from gateway.sip.incoming_request import IncomingRequest
    from gateway.sip.message import Response


class OutboundLeg(Leg):
    """A call that we place: any number of `ProvisionalReceived`, then `AnswerReceived` or `FailureReceived`.

    Attributes:
        answered: a 2xx came.

    """

    __slots__ = ("_early_tags", "_invite", "answered")

    _made_call_id = True

    def __init__(
        self,
        core: Core,
        uri: str,
        flow: Flow,
        *,
        from_: str,
        to: str,
        body: bytes,
        content_type: str,
        headers: HeaderList,
        listener: Listener,
    ) -> None:
        tag = core.tokens()
        super().__init__(core, core.tokens() + core.tokens(), tag, flow)
        self.listener = listener
        self.sips = uri[:5].lower() == "sips:"
        self.answered = False
        self._early_tags: tuple[str, ...] = ()
        request = RequestWriter(
            "INVITE",
            uri,
            branch=core.transactions.branch(),
            from_=f"{from_};tag={tag}",
            to=to,
            call_id=self.call_id,
            cseq=1,
            headers=self.invite_headers(headers, content_type if body else None),
            lines=self.invite_lines(offered=bool(body)),
            body=body,
        )
        self.described = body
        self._invite = SentInvite(core, request, flow, local_tag=tag, offered=bool(body), user=self)

    def cancel(self, headers: HeaderList = ()) -> None:
        """Give up before an answer: CANCEL, once a provisional response allows it (§9.1).

        `FailureReceived` follows, usually with 487; or `LegEnded`, when a 200 crossed and was
        acknowledged and hung up by itself.

        Raises LegStateError after an answer.
        """
        if self.ended:
            return
        if self.answered:
            raise LegStateError("cancel after an answer")
        self.hangup(headers)

    def hangup(self, headers: HeaderList = ()) -> None:
        """End this leg: BYE, or CANCEL before an answer."""
        if self.ended:
            return
        self.ended = True
        self._bye_headers = headers
        if self.answered:
            self._acknowledge()
            self._say_bye()
        else:
            self._invite.cancel(headers)

    def ack(self, body: bytes) -> None:
        """Confirm a 2xx that made the offer, with our SDP answer; only after an INVITE of ours without body.

        Raises LegStateError if no 2xx waits for it.
        """
        if self.ended:
            return
        if self._invite.awaits_ack:
            body = self._outgoing(body)
            self.described = body
            self._acknowledge(body)
        else:
            super().ack(body)

    def invite_progressed(self, response: Response) -> None:
        """Pass a provisional response on."""
        tag = response.to_tag
        if tag and tag not in self._early_tags and len(self._early_tags) < MAX_FORKS:
            self._early_tags += (tag,)
        if not self.ended:
            self.emit(ProvisionalReceived(self, response))

    def invite_answered(self, response: Response) -> None:
        """Make the dialog; one that nobody wants any more is confirmed and hung up."""
        self.answered = True
        self._early_tags = ()
        self._dialog = self._invite.dialog_of(response)
        self._allow = response.headers.get("Allow") or ""
        if self.ended:
            self._acknowledge()
            self._say_bye()
            return
        if self._invite.offered:
            self._acknowledge()
        self.timer_answered(response)
        early = self._invite.early_dialog(response.to_tag or "")
        # Whoever has answered our offer reliably need not repeat that (RFC 3261 §13.2.1).
        told = early.session if early is not None else b""
        self.emit(AnswerReceived(self, response, told or response.body))

    def invite_failed(self, status: int, reason: str, cause: FailureCause, response: Response | None) -> None:
        """End the leg, unless the peer only asks who we are, or minds how long a session goes unrefreshed."""
        if self.may_prove(response):
            self._invite_again()
            return
        if status == 422 and response is not None and not self.ended and self.timer_refused(response):
            self._invite_again()
            return
        self._end(FailureReceived(self, status, reason, cause, response))

    def has_peer(self, tag: str) -> bool:
        """Whether a request with this From tag belongs here: the dialog's peer, or one that rings."""
        return tag in self._early_tags if self._dialog is None else self._dialog.remote_tag == tag

    def receive(self, incoming: IncomingRequest) -> None:
        """Take a request inside the dialog, or an early one, where neither BYE nor re-INVITE is right."""
        request = incoming.request
        if self._dialog is not None:
            super().receive(incoming)
        elif request.method == "INVITE":
            incoming.respond(491)
        elif request.method in {"BYE", "PRACK", "REFER"} or self.ended:
            incoming.respond_statelessly(481)
        elif request.method == "UPDATE":
            self._early_update(incoming)
        else:
            incoming.respond(200, None, (ALLOW,))
            if request.method == "INFO":
                self.emit(InfoReceived(self, request))

    def _early_update(self, incoming: IncomingRequest) -> None:
        """Take an UPDATE of a fork that rings (RFC 3311 §5.2): an offer, only behind its answer to ours."""
        request = incoming.request
        early = self._invite.early_dialog(request.from_tag or "")
        if early is not None and not early.dialog.accept_cseq(request.cseq):
            incoming.respond_statelessly(500, "CSeq out of order")
        elif early is not None and (early.session or not request.body):
            self._session_change.receive(incoming, early.dialog)
        elif request.body:
            incoming.respond(491)
        else:
            incoming.respond(200, None, (ALLOW, self.contact))

    def _invite_again(self) -> None:
        """Send the INVITE once more, with what has been learnt (RFC 4028 §7.3): the same call."""
        core, offered = self._core, self._invite.offered
        before = self._invite.request
        headers = (*self.timer_headers(), *self.credentials("INVITE", before.uri))
        request = before.renewed(core.transactions.branch(), headers)
        self._invite = SentInvite(
            core, request, self.flow, local_tag=self.local_tag, offered=offered, user=self
        )

    def _leave(self) -> None:
        super()._leave()
        self._invite.detach()

    def _acknowledge(self, body: bytes = b"") -> None:
        if not self._invite.acknowledged:
            self._invite.acknowledge(self.dialog, body)

    def _require_dialog(self, verb: str) -> None:
        if not self._invite.acknowledged:
            raise LegStateError(f"{verb} before the call is up")
