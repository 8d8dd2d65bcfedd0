"""What a destination is: a place where a call can end up, and what it may know of the call.

Destinations know nothing of `gateway.calls`; they see a call through the `Call` protocol below. Everything
that happens to a call (SIP events of either leg, the end of a playback, a key pressed) comes out of its one
mailbox, in order, through `Call.next_event`, so a destination is straight-line code without races.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias

from gateway.destinations.caller_audio import CallerAudio
from gateway.destinations.remote_control import Target
from gateway.destinations.waiting_sound import WaitingSound
from gateway.media.reception import PortStats
from gateway.media.rtpengine import EngineCall
from gateway.sip.inbound_leg import InboundLeg
from gateway.sip.leg import HeaderList, Leg


@dataclass(frozen=True, slots=True)
class Finished:
    """The destination took the call, and the call is over: somebody said goodbye, or a limit was reached.

    cause: who or what ended it, for the record.
    status: what the BYE's Reason header says; 200 for a goodbye, which needs no explanation.
    reason: the Reason that the agent gave for its goodbye (RFC 3326), for the caller; None if it gave none.
    """

    cause: str
    status: int = 200
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Declined:
    """The destination did not take the call; whatever was attempted is cancelled.

    reason: for the record.
    status: what the caller is told if nobody else takes the call either.
    everywhere: it speaks for all endpoints of an agent, so none of the others is tried: 6xx (RFC 3261
        §21.6), or the agent's time is up.
    """

    reason: str
    status: int = 480
    everywhere: bool = False


@dataclass(frozen=True, slots=True)
class Lost:
    """The destination took the call and vanished; the caller is still there, answered, and waits."""

    reason: str


@dataclass(frozen=True, slots=True)
class CallerReplaced:
    """An event: the carrier's retry took the first leg's place, which answers nothing any more."""


class Aside(Protocol):
    """Whoever sent a call on and waits for what becomes of it; the `Destination` behind all others.

    Attributes:
        role, name: see `Destination`.

    """

    role: str
    name: str

    def obstacle(self, call: Call) -> Declined | None:
        """See `Destination`."""

    async def take(self, call: Call) -> Outcome:
        """See `Destination`; it has the call again."""

    def taken(self) -> None:
        """Learn that somebody else has the call."""

    def abandoned(self) -> None:
        """Learn that the caller is gone."""


@dataclass(frozen=True, slots=True)
class Moved:
    """The destination took the call and gave it away again; the caller is answered, and waits.

    back: takes the call again if nobody at the target does; it has put itself aside.
    """

    target: Target
    back: Aside | None = None


Outcome: TypeAlias = Finished | Declined | Lost | Moved


@dataclass(frozen=True, slots=True)
class Connection:
    """A SIP agent that has the call, as another process must know it to go on with both.

    role, agent_id, endpoint: whose turn it is, and where; endpoint: its URL.
    leg: its leg, answered.
    media: ``"direct"``: audio goes from caller to agent; ``"here"``: through this process; else where it goes
        that outlives this process.
    offered: what the agent has from us, answered: what we have from it: session descriptions.
    talked: seconds since it took the call.
    """

    role: str
    agent_id: str
    endpoint: str
    leg: Leg
    media: Literal["direct", "here"] | EngineCall
    offered: bytes
    answered: bytes
    talked: float


class Connected(Protocol):
    """Whoever connects the caller with a SIP agent."""

    def connection(self) -> Connection:
        """As it is now."""


class CallerLeft(Exception):  # noqa: N818 - it is what happened, nobody's mistake
    """The caller is not with us any more; raised by `Call.next_event`, so that nobody can overlook it.

    Whoever has something under way for the call lets go of it in a ``finally``. A destination that has taken
    the call makes a `Finished` of it; before that, it is for the dispatcher.

    cause: for the record.
    status: 200 if the caller went, else what we tell the caller whom we dismiss.
    """

    def __init__(self, cause: str, status: int = 200) -> None:
        super().__init__(cause)
        self.cause = cause
        self.status = status


@dataclass(frozen=True, slots=True)
class Tried:
    """One line of a call's history: who was tried, what came back, how long it took.

    destination: agent id, or ``"voicemail"``; endpoint: URL, empty for voicemail.
    answer: a status line, or words (``"no response within 2 s"``).
    seconds: from the attempt to the answer.
    """

    destination: str
    endpoint: str
    answer: str
    seconds: float


class Call(Protocol):
    """What a destination may know of the call, and do to it.

    Attributes:
        caller: the caller's leg; may be replaced by a carrier's retry, so never keep it across an await.
        audio: the caller's end of the audio.
        waiting_sound: what the caller hears while nobody else is to be heard; whoever begins to speak with
            the caller stops it.
        answered: whether the caller has our 200.
        carrier_headers: the carrier's own ``X-`` headers, which agents get too.
        max_forwards: of the caller's INVITE (RFC 3261 §20.22).
        aside: who sent the call on and waits for what becomes of it.
        farewell: the Reason that the caller gave when it left, for the agents' CANCEL or BYE; mostly empty.
        asserted: the caller's number as a trusted carrier vouches for it (RFC 3325), also where it is
            withheld; empty if no carrier has said so.
        withheld: the caller does not want to be known (RFC 3323).
        connected: who connects the caller with a SIP agent now; None while nobody does.

    """

    caller: InboundLeg
    audio: CallerAudio
    waiting_sound: WaitingSound
    answered: bool
    carrier_headers: list[tuple[str, str]]
    max_forwards: int
    aside: Aside | None
    farewell: HeaderList
    asserted: str
    withheld: bool
    connected: Connected | None

    @property
    def id(self) -> str:
        """Ours; unlike the SIP Call-ID, the same on both legs."""

    @property
    def carrier(self) -> str:
        """Whose call it is."""

    @property
    def dialled(self) -> str:
        """E.164."""

    @property
    def caller_number(self) -> str:
        """As the carrier wrote it; empty or ``anonymous`` when it is withheld."""

    @property
    def tried(self) -> list[Tried]:
        """What was tried so far, oldest first; whoever tries something adds to it."""

    @property
    def traceparent(self) -> str:
        """What agents are told of the call's trace (W3C Trace Context §3.2); empty if it has none."""

    def now(self) -> float:
        """Seconds, the clock of every deadline here."""

    async def next_event(self, deadline: float) -> object | None:
        """The next thing that happened; None when `deadline` passes first.

        Raises:
            CallerLeft: the caller hung up, cancelled, vanished, or was dismissed.

        """

    def deliver(self, event: object) -> None:
        """Put something into the mailbox: the listener of every leg of the call."""

    def ring(self, body: bytes = b"") -> None:
        """Pass an agent's early media on (183); without any, the caller has its 180 already."""

    def answer(self, body: bytes) -> None:
        """Answer the caller.

        Raises:
            CallerLeft: in the same instant.

        """

    def observe(self, stage: str, seconds: float) -> None:
        """Time one stage of the call (the names are those of ``gateway_call_stage_seconds``)."""

    def attempt_begins(self) -> None:
        """An INVITE is on the wire: ends the stage ``dispatch``, or ``failover`` after a first one."""

    def leg_heard(self, leg: str, stats: PortStats | None) -> None:
        """A leg's media is over; what its port has seen goes into the record, if that was anything."""

    def happened(self, kind: str, text: str) -> None:
        """Something that no SIP message shows; for the call's page and its ladder.

        kind: see `routing.call_records.CallMoment`. text: short, and without numbers or what was said.
        """

    def leg_placed(self, call_id: str) -> None:
        """A further SIP leg belongs to the call, by its Call-ID."""

    def taken(self) -> None:
        """Somebody has the call: whoever sent it here is let go."""

    def transferred(self, result: str) -> None:
        """A transfer came to its end: completed, returned, failed, abandoned, refused."""

    def agent_joined(self) -> None:
        """An agent is talking with the caller, until `agent_left`."""

    def agent_left(self) -> None:
        """See `agent_joined`."""

    def session_changed(self) -> None:
        """Caller and agent have agreed on another session: whoever goes on with them must know."""


class Destination(Protocol):
    """A place where a call can end up.

    Attributes:
        role: ``"agent"``, ``"fallback"`` or ``"voicemail"``: the outcome of a call that ends here.
        name: for the record.

    """

    role: str
    name: str

    def obstacle(self, call: Call) -> Declined | None:
        """What stands against this call and is known before anything is sent; None if nothing does.

        May open the caller's media port.
        """

    async def take(self, call: Call) -> Outcome:
        """Try to take the call, and return once it is over here, whichever way."""


def ignore(event: object) -> None:
    """The listener of a leg that nobody follows any more."""
