"""Which worker a message belongs to, decided by the one that has read it from a port that all of them share.

    made by us (tag or branch with a mark)     the worker of that mark
    INVITE                                     one of the members, by a hash of what names the call
    CANCEL                                     whoever has its INVITE: they are asked
    anything else                              whoever has read it

Carriers send everything from one address and port, and the kernel then gives everything to one process: the
hash spreads it. It stands for the whole life of an INVITE, so that its repetitions find the same worker. What
names a call is the carrier's own name for it, where it has one, else the Call-ID: a carrier that tries the
same call again, from elsewhere and under another Call-ID, finds the worker that tries it already.

Four things make it wrong for a moment, and each has an answer:

- The worker is not there (it has crashed, or does not keep up): the one that has read the INVITE takes its
  place, and remembers that it did, for the INVITE may come again.
- It was not there a moment ago, so that somebody else may have the call: for as long as an INVITE may be
  repeated, and for every CANCEL that it does not know, it asks its siblings first.
- The worker of a mark is not there, or does not know the dialog: a sibling may have taken it over
  (`gateway.continuity`), and they are asked.
- Another version of the gateway is on its way out: it no longer is among the members. Whatever is new goes
  from it to the members, and those show it what it may have, for as long as it is there. Until it knows of
  them, they are guests on its ports: what they read and do not know goes to it, or one that hears an INVITE
  for the second time would not know that somebody else has heard it first.

To ask is to hand the message itself round: each sibling takes what it knows and passes on what it does not.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import Enum
from typing import Final, NamedTuple
from zlib import crc32

from gateway.sip.flow import Flow
from gateway.sip.transaction import TRANSACTION_TIMEOUT
from gateway.workers.marks import call_id_of, slot_of

ASKING_SECONDS: Final = TRANSACTION_TIMEOUT + 8.0
"""After starting again: by then the last repetition of an INVITE that a sibling took for us has come."""

MAX_STOOD_IN: Final = 4_096
"""Calls taken in another worker's place that are remembered: those of the eight seconds that it may take to
start again, at 500 a second."""

_INVITE: Final = b"INVITE "
_CANCEL: Final = b"CANCEL "
_ACK: Final = b"ACK "
_RESPONSE: Final = b"SIP/2.0 "


class Purpose(Enum):
    """Why a message is handed on."""

    TAKE = "take"
    """It belongs to whom it is handed to, as far as the sender can tell."""
    KNOWN = "known"
    """Take it if you know what it is about, else pass it on."""
    LAST = "last"
    """Take it: everybody has been asked."""
    SEND = "send"
    """Send it: the connection that it is to go by is there."""


class Handed(NamedTuple):
    """A message between two workers.

    home: the slot it goes back to when nobody knows it; ask: slots still to be asked.
    flow: where it came from; its channel is the number of the listener, the same in every worker.
    """

    purpose: Purpose
    home: int
    ask: tuple[int, ...]
    flow: Flow
    data: bytes


class Steering:
    """Decides for one worker. Without I/O.

    Args:
        slot: of this worker.
        members: who shares new calls, in an order that all of them have.
        elders: workers of earlier versions that still finish calls.
        before: those of them that share new calls until `begin`.
        deliver: take a message here.
        hand: give one to another worker; False if it is not there or does not keep up.
        knows: whether what a request is about is here: its transaction, its dialog, or the call that it is a
            retry of.
        name_of: what names the call of an INVITE.
        hears: whether a source is heard at all: nobody carries what is thrown away then.
        clock: seconds, monotonic.
        restarted: this worker was there before, so that siblings may have calls that are its own by the rule.
        on_handed: told each time that a message is given away, and how it went: `taken`, `stood_in` (the
            other was not there), `asked`.

    """

    def __init__(
        self,
        slot: int,
        members: Sequence[int],
        elders: Sequence[int] = (),
        before: Sequence[int] = (),
        *,
        deliver: Callable[[bytes, Flow], None],
        hand: Callable[[int, Handed], bool],
        knows: Callable[[bytes], bool],
        name_of: Callable[[bytes], bytes] = call_id_of,
        hears: Callable[[str], bool],
        clock: Callable[[], float],
        restarted: bool = False,
        on_handed: Callable[[str], None] = lambda result: None,
    ) -> None:
        self._slot = slot
        self._successors = tuple(members)
        self._members = tuple(before) or self._successors
        self._elders = tuple(elders)
        self._deliver = deliver
        self._hand = hand
        self._knows = knows
        self._name_of = name_of
        self._hears = hears
        self._clock = clock
        self._on_handed = on_handed
        self._ask_until = clock() + ASKING_SECONDS if restarted else float("-inf")
        self._stood_in: dict[bytes, None] = {}

    @property
    def retired(self) -> bool:
        """Nothing new is taken here any more."""
        return self._slot not in self._successors

    @property
    def _idle(self) -> bool:
        """Nothing new is taken here now: not any more, or not yet."""
        return self._slot not in self._members

    def begin(self) -> None:
        """Those before us have retired."""
        self._members = self._successors

    def retire(self, successors: Sequence[int]) -> None:
        """Somebody else shares new calls from now on."""
        self._members = self._successors = tuple(successors)
        self._elders = ()

    def received(self, data: bytes, flow: Flow) -> None:
        """A message was read from a shared port."""
        slot = slot_of(data)
        if slot is not None:
            if not self._hears(flow.host):
                self._deliver(data, flow)
            elif slot != self._slot and self._hand(slot, Handed(Purpose.TAKE, slot, (), flow, data)):
                self._on_handed("taken")
            else:
                self._take(data, flow)
        elif data.startswith((_INVITE, _CANCEL)) or (self._idle and not data.startswith((_RESPONSE, _ACK))):
            self._new(data, flow)
        else:
            self._deliver(data, flow)

    def handed(self, handed: Handed) -> None:
        """Another worker gave us a message."""
        if handed.purpose is Purpose.KNOWN:
            if self._knows(handed.data):
                self._deliver(handed.data, handed.flow)
            else:
                self._pass_on(handed)
        elif self.retired and slot_of(handed.data) is None:
            self._new(handed.data, handed.flow)  # it was on its way to us when others took our place
        elif handed.purpose is Purpose.LAST:
            self._deliver(handed.data, handed.flow)
        else:
            if slot_of(handed.data) is None:
                self.begin()  # nobody gives us what is new who has not retired
            self._take(handed.data, handed.flow)

    def _new(self, data: bytes, flow: Flow) -> None:
        if not self._members or not self._hears(flow.host):
            self._deliver(data, flow)
            return
        name = self._name_of(data)
        if (self._stood_in and name in self._stood_in) or (self._idle and self._knows(data)):
            self._deliver(data, flow)
            return
        owner = self._members[crc32(name) % len(self._members)]
        if data.startswith(_CANCEL) and not self._idle:
            owner = self._slot  # it has its INVITE's Call-ID, and not its carrier's name
        if owner == self._slot:
            self._take(data, flow)
        elif self._hand(owner, Handed(Purpose.TAKE, owner, (), flow, data)):
            self._on_handed("taken")
        else:
            self._stand_in(name)
            self._deliver(data, flow)

    def _take(self, data: bytes, flow: Flow) -> None:
        """It is ours by the rule; but somebody else may have it all the same."""
        ask = self._to_ask(data)
        if not ask or self._knows(data):
            self._deliver(data, flow)
        else:
            self._pass_on(Handed(Purpose.KNOWN, self._slot, ask, flow, data))

    def _to_ask(self, data: bytes) -> tuple[int, ...]:
        if data.startswith((_RESPONSE, _ACK)):
            return ()
        invite = data.startswith(_INVITE)
        asks = self._clock() < self._ask_until if invite else data.startswith(_CANCEL)
        if asks or slot_of(data) is not None:
            return tuple(
                dict.fromkeys(each for each in (*self._elders, *self._members) if each != self._slot)
            )
        return self._elders if invite else ()

    def _pass_on(self, handed: Handed) -> None:
        """To the next that has not been asked, else home; here if nobody is there."""
        ask = handed.ask
        while ask:
            following, ask = ask[0], ask[1:]
            if self._hand(following, handed._replace(ask=ask)):
                self._on_handed("asked")
                return
        if handed.home == self._slot or not self._hand(
            handed.home, handed._replace(purpose=Purpose.LAST, ask=())
        ):
            self._deliver(handed.data, handed.flow)

    def _stand_in(self, name: bytes) -> None:
        self._on_handed("stood_in")
        if len(self._stood_in) >= MAX_STOOD_IN:
            del self._stood_in[next(iter(self._stood_in))]
        self._stood_in[name] = None
