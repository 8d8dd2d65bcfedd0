"""One seed's world: a gateway as the product composes it, carriers, agents, and the network between them."""

from __future__ import annotations

import asyncio
import itertools
import random
import tempfile
from collections import Counter
from ipaddress import ip_network
from pathlib import Path

from gateway.admission.carriers import Carrier
from gateway.admission.limits import AdmissionLimits
from gateway.calls.dispatcher import OUR_FAULT, Dispatcher
from gateway.calls.recording import CallRecordings
from gateway.calls.records import CallRecord
from gateway.calls.registry import Registry
from gateway.calls.retries import RETENTION
from gateway.calls.transfers import TransferRules
from gateway.destinations.remote_control import RemoteControls
from gateway.destinations.stream_trunk import StreamTrunk
from gateway.destinations.trunk import Trunk
from gateway.destinations.voicemail import VoicemailBox
from gateway.destinations.voicemail_message import VoicemailMessages
from gateway.media.disk import Disk
from gateway.media.g711 import CODECS
from gateway.sip.endpoint import SipEndpoint
from gateway.sip.extensions import Extensions
from gateway.sip.sink import Direction
from gateway.speech.cache import SpeechCache
from gateway.speech.errors import SpeechError
from routing.health import EndpointHealth
from routing.models import Agent, Endpoint, Fallback, InboundRouting, PhoneNumber
from tests.simulation import virtual_time
from tests.simulation.agents import Clocks, SimulatedAgent
from tests.simulation.callers import GATEWAY, SESSION_ID, SimulatedCaller
from tests.simulation.media import SimulatedPorts
from tests.simulation.network import Faults, SimulatedNetwork
from tests.simulation.peer import PORT
from tests.simulation.websockets import SimulatedWeb
from tests.simulation.witness import Witness

CALLERS = 20
"""A world: enough for calls to meet at agents, few enough for a failing one to be read."""

QUIET = 200.0
"""Seconds after the last call: every SIP timer and every memory of retries has run out by then."""

CLOCKS = Clocks(response_timeout=2.0, ring_timeout=6.0)
MAX_DURATION = 90.0
CALLS_END_BY = 200.0

CARRIER = Carrier(
    name="telnyx",
    sources=(ip_network("10.0.0.0/8"),),
    call_id_header=SESSION_ID,
    passed_headers=("X-Telnyx-",),
)


class Voice:
    """An engine that takes its time, and fails now and then."""

    name = identity = "simulated"
    concurrency = 2

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng

    async def render(self, text: str) -> bytes:
        await asyncio.sleep(self._rng.uniform(0.0, 4.0))
        if self._rng.random() < 0.2:
            raise SpeechError("simulated")
        return bytes(320 * 20)

    async def close(self) -> None: ...


class Counts:
    """Fulfils `CallObserver`, and is the sink of records."""

    def __init__(self) -> None:
        self.legs: Counter[str] = Counter()
        self.transfers: Counter[str] = Counter()
        self.records: list[CallRecord] = []

    def stage(self, stage: str, seconds: float, exemplar: dict[str, str] | None = None) -> None:
        assert seconds >= 0, f"stage {stage} took {seconds} s"

    def leg_opened(self, leg: str) -> None:
        self.legs[leg] += 1

    def transferred(self, result: str) -> None:
        self.transfers[result] += 1

    def leg_closed(self, leg: str) -> None:
        self.legs[leg] -= 1


class Numbers:
    """Fulfils `Directory`; some numbers are known only beyond this node."""

    def __init__(self, rng: random.Random) -> None:
        self.agents: dict[str, Agent] = {}
        self.near: dict[str, PhoneNumber] = {}
        self.far: dict[str, PhoneNumber] = {}
        self._rng = rng

    def get(self, number: str) -> PhoneNumber | None:
        return self.near.get(number)

    async def lookup(self, number: str) -> PhoneNumber | None:
        if self._rng.random() < 0.1:  # Redis stalls, until the lookup's hard bound
            await asyncio.sleep(0.2)
            return None
        await asyncio.sleep(self._rng.uniform(0.0, 0.2))
        return self.far.get(number)


class Unobserved:
    """Fulfils `gateway.sip.bridge.Observer`: the wire is watched by `Witness`."""

    def message(self, direction: Direction, method: str, code: int) -> None: ...

    def retransmission(self, direction: Direction) -> None: ...

    def dropped(self, reason: str) -> None: ...


