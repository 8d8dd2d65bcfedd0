"""Gateways that are killed in the middle of calls, and those that go on with them."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections import Counter
from ipaddress import ip_network
from pathlib import Path

from gateway.admission.carriers import Carrier
from gateway.admission.limits import AdmissionLimits
from gateway.calls.dispatcher import Dispatcher
from gateway.calls.records import CallRecord
from gateway.calls.registry import Registry
from gateway.continuity.adopter import Adopter, Result
from gateway.continuity.keeper import Keeper
from gateway.continuity.orphans import Orphans
from gateway.destinations.remote_control import RemoteControls
from gateway.destinations.stream_trunk import StreamTrunk
from gateway.destinations.trunk import Trunk
from gateway.destinations.voicemail import VoicemailBox
from gateway.destinations.voicemail_message import VoicemailMessages
from gateway.media.g711 import CODECS
from gateway.sip.endpoint import SipEndpoint
from gateway.sip.extensions import Extensions
from gateway.speech.cache import SpeechCache
from routing.health import EndpointHealth
from routing.leases import Leases
from routing.models import Agent, PhoneNumber
from tests.simulation.kept_calls import SimulatedKeptCalls, SimulatedLedger, SimulatedRedis
from tests.simulation.media import SimulatedPorts
from tests.simulation.network import SimulatedNetwork
from tests.simulation.peer import PORT
from tests.simulation.websockets import SimulatedWeb

LEASE = 6.0

LAG = 0.3
"""Seconds until Redis has heard of everything: the keeper's pause, and an answer."""

CARRIER = Carrier(name="telnyx", sources=(ip_network("10.0.0.0/8"),))


class Voice:
    """Speaks any text as 200 ms of the same sample."""

    name = identity = "simulated"
    concurrency = 1

    async def render(self, text: str) -> bytes:
        return b"\x00\x10" * 1600

    async def close(self) -> None: ...


class Directory:
    """Numbers and agents, the same for all nodes. Fulfils `Directory`."""

    def __init__(self) -> None:
        self.agents: dict[str, Agent] = {}
        self.numbers: dict[str, PhoneNumber] = {}

    def get(self, number: str) -> PhoneNumber | None:
        return self.numbers.get(number)

    async def lookup(self, number: str) -> PhoneNumber | None:
        return None


class Unobserved:
    """Fulfils `Observer`, and `CallObserver`."""

    def __init__(self) -> None:
        self.legs: Counter[str] = Counter()

    def message(self, direction: str, method: str, code: int) -> None: ...

    def retransmission(self, direction: str) -> None: ...

    def dropped(self, reason: str) -> None: ...

    def stage(self, stage: str, seconds: float, exemplar: object = None) -> None: ...

    def transferred(self, result: str) -> None: ...

    def leg_opened(self, leg: str) -> None:
        self.legs[leg] += 1

    def leg_closed(self, leg: str) -> None:
        self.legs[leg] -= 1


