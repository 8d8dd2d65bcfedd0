"""The first INVITE of a call that another process answered: nothing of it can happen any more."""

from __future__ import annotations

from gateway.sip.received_invite import ReceivedInvite
from gateway.sip.sent_invite import SentInvite


class SettledReceivedInvite(ReceivedInvite):
    """A caller's, answered and confirmed: it has no transaction, and nobody is told of it."""

    __slots__ = ()

    def __init__(self) -> None:
        self._answer = self._reliable = self._resend = self._user = None
        self._data = b""
        self.final_status = 200
        self.makes_offer = False


class SettledSentInvite(SentInvite):
    """Ours, answered and acknowledged: likewise."""

    __slots__ = ()

    def __init__(self) -> None:
        self._ack = self._early = self._forks = self._tag = self._user = None
        self.acknowledged = self.offered = True

    def detach(self) -> None:
        """Nobody is told anything."""
