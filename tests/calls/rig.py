"""A whole gateway between a scripted caller and scripted agents, on a faultless network in virtual time."""

from __future__ import annotations

import asyncio
import dataclasses
import functools
import itertools
import random
import tempfile
from collections.abc import Awaitable, Callable, Sequence
from ipaddress import ip_network
from pathlib import Path
from typing import Any

from gateway.admission.carriers import Carrier
from gateway.admission.limits import AdmissionLimits
from gateway.calls.dispatcher import Dispatcher
from gateway.calls.recording import CallRecordings
from gateway.calls.records import CallRecord
from gateway.calls.registry import Registry
from gateway.calls.transfers import Scope, TransferRules
from gateway.destinations.announcement import Announcement
from gateway.destinations.remote_control import RemoteControls
from gateway.destinations.stream_trunk import StreamTrunk
from gateway.destinations.trunk import Trunk
from gateway.destinations.voicemail import VoicemailBox
from gateway.destinations.voicemail_message import VoicemailMessages
from gateway.media.disk import Disk
from gateway.media.g711 import CODECS
from gateway.media.ports import NoPortLeft
from gateway.sip.endpoint import SipEndpoint
from gateway.sip.events import AnswerReceived, Event, ReinviteReceived
from gateway.sip.flow import Flow
from gateway.sip.inbound_leg import InboundLeg
from gateway.sip.message import Request, Response, parse_message
from gateway.sip.outbound_leg import OutboundLeg
from gateway.sip.resolver import Resolver
from gateway.sip.sdp import answer_offer, make_offer
from gateway.speech.cache import SpeechCache
from routing.health import EndpointHealth
from routing.models import Agent, Endpoint, Fallback, InboundRouting, PhoneNumber, RecordingPolicy
from tests.simulation import virtual_time
from tests.simulation.media import SimulatedPort, SimulatedPorts
from tests.simulation.network import Faults, SimulatedNetwork
from tests.simulation.peer import PORT, Peer
from tests.simulation.websockets import SimulatedWeb

GATEWAY, CALLER, SECOND = "10.0.0.1", "10.2.0.1", "10.2.0.2"
NUMBER, CALLING, REFUSED = "+14155550100", "+14155550123", "+14155550166"

CARRIER = Carrier(
    name="twilio",
    sources=(ip_network("10.2.0.0/16"),),
    call_id_header="X-Twilio-CallSid",
    passed_headers=("X-Twilio-",),
    refused_callers=(REFUSED,),
)