class Node:
    """One process of a gateway, as far as calls and their continuity go."""

    _processes = itertools.count(1)

    def __init__(
        self,
        network: SimulatedNetwork,
        redis: SimulatedRedis,
        directory: Directory,
        files: Path,
        name: str,
        host: str,
        dead: list[str],
        ahead: float = 0.0,
    ) -> None:
        self.loop = network.loop
        self.name, self.host = name, host
        self.owner = f"{name}#{next(self._processes)}"
        self.alive = True
        self.records: list[CallRecord] = []
        self._ended_at: list[float] = []
        self.errors: list[str] = []
        self.results: Counter[Result] = Counter()
        self.counts = Unobserved()
        self.registry = Registry()
        self.rng = random.Random(redis.rng.random())
        self.leases = Leases(
            SimulatedLedger(redis, self.owner),
            SimulatedLedger(redis, self.owner),
            lambda: 2,
            self.loop.time,
        )
        self.health = EndpointHealth(self.loop.time, random.Random(1), places=self.leases)
        self.ports = SimulatedPorts(host, 100, self.loop.time, lambda host, since: self.loop.time())
        self._redis, self._dead = redis, dead
        self.dead_siblings: list[str] = []
        self._ahead = ahead
        self._files = files
        self._directory = directory
        self._network = network
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        clock = self.loop.time
        tokens, ids = self.rng, itertools.count(1)
        store = SimulatedKeptCalls(self._redis, self.owner, LEASE)
        self.keeper = Keeper(store, self.registry, wall_clock=clock, clock=clock)  # type: ignore[arg-type]
        self.sip = SipEndpoint(
            listen=[f"{self.host}:{PORT}"],
            agent_listen=[f"{self.host}:{PORT + 1}"],
            admit=lambda host: CARRIER,
            on_invite=lambda leg: self.dispatcher.on_invite(leg),
            observer=self.counts,
            on_error=lambda where, error: self.errors.append(f"{where}: {error!r}"),
            look_for=lambda stray: self.orphans.look_for(stray),
            network=self._network.host(self.host),
            tokens=lambda: f"{tokens.getrandbits(64):016x}",
            extensions=Extensions(session_expires=90),
        )
        self.speech = SpeechCache(
            Voice(), None, encoders={name: lambda pcm: [bytes(160)] * (len(pcm) // 320) for name in CODECS}
        )
        await self.speech.start()
        trunk = Trunk(self.sip, self.health, self.host, response_timeout=2.0, ring_timeout=6.0)
        self.dispatcher = Dispatcher(
            directory=self._directory,
            limits=AdmissionLimits(routes_loaded=True),
            ports=self.ports,
            trunk=trunk,
            streams=StreamTrunk(SimulatedWeb(), RemoteControls()),
            voicemail=VoicemailBox(
                VoicemailMessages(self.speech), self._files, max_seconds=60.0, wall_clock=clock
            ),
            registry=self.registry,
            observer=self.counts,
            sink=self._over,
            default_voicemail="Nobody is here.",
            continuity=self.keeper,
            clock=clock,
            wall_clock=lambda: clock() + self._ahead,
            new_id=lambda: f"{self.owner}-{next(ids)}",
        )
        adopter = Adopter(
            self.sip,
            trunk,
            self.dispatcher.take_up,
            carriers=lambda name: CARRIER,
            agents=lambda: self._directory.agents,
            wall_clock=clock,
            draw=self.rng.uniform,
        )
        self.orphans = Orphans(
            store,  # type: ignore[arg-type]
            store,  # type: ignore[arg-type]
            self._dead,
            adopter.adopt,
            self.keeper,
            died=self._died,
            buried=_buried,
            clock=clock,
            on_result=self._count,
        )
        await self.sip.start()
        background = (self.keeper.run(), self.orphans.run(), self.leases.run())
        self._tasks = [self.loop.create_task(each) for each in background]

    async def _died(self) -> list[str]:
        return self.dead_siblings

    async def kill(self) -> None:
        """SIGKILL: from one moment to the next nothing is sent, heard or written any more."""
        self.alive = False
        # Whose end Redis has not heard of yet, nobody has: neither history nor metrics outlive us.
        self.records = [
            record
            for record, at in zip(self.records, self._ended_at, strict=True)
            if at < self.loop.time() - LAG
        ]
        self.leases.away = True  # a process that is gone gives nothing back
        self._network.reset(self.host)
        await self.sip.stop()
        working = [task for _, task in self.registry._calls.values()]
        working += [each.asking for each in self.leases._endpoints.values() if each.asking is not None]
        for task in (*self._tasks, *working):
            task.cancel()
        await asyncio.gather(*self._tasks, *working, return_exceptions=True)
        await self.speech.close()

    async def stop(self) -> None:
        """In good order."""
        await self.registry.drain(0)
        await asyncio.sleep(100)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.leases.stop()
        await self.keeper.flush()
        await self.keeper.leave()
        await self.speech.close()
        await self.sip.stop()

    def check(self) -> None:
        """Nothing is left of its calls."""
        assert not self.errors, self.errors
        assert self.sip.user_agent.leg_count == 0, "legs are left"
        assert self.sip.user_agent.timer_count == 0, "timers are left"
        assert self.sip.user_agent.stray_count == 0, "requests wait"
        assert self.ports.in_use == 0, "media ports are left"
        assert self.health.in_use == 0, "agents' places are left"
        assert not any(self.counts.legs.values()), f"active legs: {self.counts.legs}"

    def _over(self, record: CallRecord) -> None:
        if self.alive:
            self.records.append(record)
            self._ended_at.append(self.loop.time())

    def _count(self, result: Result) -> None:
        self.results[result] += 1


async def _buried(owner: str) -> None: ...