class World:
    """Runs one seed. Whatever it draws, it draws from that seed."""

    def __init__(self, seed: int, callers: int = CALLERS) -> None:
        self.rng = random.Random(seed)
        self.size = callers
        self.counts = Counts()
        self.errors: list[str] = []
        self.wall_offset = 0.0

    async def run(self) -> None:
        """Let everybody call, and check what must be true afterwards."""
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: self.errors.append(str(context)))
        rng = self.rng
        self.network = network = SimulatedNetwork(rng, self._faults())
        self.witness = Witness(loop.time, CLOCKS)
        network.taps.append(self.witness.arrived)
        self.numbers = Numbers(rng)
        self.health = EndpointHealth(loop.time, random.Random(rng.random()))
        self.ports = SimulatedPorts(GATEWAY, rng.choice((12, 100, 100)), loop.time, self._last_heard)
        self.registry = Registry()
        with tempfile.TemporaryDirectory() as directory:
            speech = SpeechCache(
                Voice(random.Random(rng.random())),
                None,
                encoders={name: lambda pcm: [bytes(160)] * (len(pcm) // 320) for name in CODECS},
            )
            await speech.start()
            await self._start_gateway(Path(directory), speech)
            await self._start_agents()
            callers = await self._start_callers()
            self._start_mischief(callers)
            await asyncio.sleep(CALLS_END_BY)
            left = [(call.id, call.record.tried) for call in self.registry]
            assert not left, f"calls that never end: {left}"
            await asyncio.sleep(QUIET)
            await speech.close()
        self._check(callers)

    def _faults(self) -> Faults:
        return self.rng.choice(
            (
                Faults(),
                Faults(loss=0.02, duplication=0.02, delay=(0.005, 0.15)),
                Faults(loss=0.15, duplication=0.1, delay=(0.01, 0.6)),
            )
        )

    async def _start_gateway(self, directory: Path, speech: SpeechCache) -> None:
        loop, rng = asyncio.get_running_loop(), self.rng
        ids = itertools.count(1)
        tokens = random.Random(rng.random())
        self.sip = sip = SipEndpoint(
            listen=[f"{GATEWAY}:{PORT}"],
            agent_listen=[f"{GATEWAY}:{PORT + 1}"],
            admit=lambda host: CARRIER,
            on_invite=lambda leg: self.dispatcher.on_invite(leg),
            observer=Unobserved(),
            on_error=lambda where, error: self.errors.append(f"{where}: {error!r}"),
            network=self.network.host(GATEWAY, self.witness.sent),
            tokens=lambda: f"{tokens.getrandbits(64):016x}",
            extensions=Extensions(reliable="supported", session_expires=90),
        )
        await sip.start()
        self.recordings = CallRecordings(
            directory,
            Disk(),
            clock=loop.time,
            wall_clock=self._wall_clock,
            on_error=lambda error: self.errors.append(f"recording: {error!r}"),
            on_recorded=lambda path: None,
            consent_interval=rng.choice((None, 0.0, 5.0)),
        )
        self.dispatcher = Dispatcher(
            directory=self.numbers,
            limits=AdmissionLimits(
                max_active_calls=rng.choice((None, None, None, None, 8)), routes_loaded=True
            ),
            ports=self.ports,
            trunk=Trunk(
                sip,
                self.health,
                GATEWAY,
                response_timeout=CLOCKS.response_timeout,
                ring_timeout=CLOCKS.ring_timeout,
                agent_silence_timeout=5.0,
                caller_silence_timeout=20.0,
                max_duration=MAX_DURATION,
                transfers=TransferRules("own", (), lambda: self.numbers.agents, lambda: (), self.numbers.get),
            ),
            streams=StreamTrunk(SimulatedWeb(), RemoteControls()),
            voicemail=VoicemailBox(
                VoicemailMessages(speech),
                directory,
                max_seconds=10.0,
                silence_seconds=3.0,
                wall_clock=self._wall_clock,
            ),
            registry=self.registry,
            observer=self.counts,
            sink=self.counts.records.append,
            default_voicemail="Nobody is here.",
            recordings=self.recordings,
            clock=loop.time,
            wall_clock=self._wall_clock,
            new_id=lambda: f"call-{next(ids)}",
        )

    def _start_mischief(self, callers: list[SimulatedCaller]) -> None:
        """Connections are reset, and the wall's clock jumps, at any time."""
        loop, rng = asyncio.get_running_loop(), self.rng
        hosts = [*self.agents, *(caller.host for caller in callers)]
        for _ in range(rng.choice((0, 0, 5, 30))):
            loop.call_later(rng.uniform(0.0, 60.0), self.network.reset, rng.choice(hosts))
        for _ in range(rng.choice((0, 3))):
            loop.call_later(rng.uniform(0.0, 60.0), self._jump, rng.uniform(-7200.0, 7200.0))

    def _jump(self, seconds: float) -> None:
        self.wall_offset += seconds

    def _wall_clock(self) -> float:
        return 1_700_000_000.0 + asyncio.get_running_loop().time() + self.wall_offset

    async def _start_agents(self) -> None:
        rng = self.rng
        self.agents: dict[str, SimulatedAgent] = {}
        for number in range(6):
            endpoints = []
            for which in range(rng.choice((1, 1, 2, 3))):
                host = f"10.1.{number}.{which + 1}"
                agent = SimulatedAgent(
                    self.network, host, CLOCKS, direct=rng.random() < 0.4, tcp=rng.random() < 0.25
                )
                await agent.start()
                self.agents[host] = agent
                limit = rng.choice((None, None, 1, 3))
                endpoints.append(Endpoint(agent.url, priority=rng.choice((10, 20)), max_calls=limit))
            self.numbers.agents[f"agt_{number}"] = Agent(f"agt_{number}", f"Agent {number}", tuple(endpoints))
        self.dialled_agents = sorted(self.numbers.agents)
        for number in range(6):  # each agent has somebody to send its callers to, whom nobody dials
            desk = SimulatedAgent(self.network, f"10.1.{100 + number}.1", CLOCKS, direct=False, tcp=False)
            await desk.start()
            for host, agent in self.agents.items():
                if host.startswith(f"10.1.{number}."):
                    agent.transfer_targets.append(f"sip:agt_desk_{number}@{GATEWAY}")
            self.agents[desk.host] = desk
            endpoints = (Endpoint(desk.url),)
            self.numbers.agents[f"agt_desk_{number}"] = Agent(f"agt_desk_{number}", "Desk", endpoints)

    async def _start_callers(self) -> list[SimulatedCaller]:
        rng = self.rng
        callers = []
        for number in range(self.size):
            dialled = f"+1415555{number:04d}"
            primary, fallback = rng.sample(self.dialled_agents, 2)
            routing = InboundRouting(
                agent_id=primary,
                fallback=Fallback(fallback) if rng.random() < 0.6 else None,
                voicemail_message=f"You have reached {number}.",
                voicemail=rng.random() < 0.8,
                recording=rng.choice((None, None, "all", "off")),
            )
            known = PhoneNumber(
                f"phn_{number}", dialled, inbound_routing=routing if rng.random() < 0.95 else None
            )
            if rng.random() < 0.97:
                (self.numbers.near if rng.random() < 0.8 else self.numbers.far)[dialled] = known
            caller = SimulatedCaller(self.network, number, dialled)
            callers.append(caller)
            await caller.start()
        return callers

    def _last_heard(self, host: str, since: float) -> float | None:
        """RTP comes from whoever is there and is not mute."""
        gone = self.network.gone_since(host)
        agent = self.agents.get(host)
        if agent is not None and agent.mute_since is not None:
            gone = min(agent.mute_since, gone if gone is not None else agent.mute_since)
        if gone is None:
            return asyncio.get_running_loop().time()
        return gone if gone >= since else None

    def _check(self, callers: list[SimulatedCaller]) -> None:
        assert not self.errors, self.errors
        self.witness.check()
        records = self.counts.records
        for caller in callers:
            assert caller.outcome is not None or caller.leg is None, f"caller {caller.host} still waits"
        assert self.sip.user_agent.leg_count == 0, "legs are left"
        assert self.sip.user_agent.timer_count == 0, "timers are left"
        assert not any(self.sip.user_agent.transaction_counts.values()), "transactions are left"
        assert self.ports.in_use == 0, "media ports are left"
        assert not self.recordings.finishing, "recordings are left"
        assert self.health.in_use == 0, "agents' places are left"
        assert not any(self.counts.legs.values()), f"active legs: {self.counts.legs}"
        assert len(self.registry) == 0
        for record in records:
            assert record.outcome, record
            assert record.cause != OUR_FAULT, record
            self._check_order(record)
        self._check_sum(records)

    def _check_sum(self, records: list[CallRecord]) -> None:
        """One outcome a call, however often a carrier tried it; only what was no answer of ours runs anew."""
        by_call: dict[str, list[CallRecord]] = {session: [] for session in self.witness.sessions.values()}
        for record in records:
            by_call[self.witness.sessions[record.sip_call_id]].append(record)
        for session, runs in by_call.items():
            assert runs, f"{session} was never counted"
            for run in runs[:-1]:
                assert run.status in (487, 503), f"{session} ran again after {run}"

    def _check_order(self, record: CallRecord) -> None:
        """The fallback's turn comes only when every endpoint of the primary has failed, or its time is up."""
        roles = {f"agt_{n}": self.numbers.agents[f"agt_{n}"] for n in range(6)}
        order = [tried.destination for tried in record.tried if tried.destination in roles]
        assert order == sorted(order, key=record.plan.index), f"out of order: {record}"


def run(seed: int, callers: int = CALLERS) -> list[CallRecord]:
    """Run one seed in virtual time; raises AssertionError if anything is not as it must be."""
    world = World(seed, callers)
    virtual_time.run(world.run())
    return world.counts.records


assert QUIET > RETENTION
