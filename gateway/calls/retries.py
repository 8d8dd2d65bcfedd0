"""The same call twice: a carrier that tries again gets the answer that the first try got, or will get.

Two INVITEs are the same call when Call-ID and From tag are, or when the carrier's own name for the call and
the dialled number are (Telnyx tries again from its second address, Twilio at the next origination URI). The
plan never runs twice. What a retry gets:

    the first try               same Call-ID and From tag             otherwise
    still in progress           its own 180, then the first's answer  likewise
    refused by us               the same refusal                      the same refusal
    answered, call alive        the same 200, and takes over          482
    answered, call over         482                                   482
    cancelled by the caller     not a retry: the plan runs anew       the plan runs anew

"Takes over": the carrier listens to its newest INVITE only, so that leg becomes the caller's. A copy of the
very same request by another path (`merged_with`, RFC 3261 §8.2.2.2) never takes over: it gets 482.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol, TypeAlias

from gateway.admission.carriers import Carrier
from gateway.destinations.base import ignore
from gateway.sip.events import Event, InviteCancelled
from gateway.sip.inbound_leg import InboundLeg
from gateway.sip.leg import HeaderList

RETENTION = 32.0
"""Seconds that a finished call is remembered: 64*T1, after which no copy of its INVITE can be on its way."""

MAX_REMEMBERED = 50_000
"""Finished calls remembered at most: 1,500 calls a second for `RETENTION`, beyond what one process serves."""

MAX_WAITING = 8
"""Retries of one call that wait for its answer; carriers have two to ten addresses."""

LOOP_DETECTED = 482

Key: TypeAlias = tuple[str, ...]


def dialog_key(leg: InboundLeg) -> Key:
    """What the caller's side of a dialog is known by (RFC 3261 §12), the same in all copies of an INVITE."""
    return leg.call_id, leg.remote_tag


def call_keys(
    leg: InboundLeg, carrier: Carrier, headers: Sequence[tuple[str, str]], dialled: str
) -> tuple[Key, ...]:
    """What makes a later INVITE the same call as this one; headers: the carrier's own, of this INVITE."""
    own, carriers = dialog_key(leg), carriers_key(carrier, headers, dialled)
    return (own,) if carriers is None else (own, carriers)


def carriers_key(carrier: Carrier, headers: Sequence[tuple[str, str]], dialled: str) -> Key | None:
    """The second of `call_keys`, by the carrier's own name for the call; None if it tells none."""
    if carrier.call_id_header is not None:
        wanted = carrier.call_id_header.lower()
        for name, value in headers:
            if name.lower() == wanted:
                return carrier.name, value, dialled
    return None


class Taker(Protocol):
    """A call that a retry may take over."""

    def take_over(self, leg: InboundLeg, body: bytes) -> None:
        """Answer this leg, which replaces the caller's."""


class Remembered:
    """What is known of one call as far as its retries go."""

    __slots__ = ("_answer", "_call", "_refusal", "_ringing", "_table", "_waiting", "keys")

    def __init__(self, table: Retries, keys: tuple[Key, ...]) -> None:
        self.keys = keys
        self._table = table
        self._call: Taker | None = None
        self._ringing = False
        self._answer: bytes | None = None
        self._refusal: tuple[int, HeaderList] | None = None
        self._waiting: list[InboundLeg] = []

    def belongs_to(self, call: Taker) -> None:
        """Name the call, once there is one."""
        self._call = call

    def retried(self, leg: InboundLeg) -> None:
        """The call came again."""
        if self._refusal is not None:
            leg.refuse(self._refusal[0], headers=self._refusal[1])
        elif self._answer is not None:
            self._answer_retry(leg, self._answer)
        elif len(self._waiting) >= MAX_WAITING:
            leg.refuse(LOOP_DETECTED, headers=LOOP_REASON)
        else:
            leg.listener = self._heard
            self._waiting.append(leg)
            if self._ringing:
                leg.ring()

    def ringing(self) -> None:
        """The caller was sent a 180; so are the retries."""
        if not self._ringing:
            self._ringing = True
            for leg in self._waiting:
                leg.ring()

    def answered(self, body: bytes) -> None:
        """The caller was sent a 200."""
        self._answer = body
        for leg in self._take_waiting():
            self._answer_retry(leg, body)

    def refused(self, status: int, headers: HeaderList) -> None:
        """The caller was refused."""
        self._refusal = status, headers
        for leg in self._take_waiting():
            leg.refuse(status, headers=headers)

    def abandoned(self) -> None:
        """The caller cancelled, which is no answer of ours: a retry is a call of its own."""
        self._table.forget(self)
        for leg in self._take_waiting():
            leg.listener = ignore
            self._table.again(leg)

    def closed(self) -> None:
        """The call is over; from now on it is remembered for `RETENTION` only."""
        self._call = None
        self._table.expire_later(self)

    def _answer_retry(self, leg: InboundLeg, body: bytes) -> None:
        same_call = leg.merged_with is None and dialog_key(leg) == self.keys[0]
        if self._call is not None and same_call:
            self._call.take_over(leg, body)
        else:
            leg.refuse(LOOP_DETECTED, headers=LOOP_REASON)

    def _heard(self, event: Event) -> None:
        if isinstance(event, InviteCancelled):
            self._waiting = [leg for leg in self._waiting if leg is not event.leg]

    def _take_waiting(self) -> list[InboundLeg]:
        waiting, self._waiting = self._waiting, []
        return [leg for leg in waiting if not leg.ended]


LOOP_REASON: HeaderList = (("Reason", f'SIP;cause={LOOP_DETECTED};text="this call was answered already"'),)


class Retries:
    """The table of calls in progress and of those just finished.

    Args:
        clock: seconds.
        again: serves a leg as a new call.

    """

    def __init__(self, clock: Callable[[], float], again: Callable[[InboundLeg], None]) -> None:
        self._clock = clock
        self.again = again
        self._known: dict[Key, Remembered] = {}
        self._finished: deque[tuple[float, Remembered]] = deque()

    def __len__(self) -> int:
        return len(self._known)

    def find(self, keys: Iterable[Key]) -> Remembered | None:
        """The call that has one of these keys."""
        self._expire()
        for key in keys:
            found = self._known.get(key)
            if found is not None:
                return found
        return None

    def remember(self, keys: tuple[Key, ...]) -> Remembered:
        """A new call."""
        remembered = Remembered(self, keys)
        for key in keys:
            self._known[key] = remembered
        return remembered

    def forget(self, remembered: Remembered) -> None:
        """Drop a call from the table."""
        for key in remembered.keys:
            if self._known.get(key) is remembered:
                del self._known[key]

    def expire_later(self, remembered: Remembered) -> None:
        """Drop a call from the table after `RETENTION`."""
        self._finished.append((self._clock() + RETENTION, remembered))

    def _expire(self) -> None:
        now = self._clock()
        while self._finished and (self._finished[0][0] <= now or len(self._finished) > MAX_REMEMBERED):
            self.forget(self._finished.popleft()[1])
