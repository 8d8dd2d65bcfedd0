"""One inbound call: its mailbox, its caller, and how it answers, refuses and says goodbye."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from math import inf
from typing import Protocol

from gateway.calls.identity import CallerIdentity
from gateway.calls.recording import CallRecording
from gateway.calls.records import CallObserver, CallRecord, RecordSink
from gateway.calls.retries import Remembered
from gateway.destinations.base import Aside, CallerLeft, CallerReplaced, Connected, Tried, ignore
from gateway.destinations.caller_audio import CallerAudio
from gateway.destinations.waiting_sound import WaitingSound
from gateway.media.pacer import TIMER_GRAIN
from gateway.media.quality import leg_quality
from gateway.media.reception import PortStats
from gateway.sip.events import AckTimedOut, Event, HungUp, InviteCancelled, LegEnded, SessionExpired
from gateway.sip.inbound_leg import InboundLeg
from gateway.sip.leg import HeaderList
from gateway.sip.reason import passed_reason
from routing.call_records import CallMoment

GONE: dict[type[Event], str] = {
    InviteCancelled: "caller cancelled",
    HungUp: "caller hung up",
    AckTimedOut: "caller never acknowledged the answer",
    SessionExpired: "caller's session timer expired",
    LegEnded: "caller vanished",
}
"""The caller's events after which there is nobody to serve any more."""

RETRY_AFTER = "5"
"""Seconds; carriers go to their next address at once, and this one recovers within seconds or not at all."""


TAKEN_OVER = "another gateway has taken the call over"

MAX_LEGS = 64
"""Legs with media that one call's record tells of: an agent has at most 32 endpoints, and there are two."""

MAX_EVENTS = 256
"""Events that wait for a call's task. It takes them up at the next turn of the loop; only a flood of requests
within the dialog can leave so many."""

MAX_MOMENTS = 200
"""Moments that one call's record tells of: two agents of 32 endpoints, three each."""

MAX_SIP_LEGS = 64
"""Call-IDs that one call's record tells of: likewise."""


class Continuity(Protocol):
    """Whoever keeps what another process needs to go on with established calls. Fast, and raises nothing."""

    def changed(self, call: Call) -> None:
        """The call is established, or has another agent, leg or session than before."""

    def over(self, call: Call) -> None:
        """Nobody needs to go on with it."""


class _Dismissed:
    """We end the call ourselves."""

    __slots__ = ("reason", "status")

    def __init__(self, reason: str, status: int) -> None:
        self.reason = reason
        self.status = status