def in_virtual_time(test: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    """Run an async test, given a `Rig`, in virtual time; nothing of the call may be left afterwards."""

    @functools.wraps(test)
    def run(**parameters: Any) -> None:
        async def scenario() -> None:
            with tempfile.TemporaryDirectory() as directory:
                rig = Rig(Path(directory))
                await rig.start()
                await test(rig, **parameters)
                await rig.finish()

        virtual_time.run(scenario())

    # Otherwise pytest takes `rig` for a fixture.
    run.__signature__ = _without_rig(test)  # type: ignore[attr-defined]
    return run


def _without_rig(test: Callable[..., object]) -> Any:
    import inspect

    signature = inspect.signature(test)
    return signature.replace(parameters=[*signature.parameters.values()][1:])


class Voice:
    """Speaks any text as 200 ms of the same sample."""

    name = identity = "simulated"
    concurrency = 1
    pcm = b"\x00\x10" * 1600

    async def render(self, text: str) -> bytes:
        return self.pcm

    async def close(self) -> None: ...


class Port(SimulatedPort):
    """Keeps what was sent, with its time."""

    def __init__(self, ports: Ports, address: tuple[str, int]) -> None:
        super().__init__(ports, address)
        self.sent: list[tuple[float, bytes]] = []
        self.remote: tuple[str, int] | None = None
        self.closed = False

    def set_remote(self, host: str, port: int, rtcp_port: int | None = None) -> None:
        super().set_remote(host, port, rtcp_port)
        self.remote = host, port

    def send(self, packet: bytes) -> None:
        self.sent.append((asyncio.get_running_loop().time(), packet))

    def close(self) -> None:
        super().close()
        self.closed = True


class Ports(SimulatedPorts):
    """Every port that was opened, in order."""

    def __init__(self, rig: Rig) -> None:
        super().__init__(GATEWAY, 100, rig.now, rig.last_heard)
        self.opened: list[Port] = []
        self.left = 100

    def open(self, latch_ranges: object = None, *, ipv6: bool = False) -> Port:
        if self.left == 0:
            raise NoPortLeft
        self.left -= 1
        self.in_use += 1
        port = Port(self, (GATEWAY, 30_000 + 2 * len(self.opened)))
        self.opened.append(port)
        return port


class Party:
    """A SIP user agent that keeps what it heard: events of its legs, and every message with its time."""

    def __init__(self, rig: Rig, host: str, on_invite: Callable[[InboundLeg], None] | None = None) -> None:
        self.peer = Peer(rig.network, host, self._invited)
        self.host = host
        self.events: list[Event] = []
        self.messages: list[Request | Response] = []
        self.legs: list[InboundLeg] = []
        self.answer_reinvites = True
        self._on_invite = on_invite
        self._version = itertools.count(1)
        rig.network.taps.append(self._heard)

    @property
    def leg(self) -> InboundLeg:
        return self.legs[-1]

    @property
    def invite(self) -> Request:
        """The latest INVITE that came without a To tag."""
        return next(m for m in reversed(self.requests("INVITE")) if m.to_tag is None)

    def requests(self, method: str) -> list[Request]:
        return [m for m in self.messages if isinstance(m, Request) and m.method == method]

    def statuses(self, method: str = "INVITE") -> list[int]:
        """Distinct statuses received in answer to a method, in order."""
        found = [m.status for m in self.messages if isinstance(m, Response) and m.cseq_method == method]
        return list(dict.fromkeys(found))

    def response(self, status: int) -> Response:
        return next(m for m in self.messages if isinstance(m, Response) and m.status == status)

    def kinds(self) -> list[str]:
        return [type(event).__name__ for event in self.events]

    def sdp(self, port: int = 7000, **arguments: Any) -> bytes:
        return make_offer(self.host, port, session_id=5, version=next(self._version), **arguments)

    def listen(self, event: Event) -> None:
        self.events.append(event)
        if isinstance(event, ReinviteReceived) and self.answer_reinvites:
            body = event.request.body
            event.leg.answer_reinvite(self.answer_to(body, 7002) if body else self.sdp(7002))

    def answer_to(self, offer: bytes, port: int = 7000) -> bytes:
        return answer_offer(offer, self.host, port, session_id=5, version=next(self._version)).sdp

    def _invited(self, leg: InboundLeg) -> None:
        leg.listener = self.listen
        self.legs.append(leg)
        if self._on_invite is not None:
            self._on_invite(leg)

    def _heard(self, source: str, target: str, data: bytes) -> None:
        if target == self.host:
            self.messages.append(parse_message(data))


class Servers(Resolver):
    """Knows the domains that a test gave servers to."""

    def __init__(self, rig: Rig) -> None:
        super().__init__()
        self._rig = rig

    async def resolve(self, uri: str) -> tuple[Flow, ...]:
        servers = self._rig.servers.get(uri.partition("@")[2])
        return self._last_failures_last(servers) if servers else await super().resolve(uri)


class Rig:
    """The gateway and everybody around it."""

    def __init__(self, directory: Path) -> None:
        self.network = SimulatedNetwork(random.Random(1), Faults(delay=(0.001, 0.001)))
        self.directory = directory
        self.limits = AdmissionLimits(routes_loaded=True)
        self.health = EndpointHealth(self.now, random.Random(1))
        self.ports = Ports(self)
        self.registry = Registry()
        self.records: list[CallRecord] = []
        self.transfers: list[str] = []
        self.transfer_scope: Scope = "own"
        self.active = {"caller": 0, "agent": 0}
        self.agents: dict[str, Agent] = {}
        self.numbers: dict[str, PhoneNumber] = {}
        self.errors: list[object] = []
        self.carrier = CARRIER
        self.servers: dict[str, list[Flow]] = {}
        self.mute_since: dict[str, float] = {}
        self.caller = Party(self, CALLER)
        self.parties = [self.caller]
        self._hosts = itertools.count(1)

    def now(self) -> float:
        return self.network.loop.time()

    # What the dispatcher asks of its directory and its observer.

    def get(self, number: str) -> PhoneNumber | None:
        return self.numbers.get(number)

    async def lookup(self, number: str) -> PhoneNumber | None:
        return None

    def stage(self, stage: str, seconds: float, exemplar: dict[str, str] | None = None) -> None:
        assert seconds >= 0

    def leg_opened(self, leg: str) -> None:
        self.active[leg] += 1

    def transferred(self, result: str) -> None:
        self.transfers.append(result)

    def leg_closed(self, leg: str) -> None:
        self.active[leg] -= 1

    def last_heard(self, host: str, since: float) -> float:
        """RTP comes all the time from whoever has not fallen silent."""
        return self.mute_since.get(host, self.now())

    async def start(self) -> None:
        self.network.loop.set_exception_handler(lambda _, context: self.errors.append(context))
        tokens, ids = random.Random(2), itertools.count(1)
        self.sip = SipEndpoint(
            listen=[f"{GATEWAY}:{PORT}"],
            agent_listen=[f"{GATEWAY}:{PORT + 1}"],
            admit=lambda host: self.carrier,
            on_invite=lambda leg: self.dispatcher.on_invite(leg),
            observer=_Uncounted(),
            on_error=lambda where, error: self.errors.append((where, error)),
            network=self.network.host(GATEWAY),
            resolver=Servers(self),
            tokens=lambda: f"{tokens.getrandbits(64):016x}",
        )
        await self.sip.start()
        self.speech = SpeechCache(
            Voice(), None, encoders={name: codec.frames for name, codec in CODECS.items()}
        )
        await self.speech.start()
        self.recorded: list[Path] = []
        self.recording_errors: list[Exception] = []
        self.box = VoicemailBox(
            VoicemailMessages(self.speech),
            self.directory / "recordings",
            max_seconds=20.0,
            silence_seconds=4.0,
            on_error=self.recording_errors.append,
            wall_clock=self.now,
            on_recorded=lambda path: self.recorded.append(path),
        )
        self.recordings = CallRecordings(
            self.directory / "recordings",
            Disk(),
            clock=self.now,
            wall_clock=self.now,
            on_error=self.recording_errors.append,
            on_recorded=lambda path: self.recorded.append(path),
        )
        self.web = SimulatedWeb()
        self.streams = StreamTrunk(self.web, RemoteControls())
        self.dispatcher = Dispatcher(
            directory=self,
            limits=self.limits,
            ports=self.ports,
            trunk=Trunk(
                self.sip,
                self.health,
                "voice.example.com",
                response_timeout=2.0,
                ring_timeout=6.0,
                agent_silence_timeout=5.0,
                caller_silence_timeout=30.0,
                max_duration=100.0,
                transfers=TransferRules(
                    self.transfer_scope,
                    ("*.example.com",),
                    lambda: self.agents,
                    lambda: [each.url for agent in self.agents.values() for each in agent.endpoints],
                    self.get,
                ),
            ),
            streams=self.streams,
            voicemail=self.box,
            registry=self.registry,
            observer=self,
            sink=self.records.append,
            default_voicemail="Nobody is here.",
            recordings=self.recordings,
            clock=self.now,
            wall_clock=self.now,
            new_id=lambda: f"call-{next(ids)}",
        )
        await self.caller.peer.start()

    async def agent(
        self, on_invite: Callable[[InboundLeg], None] | None = None, *, started: bool = True
    ) -> Party:
        """Somebody who may be an agent's endpoint."""
        party = Party(self, f"10.1.0.{next(self._hosts)}", on_invite)
        if started:
            await party.peer.start()
        self.parties.append(party)
        return party

    def line(
        self,
        primary: Party | Sequence[Party] | None = None,
        fallback: Party | None = None,
        *,
        voicemail: bool = True,
        recording: RecordingPolicy | None = None,
        voicemail_message: str = "Leave a message.",
        voicemail_greeting: str | None = None,
        parameters: str = "",
        **endpoint: Any,
    ) -> None:
        """Route `NUMBER` to these.

        parameters: of the endpoints' URLs, e.g. ``;media=direct``; endpoint: further fields of each.
        """
        everybody = {
            "agt_primary": primary if isinstance(primary, Sequence) else [primary] if primary else [],
            "agt_fallback": [fallback] if fallback else [],
        }
        for name, parties in everybody.items():
            endpoints = [
                Endpoint(f"sip:bot@{party.host}:{PORT}{parameters}", priority=number, **endpoint)
                for number, party in enumerate(parties)
            ]
            self.agents[name] = Agent(name, name, tuple(endpoints))
        self.numbers[NUMBER] = PhoneNumber(
            "phn_1",
            NUMBER,
            inbound_routing=InboundRouting(
                agent_id="agt_primary" if primary else None,
                fallback=Fallback("agt_fallback") if fallback else None,
                voicemail_message=voicemail_message,
                voicemail=voicemail,
                recording=recording,
                voicemail_greeting=voicemail_greeting,
            ),
        )
        if "{{" not in voicemail_message:
            self.speech.prerender(voicemail_message)

    def announce(self, text: str) -> None:
        """Have callers told something before they are recorded."""
        self.speech.prerender(text)
        announcement = Announcement(text, self.speech)
        self.recordings = dataclasses.replace(self.recordings, announcement=announcement)
        self.dispatcher._recordings = self.recordings

    def record_began(self) -> float:
        """When the only call was answered, and its recording began."""
        (call,) = self.registry
        assert call.recording is not None
        return call.recording._began

    def use(self, messages: VoicemailMessages) -> None:
        """Have the voicemail say what these give."""
        self.box = dataclasses.replace(self.box, messages=messages)
        self.dispatcher._voicemail = self.box

    def dial(
        self,
        *,
        body: bytes | None = None,
        headers: Sequence[tuple[str, str]] = (),
        dialled: str = NUMBER,
        calling: str = CALLING,
        party: Party | None = None,
    ) -> OutboundLeg:
        """The caller's INVITE; by default with an offer, and answers to late offers are given in the ACK."""
        party = party or self.caller
        body = party.sdp(6000) if body is None else body

        def heard(event: Event) -> None:
            if isinstance(event, AnswerReceived) and not body:
                event.leg.ack(party.answer_to(event.response.body, 6000))
            party.listen(event)

        return party.peer.agent.invite(
            f"sip:{dialled}@{GATEWAY}:{PORT}",
            party.peer.flow(GATEWAY, PORT),
            from_=f'"Alice" <sip:{calling}@{party.host}>',
            to=f"<sip:{dialled}@{GATEWAY}>",
            body=body,
            headers=headers,
            listener=heard,
        )

    async def finish(self) -> None:
        """Hang up whatever is left, wait until every timer has run out, and look that nothing is left."""
        await self.registry.drain(0)
        await asyncio.sleep(200)
        await self.speech.close()
        assert not self.errors, self.errors
        assert self.sip.user_agent.leg_count == 0
        assert self.sip.user_agent.timer_count == 0
        assert self.ports.in_use == 0
        assert self.health.in_use == 0
        assert self.active == {"caller": 0, "agent": 0}

    @property
    def record(self) -> CallRecord:
        """The record of the only call."""
        (record,) = self.records
        return record


class _Uncounted:
    def message(self, direction: str, method: str, code: int) -> None: ...

    def retransmission(self, direction: str) -> None: ...

    def dropped(self, reason: str) -> None: ...


def answering(after: float = 0.1, *, ring: bool = True) -> Callable[[InboundLeg], None]:
    """An agent that rings and then answers whatever it is offered."""

    def invited(leg: InboundLeg) -> None:
        party: Party = leg.listener.__self__  # type: ignore[attr-defined]
        if ring:
            leg.ring()
        loop = asyncio.get_running_loop()
        loop.call_later(after, lambda: leg.answer(party.answer_to(leg.request.body)))

    return invited


def refusing(status: int) -> Callable[[InboundLeg], None]:
    """An agent that refuses."""
    return lambda leg: leg.refuse(status)
