"""What happened on a leg, told to its listener: small frozen values in the past tense.

The last event of a leg is one of `InviteCancelled`, `FailureReceived`, `HungUp` and `LegEnded`. A leg that
its owner refused (`InboundLeg.refuse`) tells nothing more. Verbs of the leg may be called from inside the
listener.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    from gateway.sip.leg import Leg
    from gateway.sip.message import Request, Response
    from gateway.sip.referral import Referral

FailureCause: TypeAlias = Literal["response", "timeout", "transport"]
"""Why a request of ours failed: the peer said so, said nothing, or could not be reached."""


@dataclass(frozen=True, slots=True)
class Event:
    """Something happened on a leg.

    leg: whose event it is.
    """

    leg: Leg


@dataclass(frozen=True, slots=True)
class InviteCancelled(Event):
    """The caller gave up before an answer: its CANCEL was answered 200, its INVITE 487. Last event.

    reason_header: the CANCEL's Reason (RFC 3326), e.g. ``SIP;cause=200;text="Call completed elsewhere"``.
    """

    reason_header: str | None


@dataclass(frozen=True, slots=True)
class AckReceived(Event):
    """The peer confirmed our 2xx, to its first INVITE or to a re-INVITE.

    body: its SDP answer if our 2xx made the offer, else usually empty.
    """

    body: bytes


@dataclass(frozen=True, slots=True)
class AckTimedOut(Event):
    """Our 2xx was never confirmed within 64*T1; a BYE is on its way, `LegEnded` follows (§13.3.1.4)."""


@dataclass(frozen=True, slots=True)
class HungUp(Event):
    """The peer said BYE, and was answered 200. Last event.

    reason_header: the BYE's Reason (RFC 3326), e.g. ``Q.850;cause=16;text="Normal call clearing"``.
    """

    reason_header: str | None


@dataclass(frozen=True, slots=True)
class ReinviteReceived(Event):
    """The peer wants to change the session: call `answer_reinvite` or `refuse_reinvite` (§14.2).

    request: the re-INVITE; an empty body asks us to make the offer. Or an UPDATE or PRACK with an offer in
        its body (RFC 3311, RFC 3262 §5), which may also come before the call is answered.
    """

    request: Request


@dataclass(frozen=True, slots=True)
class ReferReceived(Event):
    """The peer wants its peer to be sent on (RFC 3515): accept or refuse the referral. See `Leg.may_refer`.

    request: the REFER.
    """

    request: Request
    referral: Referral


@dataclass(frozen=True, slots=True)
class InfoReceived(Event):
    """The peer sent INFO (RFC 6086), which was answered 200; DTMF may come this way.

    request: the INFO, with its Content-Type and body.
    """

    request: Request


@dataclass(frozen=True, slots=True)
class ProvisionalReceived(Event):
    """A 1xx came to our INVITE, 100 included. A forking peer sends several, each with its own To tag.

    response: 180 Ringing, 183 with early media in its body, …
    """

    response: Response


@dataclass(frozen=True, slots=True)
class AnswerReceived(Event):
    """A 2xx came to our INVITE: the dialog is there.

    The ACK is on its way already if our INVITE made the offer; if it had no body, this response makes the
    offer and `OutboundLeg.ack` must be called with the answer.

    response: the 2xx.
    body: its SDP, or what the peer said in a provisional response that we have confirmed (RFC 3262 §5).
    """

    response: Response
    body: bytes


@dataclass(frozen=True, slots=True)
class FailureReceived(Event):
    """Our INVITE came to nothing. Last event.

    status: 300–699; 408 for a timeout, 503 for a transport failure (§8.1.3.1).
    reason: the peer's reason phrase, or what went wrong.
    cause: whether the peer refused, was silent, or could not be reached.
    response: what the peer sent, if it did.
    """

    status: int
    reason: str
    cause: FailureCause
    response: Response | None


@dataclass(frozen=True, slots=True)
class ReinviteAnswered(Event):
    """A 2xx came to our re-INVITE; acknowledged like an `AnswerReceived`.

    response: the 2xx with its SDP.
    """

    response: Response


@dataclass(frozen=True, slots=True)
class ReinviteFailed(Event):
    """Our re-INVITE was refused: the session stays as it was (§14.1).

    After 408 or 481 the leg ends as well, and `LegEnded` follows.

    status: 300–699; 408 for silence, 503 for a transport failure, 491 also when another INVITE was under way.
    response: what the peer sent, if it did.
    """

    status: int
    response: Response | None


@dataclass(frozen=True, slots=True)
class SessionRefreshed(Event):
    """The peer answered a refresh of ours (RFC 4028 §10): its session, mostly unchanged.

    body: its SDP; an answer to what it has had from us before.
    """

    body: bytes


@dataclass(frozen=True, slots=True)
class SessionExpired(Event):
    """Nobody has refreshed the session in time: the peer is gone. A BYE is on its way, `LegEnded` follows."""


@dataclass(frozen=True, slots=True)
class LegEnded(Event):
    """A leg that we hung up is over: our BYE was answered or given up. Last event.

    Also of a leg whose peer said 481, or of a caller that nobody here has answered for six minutes.
    """