class Call:
    """See `gateway.destinations.base.Call` for what destinations know of it.

    One task works for a call, and everything that happens to the call comes to that task through one mailbox.

    Args:
        continuity: keeps what another process needs to go on with it; None keeps nothing.
        elapsed: seconds since its INVITE, if that came to another process.

    """

    __slots__ = (
        "_began",
        "_clock",
        "_continuity",
        "_deadline",
        "_events",
        "_gave_up",
        "_loop",
        "_observer",
        "_remembered",
        "_sink",
        "_timer",
        "_waiter",
        "_wakes_at",
        "answered",
        "aside",
        "asserted",
        "audio",
        "caller",
        "carrier_headers",
        "ceded",
        "connected",
        "destination",
        "farewell",
        "max_forwards",
        "moves",
        "now",
        "record",
        "recording",
        "rescued",
        "role",
        "talking",
        "trace",
        "waiting_sound",
        "withheld",
    )

    def __init__(
        self,
        caller: InboundLeg,
        record: CallRecord,
        audio: CallerAudio,
        waiting_sound: WaitingSound,
        remembered: Remembered,
        *,
        carrier_headers: list[tuple[str, str]],
        max_forwards: int,
        observer: CallObserver,
        sink: RecordSink,
        clock: Callable[[], float],
        loop: asyncio.AbstractEventLoop,
        identity: CallerIdentity | None = None,
        continuity: Continuity | None = None,
        elapsed: float = 0.0,
    ) -> None:
        self.caller = caller
        self.record = record
        self.audio = audio
        self.waiting_sound = waiting_sound
        self.carrier_headers = carrier_headers
        self.max_forwards = max_forwards
        self.answered = False
        self.aside: Aside | None = None
        self.farewell: HeaderList = ()
        self.asserted = identity.asserted if identity is not None else ""
        self.withheld = identity.withheld if identity is not None else False
        self.rescued = False
        self.talking = False
        self.destination = self.role = ""
        self.connected: Connected | None = None
        self.ceded = False
        self.moves = 0
        self.recording: CallRecording | None = None
        self._remembered = remembered
        self._observer = observer
        self._sink = sink
        self._clock = self.now = clock  # asked several times a frame: without a step between
        self._loop = loop
        self._events: deque[object] = deque()
        self._waiter: asyncio.Future[None] | None = None
        self._deadline = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._wakes_at = inf
        self.trace = record.trace
        self._continuity = continuity
        self._gave_up = clock()
        self._began = self._gave_up - elapsed
        caller.listener = self.deliver
        if caller.call_id not in record.sip_call_ids:
            record.sip_call_ids.append(caller.call_id)
        remembered.belongs_to(self)
        observer.leg_opened("caller")

    # What the call is.

    @property
    def id(self) -> str:
        """See `Call`."""
        return self.record.call_id

    @property
    def carrier(self) -> str:
        """See `Call`."""
        return self.record.carrier

    @property
    def dialled(self) -> str:
        """The dialled number in E.164, or as it was dialled."""
        return self.record.number or self.record.dialled

    @property
    def caller_number(self) -> str:
        """See `Call`."""
        return self.record.caller

    @property
    def tried(self) -> list[Tried]:
        """See `Call`."""
        return self.record.tried

    @property
    def traceparent(self) -> str:
        """See `Call`."""
        return "" if self.trace is None else self.trace.traceparent

    # The mailbox.

    def deliver(self, event: object) -> None:
        """Put an event into the mailbox; a flood of them ends the call."""
        if len(self._events) >= MAX_EVENTS:
            self._events.clear()
            event = _Dismissed("too many events at once", 500)
        self._events.append(event)
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def next_event(self, deadline: float) -> object | None:
        """See `Call`."""
        if not self._events:
            await self._sleep(deadline)
            if not self._events:
                return None
        event = self._events.popleft()
        if isinstance(event, Event):
            if event.leg is self.caller and (cause := GONE.get(type(event))) is not None:
                if isinstance(event, InviteCancelled | HungUp):
                    self._left_because(event.reason_header)
                raise CallerLeft(cause)
        elif isinstance(event, _Dismissed):
            raise CallerLeft(event.reason, event.status)
        return event

    def _left_because(self, reason_header: str | None) -> None:
        reason = passed_reason(reason_header)
        if reason is not None:
            self.farewell = (("Reason", reason),)
            self.record.reason = reason

    async def _sleep(self, deadline: float) -> None:
        """Until an event comes, or that time."""
        if deadline <= self._clock():
            return
        self._deadline = deadline
        if deadline < self._wakes_at:
            self._wake_at(deadline)
        self._waiter = self._loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _wake_at(self, when: float) -> None:
        """Have `_wake` called by then; the one timer of a call is left as it is where it comes in time."""
        if self._timer is not None:
            self._timer.cancel()
        self._wakes_at = when
        self._timer = self._loop.call_later(when - self._clock(), self._wake)

    def _wake(self) -> None:
        self._timer, self._wakes_at = None, inf
        if self._waiter is None or self._waiter.done():
            return
        if self._deadline - self._clock() > TIMER_GRAIN:
            self._wake_at(self._deadline)
        else:
            self._waiter.set_result(None)

    def dismiss(self, reason: str, status: int) -> None:
        """End the call from outside: everything under way for it is let go of."""
        self.deliver(_Dismissed(reason, status))

    def taken_up(self, rescued: bool) -> None:
        """Begin as a call that another process answered."""
        self.answered = True
        self.rescued = rescued
        self.record.status = 200
        self._remembered.answered(self.audio.shown)
        self.happened("caller", "taken over from a gateway that died")

    def cede(self) -> None:
        """Leave the call to the process that has taken it over: no goodbye to anybody, and no record here."""
        self.ceded = True
        self.caller.forget()
        if self.connected is not None:
            self.connected.connection().leg.forget()
        self.dismiss(TAKEN_OVER, 200)

    # What the caller is told.

    def ring(self, body: bytes = b"") -> None:
        """180; or 183 with an agent's early media."""
        if self.caller.ended or self.answered:
            return
        if body:
            self.caller.ring(183, body=body)
        else:
            self.caller.ring(180)
        self._remembered.ringing()

    def answer(self, body: bytes) -> None:
        """See `Call`."""
        if self.caller.ended:
            raise CallerLeft(GONE[InviteCancelled])
        self.answered = True
        if self.trace is not None:
            self.trace.answered()
        self.record.status = 200
        self.caller.answer(body)
        if self.recording is not None:
            self.recording.begin()
        self.observe("answer", self._clock() - self._began)
        self._remembered.answered(body)
        self.session_changed()

    def take_over(self, leg: InboundLeg, body: bytes) -> None:
        """The carrier's retry takes the place of the first leg: carriers listen to their newest INVITE."""
        first, self.caller = self.caller, leg
        self.leg_placed(leg.call_id)
        self.happened("caller", "the carrier's retry took the first INVITE's place")
        leg.listener = self.deliver
        leg.guard = security = self.audio.security
        if security is not None:
            security.offer_came(leg.request.body)
        leg.answer(body)
        first.listener = ignore
        first.hangup()
        self.deliver(CallerReplaced())
        self.session_changed()

    def close(self, outcome: str, cause: str, status: int = 200, reason: str | None = None) -> None:
        """Say goodbye, whatever the caller has heard so far, and hand the record in.

        status: for a caller who was not answered, the refusal; otherwise, unless 200, what BYE's Reason says.
        reason: the Reason of an agent's goodbye, for the caller.
        """
        if self.trace is not None:
            self.trace.hangs_up()
        self.waiting_sound.stop()
        if self.aside is not None:
            self.aside.abandoned()
            self.aside = None
        self.leg_heard("caller", self.audio.heard)
        self.audio.close_port()
        self.caller.listener = ignore
        if self.answered:
            given = (("Reason", reason),) if reason is not None else ()
            self.caller.hangup(given if status == 200 else reason_header(status, cause))
        elif self.caller.ended:
            self.record.status = 487
            self._remembered.abandoned()
        else:
            self.record.status = status
            self._refuse(status, cause)
        self._remembered.closed()
        if self._timer is not None:
            self._timer.cancel()
        record = self.record
        record.outcome = f"{outcome}_rescued" if self.rescued else outcome
        record.cause = cause
        record.reason = record.reason or reason or ""
        record.seconds = self._clock() - self._began
        if self.recording is not None:
            self.recording.end(record)
        self._observer.leg_closed("caller")
        if self._continuity is not None:
            self._continuity.over(self)
        if not self.ceded:
            self._sink(record)

    def _refuse(self, status: int, cause: str) -> None:
        headers = list(reason_header(status, cause))
        if status == 503:
            headers.append(("Retry-After", RETRY_AFTER))
        self.caller.refuse(status, headers=headers)
        self._remembered.refused(status, headers)

    # What is told.

    def happened(self, kind: str, text: str) -> None:
        """See `Call`."""
        moments = self.record.moments
        if len(moments) < MAX_MOMENTS:
            moments.append(CallMoment(self._clock() - self._began, kind, text))

    def turns_to(self, destination: str, role: str) -> None:
        """A destination is offered the call."""
        self.destination, self.role = destination, role
        self.happened("destination", destination)
        if self.trace is not None:
            self.trace.tries(destination, role)

    def leaves(self, reason: str) -> None:
        """The destination did not take the call, or lost it."""
        self.happened("destination", reason)
        if self.trace is not None:
            self.trace.leaves(reason)

    def leg_placed(self, call_id: str) -> None:
        """See `Call`."""
        if len(self.record.sip_call_ids) < MAX_SIP_LEGS:
            self.record.sip_call_ids.append(call_id)

    @property
    def seconds(self) -> float:
        """Since its INVITE."""
        return self._clock() - self._began

    # What is measured.

    def observe(self, stage: str, seconds: float) -> None:
        """See `Call`."""
        self.record.stages[stage] = seconds
        self._observer.stage(stage, seconds, None if self.trace is None else self.trace.exemplar)

    def looked_up(self) -> None:
        """The route is known."""
        self._gave_up = self._clock()
        seconds = self._gave_up - self._began
        self.observe("lookup", seconds)
        if self.trace is not None:
            self.trace.looked_up(seconds)

    def gave_up(self) -> None:
        """A destination was given up; the time to the next attempt counts from here."""
        self._gave_up = self._clock()

    def attempt_begins(self) -> None:
        """See `Call`."""
        stage = "failover" if "dispatch" in self.record.stages else "dispatch"
        self.observe(stage, self._clock() - self._gave_up)

    def leg_heard(self, leg: str, stats: PortStats | None) -> None:
        """See `Call`."""
        if stats is not None and (stats.packets_in or stats.packets_out) and len(self.record.legs) < MAX_LEGS:
            self.record.legs.append(leg_quality(leg, stats))

    def taken(self) -> None:
        """See `Call`."""
        aside, self.aside = self.aside, None
        if aside is not None:
            aside.taken()

    def transferred(self, result: str) -> None:
        """See `Call`."""
        self.happened("transfer", result)
        self.record.transfers.append(result)
        self._observer.transferred(result)

    def agent_joined(self) -> None:
        """See `Call`."""
        self.taken()
        self.waiting_sound.stop()
        self.talking = True
        self.happened("audio", "the agent is on the line")
        self._observer.leg_opened("agent")
        self.session_changed()

    def agent_left(self) -> None:
        """See `Call`."""
        self.talking = False
        self.happened("audio", "the agent is off the line")
        self._observer.leg_closed("agent")
        self.session_changed()

    def session_changed(self) -> None:
        """See `Call`."""
        if self._continuity is not None and self.answered:
            self._continuity.changed(self)


def reason_header(status: int, text: str) -> tuple[tuple[str, str]]:
    """The Reason header of a refusal or a BYE (RFC 3326 §2)."""
    quoted = text.replace("\\", "").replace('"', "'")
    return (("Reason", f'SIP;cause={status};text="{quoted}"'),)
