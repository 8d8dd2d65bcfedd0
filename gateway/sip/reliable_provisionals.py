"""Provisional responses that must arrive: sent again and again until the caller's PRACK (RFC 3262 §3)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from gateway.sip.grammar import SipParseError
from gateway.sip.headers import parse_cseq, parse_number
from gateway.sip.transaction import T1, TRANSACTION_TIMEOUT

if TYPE_CHECKING:
    from gateway.sip.core import Core
    from gateway.sip.leg import HeaderList
    from gateway.sip.message import Request
    from gateway.sip.timers import Timer

FIRST_NUMBERS = 2**31 - 1
"""RSeq begins at random between 1 and this (§3), so that a stray PRACK fits no call."""


class Sender(Protocol):
    """Whose responses they are."""

    def send_provisional(self, status: int, reason: str | None, headers: HeaderList, body: bytes) -> None:
        """Put one on the wire."""

    def send_provisional_again(self) -> None:
        """Put the last one on the wire once more."""

    def provisional_confirmed(self) -> None:
        """Learn that the PRACK came; nothing waits for one now."""

    def provisional_timed_out(self) -> None:
        """Learn that none came within 64*T1."""


class ReliableProvisionals:
    """One after another: the next is sent when the last one was confirmed (§3).

    Of those that wait only the latest is kept, and a session description is never lost to a mere 180.

    Args:
        cseq: of the INVITE.

    Attributes:
        session_told: a confirmed one had a session description: the offer of the INVITE is answered.

    """

    __slots__ = (
        "_core",
        "_cseq",
        "_deadline",
        "_interval",
        "_resend",
        "_rseq",
        "_sender",
        "_unconfirmed",
        "_waiting",
        "_with_session",
        "session_told",
    )

    def __init__(self, core: Core, cseq: int, sender: Sender) -> None:
        self._core = core
        self._cseq = cseq
        self._sender = sender
        self._rseq = int(core.chance() * FIRST_NUMBERS)
        self._interval = T1
        self._resend: Timer | None = None
        self._deadline: Timer | None = None
        self._waiting: tuple[int, str | None, HeaderList, bytes] | None = None
        self._unconfirmed = self._with_session = False
        self.session_told = False

    @property
    def holds_back_answer(self) -> bool:
        """No 2xx may be sent before an unconfirmed session description is confirmed (§3)."""
        return (self._unconfirmed and self._with_session) or (
            self._waiting is not None and bool(self._waiting[3])
        )

    def send(self, status: int, reason: str | None, headers: HeaderList, body: bytes) -> None:
        """Send one, or have it wait for the confirmation of the last one."""
        if self._unconfirmed:
            if self._waiting is None or body or not self._waiting[3]:
                self._waiting = status, reason, headers, body
            return
        self._rseq += 1
        self._unconfirmed, self._with_session = True, bool(body)
        self._interval = T1
        self._resend = self._core.timers.schedule(T1, self._send_again)
        self._deadline = self._core.timers.schedule(TRANSACTION_TIMEOUT, self._timed_out)
        lines = (("Require", "100rel"), ("RSeq", str(self._rseq)), *headers)
        self._sender.send_provisional(status, reason, lines, body)

    def confirm(self, prack: Request) -> bool:
        """Take a PRACK; False if it confirms nothing that waits for it. Raises SipParseError (400)."""
        if _acknowledged(prack) != (self._rseq, self._cseq) or not self._unconfirmed:
            return False
        self._unconfirmed = False
        self.session_told = self.session_told or self._with_session
        self._stop_timers()
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            self.send(*waiting)
        else:
            self._sender.provisional_confirmed()
        return True

    def stop(self) -> None:
        """A final response is out: nothing is sent again, but a PRACK is still welcome (§3). Idempotent."""
        self._stop_timers()
        self._waiting = None

    def _stop_timers(self) -> None:
        for timer in (self._resend, self._deadline):
            if timer is not None:
                timer.cancel()
        self._resend = self._deadline = None

    def _send_again(self) -> None:
        self._sender.send_provisional_again()
        self._interval *= 2
        self._resend = self._core.timers.schedule(self._interval, self._send_again)

    def _timed_out(self) -> None:
        self.stop()
        self._sender.provisional_timed_out()


def _acknowledged(prack: Request) -> tuple[int, int]:
    """RAck (§7.2): the RSeq and the INVITE's CSeq number. Raises SipParseError (400)."""
    value = prack.headers.get("RAck")
    if value is None:
        raise SipParseError(400, "Missing RAck header")
    number, _, rest = value.strip().partition(" ")
    cseq, method = parse_cseq(rest.strip())
    return parse_number("RAck", number, 2**32 - 1), cseq if method == "INVITE" else -1
