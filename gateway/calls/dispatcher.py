"""From INVITE to goodbye: a call is a plan of destinations, tried in order until one takes it."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable, Coroutine, Iterable, Sequence
from dataclasses import replace

import structlog
from structlog.contextvars import bind_contextvars

from gateway.admission.caller_verification import CallerVerification
from gateway.admission.carriers import Carrier
from gateway.admission.limits import AdmissionLimits
from gateway.calls.call import Call, Continuity
from gateway.calls.caller_security import against_policy, security_of
from gateway.calls.identity import (
    caller_identity,
    dialled_number,
    max_forwards,
    passed_headers,
)
from gateway.calls.orphan import Orphan
from gateway.calls.planner import Directory, Planner
from gateway.calls.recording import CallRecording, CallRecordings
from gateway.calls.records import CallObserver, CallRecord, RecordSink
from gateway.calls.registry import Registry
from gateway.calls.retries import Retries, call_keys, carriers_key, dialog_key
from gateway.destinations.announcement import announce
from gateway.destinations.attempt import OUTSIDE
from gateway.destinations.base import CallerLeft, Declined, Destination, Finished, Lost, Moved
from gateway.destinations.caller_audio import CallerAudio
from gateway.destinations.remote_control import Target
from gateway.destinations.stream_trunk import StreamTrunk
from gateway.destinations.terminating import answer_here, early_media
from gateway.destinations.trunk import NobodysHealth, Trunk
from gateway.destinations.voice_agent import VoiceAgent
from gateway.destinations.voicemail import Voicemail, VoicemailBox
from gateway.destinations.waiting_sound import WaitingSound, WaitingSounds
from gateway.media.ports import MediaPorts
from gateway.sip.inbound_leg import InboundLeg
from gateway.sip.message import Request
from gateway.telemetry.spans import Tracer
from routing.models import Agent, RecordingPolicy
from routing.plan import AgentDestination, Plan, Refusal

log = structlog.get_logger("calls")

NOBODY = "nobody took the call"
OUR_FAULT = "internal error"

MAX_MOVES = 10
"""How often agents may send one call on; two that send it to each other must come to an end."""

UNKNOWN_CARRIER = Carrier(name="unknown", sources=(), asserted_identity=False)
"""For a leg that nobody attributed to a carrier."""


class Dispatcher:
    """Takes each new call, finds its plan, and tries the plan's destinations.

    Args:
        directory: numbers and agents.
        limits: whether new calls are taken at all.
        ports: media ports.
        trunk, streams: how agents are reached, over SIP and over WebSocket.
        voicemail: what every voicemail needs.
        registry: the calls alive.
        observer, sink: who counts stages and legs, and who takes the record of each call.
        on_started: told of each call that has a plan; must be fast, and not raise.
        continuity: keeps what another process needs to go on with calls; None keeps nothing.
        tracer: traces calls; None traces none.
        default_voicemail, endpoint_template: see `make_plan`.
        waiting: what callers hear meanwhile.
        recordings: how whole calls are recorded; None: they are not.
        default_recording: see `make_plan`.
        verification: verifies callers for carriers that ask for it; None: of those nobody is verified.
        source_of: the address that a call came from, were there a proxy of ours between.
        clock: seconds, for deadlines and measurements; wall_clock: seconds since the epoch.
        new_id: makes call ids.

    """

    def __init__(
        self,
        *,
        directory: Directory,
        limits: AdmissionLimits,
        ports: MediaPorts,
        trunk: Trunk,
        streams: StreamTrunk,
        voicemail: VoicemailBox,
        registry: Registry,
        observer: CallObserver,
        sink: RecordSink,
        default_voicemail: str,
        endpoint_template: str | None = None,
        waiting: WaitingSounds | None = None,
        recordings: CallRecordings | None = None,
        default_recording: RecordingPolicy = "voicemail",
        verification: CallerVerification | None = None,
        on_started: RecordSink = lambda record: None,
        continuity: Continuity | None = None,
        tracer: Tracer | None = None,
        source_of: Callable[[InboundLeg], str] = lambda leg: leg.flow.host,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
        new_id: Callable[[], str] = lambda: secrets.token_hex(8),
    ) -> None:
        self._planner = Planner(
            directory,
            default_voicemail=default_voicemail,
            endpoint_template=endpoint_template,
            default_recording=default_recording,
            verification=verification,
        )
        self._limits = limits
        self._ports = ports
        self._trunk = trunk
        self._outside = replace(trunk, health=NobodysHealth())
        self._streams = streams
        self._voicemail = voicemail
        self._registry = registry
        self._observer = observer
        self._sink = sink
        self._waiting = waiting or WaitingSounds()
        self._recordings = recordings
        self._on_started = on_started
        self._continuity = continuity
        self._tracer = tracer
        self._source_of = source_of
        self._clock = clock
        self._wall_clock = wall_clock
        self._new_id = new_id
        self._retries = Retries(clock, self.on_invite)
        self._loop = asyncio.get_running_loop()

    def on_invite(self, leg: InboundLeg) -> None:
        """Take a new call; its 100 has been sent."""
        carrier = leg.peer if isinstance(leg.peer, Carrier) else UNKNOWN_CARRIER
        request = leg.request
        identity = caller_identity(request, trusted=carrier.asserted_identity)
        headers = passed_headers(request, carrier.passed_headers, withheld=identity.withheld)
        dialled = dialled_number(request, carrier.account)
        keys = call_keys(leg, carrier, headers, dialled)
        first = self._retries.find(keys)
        if first is not None:
            first.retried(leg)
            return
        record = CallRecord(
            call_id=self._new_id(),
            sip_call_id=leg.call_id,
            carrier=carrier.name,
            caller=identity.number,
            dialled=dialled,
            started_at=self._wall_clock(),
            source=self._source_of(leg),
            carrier_call_id=keys[1][1] if len(keys) > 1 else "",
            trace=None if self._tracer is None else self._tracer.begin(),
        )
        refusal = self._limits.refusal(len(self._registry))
        if refusal is not None:  # not remembered: the next try may find us ready
            leg.refuse(refusal.status, headers=refusal.headers)
            record.outcome, record.status, record.cause = "refused", refusal.status, refusal.reason
            record.rule, record.sip_call_ids = refusal.rule, [leg.call_id]
            self._sink(record)
            return
        security = security_of(leg, carrier)
        audio = CallerAudio(
            security.offer_came(request.body) if security is not None and request.body else request.body,
            self._ports,
            session_id=round(record.started_at),
            latch_ranges=carrier.media_sources or None,
            security=security,
            ipv6=":" in record.source,
        )
        call = Call(
            leg,
            record,
            audio,
            WaitingSound(audio, self._waiting.sound(carrier.default_country)),
            self._retries.remember(keys),
            carrier_headers=headers,
            max_forwards=max_forwards(request),
            identity=identity,
            observer=self._observer,
            sink=self._sink,
            clock=self._clock,
            loop=self._loop,
            continuity=self._continuity,
        )
        self._begin(call, self._serve(call, carrier))

    def knows(self, request: Request, carriers: Iterable[Carrier]) -> bool:
        """Whether an INVITE, not taken in yet, is a retry of a call here by its carrier's name for that.

        carriers: who may have sent it.
        """
        for carrier in carriers:
            headers = passed_headers(request, carrier.passed_headers)
            key = carriers_key(carrier, headers, dialled_number(request, carrier.account))
            if key is not None and self._retries.find((key,)) is not None:
                return True
        return False

    def take_up(self, orphan: Orphan) -> None:
        """Go on with an established call of a process that died, or end it if nobody can."""
        record, carrier = orphan.record, orphan.carrier
        audio = CallerAudio(
            orphan.theirs,
            self._ports,
            session_id=round(record.started_at),
            latch_ranges=carrier.media_sources or None,
            ipv6=":" in orphan.caller.flow.host,
        )
        audio.shown = orphan.shown
        remembered = self._retries.remember((dialog_key(orphan.caller),))
        call = Call(
            orphan.caller,
            record,
            audio,
            WaitingSound(audio, self._waiting.sound(carrier.default_country)),
            remembered,
            carrier_headers=orphan.carrier_headers,
            max_forwards=orphan.max_forwards,
            identity=orphan.identity,
            observer=self._observer,
            sink=self._sink,
            clock=self._clock,
            loop=self._loop,
            continuity=self._continuity,
            elapsed=orphan.elapsed,
        )
        call.taken_up(orphan.rescued)
        self._begin(call, self._go_on(call, orphan))

    def _begin(self, call: Call, work: Coroutine[None, None, None]) -> None:
        self._registry.add(call, self._loop.create_task(self._guarded(call, work)))

    async def _guarded(self, call: Call, work: Coroutine[None, None, None]) -> None:
        """Nothing gets past this without a goodbye to the caller."""
        bind_contextvars(call_id=call.id)  # for every log line of this task
        try:
            await work
        except CallerLeft as left:
            call.close("abandoned" if left.status == 200 else "failed", left.cause, left.status)
        except Exception:
            log.exception("call failed")
            call.close("failed", OUR_FAULT, 500)
        except asyncio.CancelledError:
            call.close("failed", "cut off", 503)
            raise

    async def _serve(self, call: Call, carrier: Carrier) -> None:
        plan = await self._planner.plan_for(call, carrier)
        if isinstance(plan, Refusal):
            call.close("refused", plan.reason, plan.status)
        else:
            self._record(call, plan)
            early = self._waiting.early if carrier.early_media is None else carrier.early_media
            await self._dispatch(call, carrier, plan, early=early)

    async def _go_on(self, call: Call, orphan: Orphan) -> None:
        if orphan.agent is None:
            call.close(orphan.role, orphan.cause, 503)
        else:
            agent = await orphan.agent(call)
            await self._try_in_order(call, [agent, *self._after(agent, call.record)])

    def _after(self, agent: Destination, record: CallRecord) -> list[Destination]:
        """Who would have been tried after an agent, by what this node knows of the number."""
        plan = self.plan_of(Target(number=record.number))
        if isinstance(plan, Refusal):
            return []
        destinations = self._destinations(plan)
        names = [each.name for each in destinations]
        if agent.name in names:
            return destinations[names.index(agent.name) + 1 :]
        tried = {each.destination for each in record.tried}
        return [each for each in destinations if each.name not in tried]

    def _record(self, call: Call, plan: Plan) -> None:
        """Have the whole call recorded, if that is its policy."""
        if plan.recording != "all" or self._recordings is None:
            return
        call.recording = CallRecording(self._recordings, call.id, call.audio)
        call.audio.tap = call.recording

    async def _dispatch(self, call: Call, carrier: Carrier, plan: Plan, *, early: bool) -> None:
        destinations = self._destinations(plan)
        call.record.plan = tuple(destination.name for destination in destinations)
        if (fault := against_policy(call.audio.as_it_came, carrier)) is not None:
            call.close("refused", fault, 488)
            return
        if (obstacle := _obstacle(call, destinations)) is not None:
            call.close("refused", obstacle.reason, obstacle.status)
            return
        self._on_started(call.record)
        call.ring(early_media(call) if early else b"")
        refusal = await self._announce(call)
        if refusal is None and plan.answer_first:
            answered = await answer_here(call)
            refusal = answered if isinstance(answered, Declined) else None
        if refusal is not None:
            call.close("refused", refusal.reason, refusal.status)
            return
        await self._try_in_order(call, destinations, early=early)

    async def _announce(self, call: Call) -> Declined | None:
        """Tell a caller who is to be recorded so, if that is wanted; one who cannot be told is not recorded.

        Declined if the caller cannot be answered.
        """
        announcement = self._recordings.announcement if self._recordings is not None else None
        if call.recording is None or announcement is None:
            return None
        message = await announcement.rendered(call)
        if message is None:
            call.recording = None
            log.warning("call not recorded", reason="recording.consent_message cannot be spoken")
            return None
        return await announce(call, message)

    async def _try_in_order(
        self, call: Call, destinations: Sequence[Destination], *, early: bool = False
    ) -> None:
        cause, status = NOBODY, 480
        for index, destination in enumerate(destinations, 1):
            if call.answered or early:
                call.waiting_sound.start()
            call.turns_to(destination.name, destination.role)
            outcome = await destination.take(call)
            match outcome:
                case Finished():
                    call.close(destination.role, outcome.cause, outcome.status, outcome.reason)
                    return
                case Lost():
                    call.rescued = True
                    call.leaves(f"lost: {outcome.reason}")
                    cause, status = outcome.reason, 480
                case Moved():
                    call.happened("destination", "the agent sent the call on")
                    call.gave_up()
                    await self._try_in_order(call, self._moved(call, outcome, destinations[index:]))
                    return
                case Declined():
                    call.leaves(f"did not take it: {outcome.reason}")
                    status = outcome.status
            call.gave_up()
        call.close("failed", cause, status)

    def _moved(self, call: Call, moved: Moved, rest: Sequence[Destination]) -> Sequence[Destination]:
        """Where a call that was sent on is tried: a new plan.

        First the target; then whoever sent the call there, if it waits for it; unless the target is a number
        with a plan of its own, the rest of the old one is behind.
        """
        call.moves += 1
        target, back = moved.target, [moved.back] if moved.back is not None else []
        plan = self.plan_of(target)
        if isinstance(plan, Refusal) or call.moves > MAX_MOVES:
            return [*back, *rest]
        chosen = [*self._destinations(plan), *back]
        if target.number is None or back:
            names = {destination.name for destination in chosen}
            chosen += [destination for destination in rest if destination.name not in names]
        return chosen

    def plan_of(self, target: Target) -> Plan | Refusal:
        """See `Planner.plan_of`."""
        return self._planner.plan_of(target)

    def _trunk_to(self, agent: Agent) -> Trunk:
        return self._trunk if agent.id != OUTSIDE else self._outside

    def _destinations(self, plan: Plan) -> list[Destination]:
        return [
            VoiceAgent(each.agent, each.role, self._trunk_to(each.agent), self._streams)
            if isinstance(each, AgentDestination)
            else Voicemail(each, self._voicemail, records=plan.recording != "off")
            for each in plan.destinations
        ]


def _obstacle(call: Call, destinations: Sequence[Destination]) -> Declined | None:
    """What stands against every destination before any is tried: the caller gets it instead of a 180."""
    last: Declined | None = None
    for destination in destinations:
        last = destination.obstacle(call)
        if last is None:
            return None
    return last
