"""An offer of the peer's in a request that is no INVITE: an UPDATE (RFC 3311), or a PRACK (RFC 3262 §5)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.sip.received_invite import SDP

if TYPE_CHECKING:
    from gateway.sip.incoming_request import IncomingRequest
    from gateway.sip.leg import HeaderList
    from gateway.sip.message import Request


class ReceivedOffer:
    """Waits for our answer; like a `ReceivedInvite`, but for the ACK, which there is none of.

    Args:
        incoming: the request; remembered from now on, so that its repetitions wait as well.
        headers: of a 2xx: Contact and Allow.

    """

    __slots__ = ("_headers", "_transaction", "_writer", "request")

    def __init__(self, incoming: IncomingRequest, headers: HeaderList) -> None:
        self._transaction = incoming.serve()
        self._writer = incoming.writer()
        self._headers = headers
        self.request: Request = incoming.request

    def accept(self, headers: HeaderList, body: bytes) -> None:
        """Send 200."""
        lines = (*self._headers, *headers, *((SDP,) if body else ()))
        self._transaction.respond(200, self._writer.write(200, None, lines, body))

    def refuse(self, status: int, reason: str | None = None, headers: HeaderList = ()) -> None:
        """Send a refusal."""
        self._transaction.respond(status, self._writer.write(status, reason, headers))
