"""An agent's leg: an INVITE that we sent."""

from __future__ import annotations

from gateway.sip.leg import HeaderList, Leg


class OutboundLeg(Leg):
    """A call that we place: `ProvisionalReceived` any number of times, then `AnswerReceived` or `FailureReceived`.

    Attributes:
        answered: a 2xx came.

    """

    answered: bool

    def cancel(self, headers: HeaderList = ()) -> None:
        """Give up before an answer: CANCEL, once a provisional response allows it (§9.1).

        `FailureReceived` follows, usually with 487; or `LegEnded`, when a 200 crossed and was
        acknowledged and hung up by itself.
        """
        raise NotImplementedError
