"""A caller's leg: an INVITE that came to us."""

from __future__ import annotations

from gateway.sip.leg import HeaderList, Leg
from gateway.sip.message import Request


class InboundLeg(Leg):
    """A call that a peer placed to us; 100 Trying has been sent.

    Attributes:
        request: the INVITE as it came.
        peer: whatever was given to `UserAgent.receive` with it (the carrier).
        merged_with: the earlier leg that has the same Call-ID, From tag and CSeq, if this request came a second time by another path
            or as a carrier's retry (§8.2.2.2); None for a call seen for the first time.
        final_status: the final status that was sent, if one was.
        answered: a 2xx was sent.
        confirmed: its ACK came.

    """

    request: Request
    peer: object
    merged_with: InboundLeg | None
    final_status: int | None
    answered: bool
    confirmed: bool

    def ring(
        self, status: int = 180, reason: str | None = None, body: bytes = b"", headers: HeaderList = ()
    ) -> None:
        """Send a provisional response (101–199). Repeated every minute until an answer (§13.3.1.1).

        body: SDP for early media, with 183.
        """
        raise NotImplementedError

    def answer(self, body: bytes, headers: HeaderList = ()) -> None:
        """Send 200 with SDP, again and again until the ACK; `AckReceived` or `AckTimedOut` follows."""
        raise NotImplementedError

    def refuse(self, status: int, reason: str | None = None, headers: HeaderList = ()) -> None:
        """Send a final refusal (300–699), again and again until the ACK. The leg has ended."""
        raise NotImplementedError
