"""What the four transaction machines share: their states, their clocks and how a message finds its own.

A transaction is one request and all its responses (RFC 3261 §17). It exists to hide loss: the client side
sends a request again until something comes back, the server side answers a repeated request with the
response it has given already, so that nothing above ever sees a message twice. Over a transport that
retransmits by itself the machines are the same, only some timers never start and others last 0 s.

    InviteClient     CALLING ──1xx──▶ PROCEEDING ──3xx–6xx──▶ COMPLETED ──D──▶ TERMINATED     §17.1.1
                        └───────2xx──────┴──▶ ACCEPTED ──M──▶ TERMINATED                     RFC 6026 §7.2
    Client           TRYING ──1xx──▶ PROCEEDING ──2xx–6xx──▶ COMPLETED ──K──▶ TERMINATED       §17.1.2
    InviteServer     PROCEEDING ──3xx–6xx──▶ COMPLETED ──ACK──▶ CONFIRMED ──I──▶ TERMINATED    §17.2.1
                        └──────2xx──▶ ACCEPTED ──L──▶ TERMINATED                             RFC 6026 §7.1
    Server           TRYING ──1xx──▶ PROCEEDING ──2xx–6xx──▶ COMPLETED ──J──▶ TERMINATED       §17.2.2

The ACCEPTED states keep an INVITE transaction for 64*T1 after a 2xx, so that a repeated INVITE is absorbed
and each fork's 2xx still finds its owner; RFC 3261 as first written ended the transaction too early.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from gateway.sip.message import Request

T1 = 0.5
"""Round-trip estimate, seconds (RFC 3261 table 4): the first retransmission comes after this."""

T2 = 4.0
"""The longest pause between retransmissions of anything but an INVITE, seconds."""

T4 = 5.0
"""How long a message may linger in the network, seconds."""

TRANSACTION_TIMEOUT = 64 * T1
"""Timers B, F, H, J, L and M, and D over UDP: nothing is waited for longer than this, seconds."""


class State(Enum):
    """Where a transaction stands; each machine uses those that its figure in the RFC has."""

    CALLING = "calling"
    TRYING = "trying"
    PROCEEDING = "proceeding"
    COMPLETED = "completed"
    CONFIRMED = "confirmed"
    ACCEPTED = "accepted"
    TERMINATED = "terminated"


ClientKey: TypeAlias = tuple[str, str]
"""Branch and CSeq method of what we sent (§17.1.3); the method keeps a CANCEL apart from its INVITE."""

ServerKey: TypeAlias = tuple[str, ...]
"""What makes a request the same request (§17.2.3)."""

MAGIC_COOKIE = "z9hG4bK"
"""A branch that begins so is unique, says its maker (§8.1.1.7)."""


def server_key(request: Request, method: str) -> ServerKey:
    """The transaction a request belongs to, by the rules of §17.2.3.

    method: the request's own, except that an ACK and a CANCEL look for their INVITE's. Without the cookie
    (RFC 2543) the branch proves nothing, so the dialog's identifiers and the whole top Via are compared.
    """
    via = request.via
    branch = via.branch
    if branch is not None and branch.startswith(MAGIC_COOKIE):
        return branch, via.host, str(via.port), method
    return request.call_id, request.from_tag or "", str(request.cseq), str(via), method
