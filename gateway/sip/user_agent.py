"""The user agent core: every message in, every leg out."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

from gateway.sip.core import ALLOW, Core
from gateway.sip.digest_client import DigestClient, request_with_digest
from gateway.sip.events import FailureCause
from gateway.sip.extensions import Extensions
from gateway.sip.flow import Flow
from gateway.sip.grammar import SipParseError
from gateway.sip.inbound_leg import InboundLeg, call_key
from gateway.sip.incoming_request import IncomingRequest, respond_statelessly
from gateway.sip.leg import HeaderList, Leg, LegStateError, Listener, unheard
from gateway.sip.leg_state import LegState
from gateway.sip.message import Request, Response, parse_message
from gateway.sip.outbound_leg import OutboundLeg
from gateway.sip.rebuilt_legs import RebuiltInboundLeg, RebuiltLeg, RebuiltOutboundLeg
from gateway.sip.request_checks import SDP_TYPE, check_request, metric_method
from gateway.sip.request_writer import RequestWriter
from gateway.sip.sink import Sink, TokenSource
from gateway.sip.stray_request import MAX_STRAYS, PATIENCE, StrayRequest
from gateway.sip.transaction import ServerKey, State, server_key
from gateway.sip.transaction_layer import MAX_TRANSACTIONS

MAX_LEGS = 50_000
"""Legs alive, both sides of all calls: 300 MB at about 6 kB each, and ten times what one process carries."""

RETRY_AFTER = ("Retry-After", "10")
"""Seconds until a refusal for want of room is worth another try: long enough for calls to have ended."""

SIPS_NOT_ALLOWED = ("Warning", '380 voice-gateway "SIPS Not Allowed"')
"""Says why a sips URI that came without TLS is refused (RFC 5630 §4.3): it was not secure all the way."""


StatusAndHeaders: TypeAlias = tuple[int, HeaderList]


class Sender(NamedTuple):
    """For whom a request outside of any dialog is sent.

    address: From and To, a name-addr; None for where we are, and for the Request-URI.
    call_id, cseq: as repeated requests of one kind have them (RFC 3261 §10.2).
    user: of the Contact; None sends none.
    """

    address: str | None
    call_id: str
    cseq: int = 1
    user: str | None = ""


class UserAgent:
    """A SIP user agent, client and server, without I/O: messages and time in, messages and events out.

    Args:
        sink: sends and counts.
        clock: seconds, monotonic.
        tokens: makes tags, branches and Call-IDs.
        product: what User-Agent and Server say.
        on_invite: called with each new call; it sets the leg's listener. A leg with `merged_with` set is a
            second copy of a call already here: refuse it, or answer it as the first one was. One that is
            left without a listener is refused with 482.
        refuse_call: given the peer of each new call, why it is not taken, if so: status and headers.
            Nothing is remembered of it then, and no 100 is sent. Not asked about a second copy of a call
            already here.
        options_status: what an OPTIONS outside of a dialog is answered: status and headers (200 while calls
            are taken, else 503 and Retry-After).
        resolve: an IP literal for a host name, from memory; None if unknown, and then requests of a dialog
            go where its peer was last seen.
        extensions: what is done beyond RFC 3261.
        on_stray: told of requests in dialogs that are not here, and settles each, soon; None has them
            answered 481 at once.

    """

    __slots__ = ("_core", "_on_invite", "_on_stray", "_options_status", "_refuse_call", "_sink", "_strays")

    def __init__(
        self,
        sink: Sink,
        clock: Callable[[], float],
        tokens: TokenSource,
        *,
        product: str = "voice-gateway",
        on_invite: Callable[[InboundLeg], None],
        refuse_call: Callable[[object], StatusAndHeaders | None] = lambda peer: None,
        options_status: Callable[[], StatusAndHeaders] = lambda: (200, ()),
        resolve: Callable[[str], str | None] = lambda host: None,
        extensions: Extensions | None = None,
        on_stray: Callable[[StrayRequest], None] | None = None,
    ) -> None:
        self._sink = sink
        self._on_stray = on_stray
        self._strays: dict[ServerKey, StrayRequest] = {}
        self._on_invite = on_invite
        self._refuse_call = refuse_call
        self._options_status = options_status
        self._core = Core(sink, clock, tokens, product, resolve, extensions)

    # --- what goes in

    def receive(self, data: bytes, flow: Flow, peer: object = None) -> None:
        """Take one whole message: a datagram, or what was framed from a stream. Never raises for its content.

        peer: handed on as `InboundLeg.peer`.
        """
        try:
            message = parse_message(data)
        except SipParseError as error:
            self._refuse_malformed(error, flow)
            return
        if isinstance(message, Response):
            self._sink.message("in", metric_method(message.cseq_method), message.status)
            if not self._core.transactions.receive_response(message):
                self._sink.dropped("stray_response")
            return
        self._sink.message("in", metric_method(message.method), 0)
        try:
            self._receive_request(message, flow, peer)
        except SipParseError as error:
            respond_statelessly(self._core, message, flow, error.status, error.reason)

    def handle_timers(self) -> None:
        """Do everything that is due now."""
        self._core.timers.run_due()

    def next_deadline(self) -> float | None:
        """When `handle_timers` is due next, in seconds of the clock; None if nothing is left to happen."""
        return self._core.timers.next_deadline()

    def transport_failed(self, flow: Flow, reason: str) -> None:
        """Learn that a connection could not be opened, or has ended, or that a datagram could not be sent.

        Requests that have had no response from that peer fail at once, and their calls move on.

        flow: as it was given to `Sink.send`, or to `receive`; its channel does not matter.
        reason: for the log; not part of any message.
        """
        self._core.transactions.transport_failed(flow)

    # --- what comes out

    def invite(
        self,
        uri: str,
        flow: Flow,
        *,
        from_: str,
        to: str,
        body: bytes,
        content_type: str = SDP_TYPE,
        headers: HeaderList = (),
        listener: Listener,
    ) -> OutboundLeg:
        """Place a call: the INVITE is sent before this returns, the listener is called later.

        from_, to: name-addr without a tag, e.g. ``"Alice" <sip:+14155550101@example.com>``.
        body: the SDP offer; empty asks the peer for one.
        headers: further headers; a Max-Forwards among them replaces 70.
        """
        return OutboundLeg(
            self._core,
            uri,
            flow,
            from_=from_,
            to=to,
            body=body,
            content_type=content_type,
            headers=headers,
            listener=listener,
        )

    def rebuild(self, state: LegState, flow: Flow, *, peer: object, listener: Listener) -> RebuiltLeg:
        """Go on with a leg that another process had; nothing is sent.

        flow: to its peer, from a socket of ours. peer: whose call it is, for a caller's leg.

        Raises LegStateError if it is here already, or there is no room.
        """
        core = self._core
        if state.local_tag in core.legs or len(core.legs) >= MAX_LEGS:
            raise LegStateError("this dialog is here already, or there is no room for it")
        leg: RebuiltLeg = (
            RebuiltInboundLeg(core, state, flow, peer)
            if state.inbound
            else RebuiltOutboundLeg(core, state, flow)
        )
        leg.listener = listener
        return leg

    def request(
        self,
        method: str,
        uri: str,
        flow: Flow,
        *,
        headers: HeaderList = (),
        sender: Sender | None = None,
        digest: DigestClient | None = None,
        on_result: Callable[[Response | None, FailureCause], None],
    ) -> None:
        """Send a request outside of any dialog, such as an OPTIONS probe; not an INVITE.

        sender: for whom it is sent; None for us at large.
        digest: who we are, for a peer that asks.
        on_result: called once, with the final response and "response", or with None and why there is none.
        """
        core = self._core
        proof = () if digest is None else digest.headers(method, uri)
        who = sender or Sender(None, core.tokens() + core.tokens())
        contact = core.contact(flow, sips=uri[:5].lower() == "sips:", user=who.user or "")
        request = RequestWriter(
            method,
            uri,
            branch=core.transactions.branch(),
            from_=f"{who.address or contact[1]};tag={core.tokens()}",
            to=who.address or f"<{uri}>",
            call_id=who.call_id,
            cseq=who.cseq,
            headers=(
                *((contact,) if who.user is not None else ()),
                ("User-Agent", core.product),
                *headers,
                *proof,
            ),
        )

        def on_response(response: Response) -> None:
            if response.status >= 200:
                on_result(response, "response")

        def on_failure(cause: FailureCause) -> None:
            on_result(None, cause)

        if digest is None:
            core.transactions.request(request, flow, on_response, on_failure)
        else:
            request_with_digest(core, digest, request, flow, on_response, on_failure)

    def knows(self, data: bytes) -> bool:
        """Whether a request, not taken in yet, is about something that is here. Never raises.

        An INVITE or a CANCEL is about an INVITE's transaction; a request in a dialog about that, or it is a
        repetition.
        """
        try:
            request = parse_message(data)
            if not isinstance(request, Request):
                return False
            if self._core.transactions.find_invite(request) is not None:
                return True
            tag = request.to_tag
        except SipParseError:
            return False
        if tag is None:
            return False
        key = server_key(request, request.method)
        return (
            self._core.transactions.find_server(key) is not None or self._find_leg(tag, request) is not None
        )

    @property
    def transaction_counts(self) -> dict[str, int]:
        """Transactions alive, by kind: invite_client, invite_server, client, server. Read only."""
        return self._core.transactions.counts

    @property
    def fill(self) -> float:
        """How full the fuller of the tables is, of transactions or of legs: from 0 to 1."""
        transactions = sum(self._core.transactions.counts.values())
        return max(transactions / MAX_TRANSACTIONS, len(self._core.legs) / MAX_LEGS)

    @property
    def leg_count(self) -> int:
        """Legs alive."""
        return len(self._core.legs)

    @property
    def stray_count(self) -> int:
        """Requests that wait for somebody who looks for their dialog."""
        return len(self._strays)

    @property
    def timer_count(self) -> int:
        """Timers pending; 0 when nothing is left to happen."""
        return len(self._core.timers)

    @property
    def call_key_count(self) -> int:
        """INVITEs remembered so that a second copy is known."""
        return len(self._core.calls)

    # --- requests

    def _refuse_malformed(self, error: SipParseError, flow: Flow) -> None:
        request = error.request
        if isinstance(request, Request):
            self._sink.message("in", metric_method(request.method), 0)
            respond_statelessly(self._core, request, flow, error.status, error.reason)
        else:
            self._sink.dropped("malformed")

    def _receive_request(self, request: Request, flow: Flow, peer: object) -> None:
        method = request.method
        if method == "ACK":
            self._receive_ack(request)
            return
        key = server_key(request, method)
        transaction = self._core.transactions.find_server(key)
        if transaction is not None:
            self._sink.retransmission("in")
            transaction.receive_again()
            return
        if key in self._strays:
            self._sink.retransmission("in")
            return
        incoming = IncomingRequest(self._core, request, flow, key)
        if method == "CANCEL":
            self._receive_cancel(incoming)
            return
        tag = request.to_tag
        refusal = check_request(request, in_dialog=tag is not None, extensions=self._core.extensions)
        if refusal is not None:
            incoming.respond_statelessly(*refusal)
        elif tag is None:
            self._receive_new(incoming, peer)
        elif (leg := self._find_leg(tag, request)) is None:
            self._receive_stray(incoming)
        elif self._core.transactions.full and method != "BYE":
            incoming.respond_statelessly(503, None, (RETRY_AFTER,))
        else:
            leg.receive(incoming)

    def _find_leg(self, tag: str, request: Request) -> Leg | None:
        """The leg whose dialog a request is in: our tag names it, and the other two must agree (§12.2.2)."""
        leg = self._core.legs.get(tag)
        if leg is None or leg.call_id != request.call_id or not leg.has_peer(request.from_tag or ""):
            return None
        return leg

    def _receive_stray(self, incoming: IncomingRequest) -> None:
        """Have somebody look for the dialog, if anybody does; else there is none (§12.2.2)."""
        if self._on_stray is None or len(self._strays) >= MAX_STRAYS:
            incoming.respond_statelessly(481)
            return
        stray = self._strays[incoming.key] = StrayRequest(incoming, self._settle_stray)
        stray.timer = self._core.timers.schedule(PATIENCE, stray.settle)
        self._on_stray(stray)

    def _settle_stray(self, stray: StrayRequest) -> None:
        incoming = stray.incoming
        self._strays.pop(incoming.key, None)
        if stray.timer is not None:
            stray.timer.cancel()
        leg = self._find_leg(stray.local_tag, incoming.request)
        if leg is None:
            incoming.respond_statelessly(481)
            return
        try:
            leg.receive(incoming)
        except SipParseError as error:
            incoming.respond_statelessly(error.status, error.reason)

    def _receive_ack(self, request: Request) -> None:
        transaction = self._core.transactions.find_invite(request)
        if transaction is not None and transaction.state is not State.ACCEPTED:
            transaction.receive_ack()
            return
        # The ACK of a 2xx is a transaction of its own; that it may share the INVITE's branch is RFC 2543.
        leg = self._find_leg(request.to_tag or "", request)
        if leg is None or not leg.receive_ack(request):
            self._sink.dropped("stray_ack")

    def _receive_cancel(self, incoming: IncomingRequest) -> None:
        transaction = self._core.transactions.find_invite(incoming.request)
        if transaction is None:
            incoming.respond_statelessly(481)
        else:
            incoming.respond(200, to_tag=transaction.to_tag)
            transaction.receive_cancel(incoming.request)

    def _receive_new(self, incoming: IncomingRequest, peer: object) -> None:
        """Take a request outside of any dialog."""
        request, core = incoming.request, self._core
        if request.uri[:5].lower() == "sips:" and incoming.source.transport != "tls":
            incoming.respond_statelessly(480, "SIPS Not Allowed", (SIPS_NOT_ALLOWED,))
        elif request.method == "OPTIONS":
            status, headers = self._options_status()
            incoming.respond_statelessly(
                status, None, (ALLOW, ("Accept", SDP_TYPE), core.supported, *headers)
            )
        elif request.method == "REFER":
            incoming.respond_statelessly(403, "REFER Only Within a Call")
        elif request.method != "INVITE":
            incoming.respond_statelessly(481)
        elif self._is_own(request):
            incoming.respond_statelessly(482, "Loop Detected")
        elif core.transactions.full:
            incoming.respond_statelessly(503, None, (RETRY_AFTER,))
        elif len(core.legs) >= MAX_LEGS:
            incoming.respond(503, None, (RETRY_AFTER,), core.tokens())
        else:
            first = core.calls.get(call_key(request))
            if first is None and (refusal := self._refuse_call(peer)) is not None:
                incoming.respond_statelessly(refusal[0], None, refusal[1])
                return
            leg = InboundLeg(core, incoming, peer, first)
            self._on_invite(leg)
            if leg.merged_with is not None and leg.listener is unheard and not leg.ended:
                leg.refuse(482, "Merged Request")

    def _is_own(self, request: Request) -> bool:
        """Whether an INVITE is our own, sent back to us by a proxy that misunderstands its routes."""
        leg = self._core.legs.get(request.from_tag or "")
        return leg is not None and leg.call_id == request.call_id
