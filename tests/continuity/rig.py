"""Two gateways, one carrier and one agent in virtual time, and a Redis that tests take away."""

from __future__ import annotations

import asyncio
import functools
import random
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from gateway.sip.events import AnswerReceived, Event, ReinviteReceived
from gateway.sip.inbound_leg import InboundLeg
from gateway.sip.leg import Leg
from gateway.sip.message import Request, Response, parse_message
from gateway.sip.sdp import answer_offer, make_offer
from routing.models import Agent, Endpoint, Fallback, InboundRouting, PhoneNumber
from tests.simulation import virtual_time
from tests.simulation.kept_calls import SimulatedRedis
from tests.simulation.network import Faults, SimulatedNetwork
from tests.simulation.nodes import Directory, Node
from tests.simulation.peer import PORT, Peer

NUMBER = "+14155550100"
FIRST, SECOND = "10.0.0.1", "10.0.0.2"
KEPT = 1.5
"""Seconds until Redis has heard of a call."""

CLAIMED = 11.0
"""Seconds until another node has the calls of one that died: its lease, the grace, and a look."""


def in_virtual_time(test: Callable[[Rig], Awaitable[None]]) -> Callable[[], None]:
    """Run a test of a `Rig`; at its end nothing may be left."""

    @functools.wraps(test)
    def run() -> None:
        async def story() -> None:
            with tempfile.TemporaryDirectory() as directory:
                rig = Rig(Path(directory))
                await rig.start()
                await test(rig)
                await rig.finish()

        virtual_time.run(story())

    del run.__wrapped__  # type: ignore[attr-defined]  # else pytest takes its parameter for a fixture
    return run


class End:
    """A carrier's or an agent's user agent: what it has heard, and its leg."""

    def __init__(self, rig: Rig, host: str) -> None:
        self.host = host
        self.peer = Peer(rig.network, host, self._invited)
        self.events: list[Event] = []
        self.heard: list[Request | Response] = []
        self.legs: list[Leg] = []
        rig.network.taps.append(self._arrived)

    @property
    def leg(self) -> Leg:
        return self.legs[-1]

    def kinds(self) -> list[str]:
        return [type(event).__name__ for event in self.events]

    def requests(self, method: str) -> list[Request]:
        return [each for each in self.heard if isinstance(each, Request) and each.method == method]

    def sdp(self, version: int = 1) -> bytes:
        return make_offer(self.host, 6000, session_id=9, version=version)

    def listen(self, event: Event) -> None:
        self.events.append(event)
        if isinstance(event, AnswerReceived):
            self.legs.append(event.leg)
        elif isinstance(event, ReinviteReceived):
            event.leg.answer_reinvite(self._answer(event.request.body))

    def _invited(self, leg: InboundLeg) -> None:
        leg.listener = self.listen
        self.legs.append(leg)
        leg.answer(self._answer(leg.request.body))

    def _answer(self, offer: bytes) -> bytes:
        return answer_offer(offer, self.host, 6000, session_id=9).sdp

    def _arrived(self, source: str, target: str, data: bytes) -> None:
        if target == self.host:
            self.heard.append(parse_message(data))


class Rig:
    """Everybody."""

    def __init__(self, files: Path) -> None:
        self.files = files
        self.network = SimulatedNetwork(random.Random(1), Faults(delay=(0.001, 0.001)))
        self.redis = SimulatedRedis(random.Random(2))
        self.directory = Directory()
        self.nodes: list[Node] = []

    async def start(self) -> None:
        self.first = await self.node("first", FIRST)
        self.second = await self.node("second", SECOND)
        self.carrier, self.agent, self.fallback = (
            End(self, host) for host in ("10.2.0.1", "10.1.0.1", "10.1.0.2")
        )
        for end in (self.carrier, self.agent, self.fallback):
            await end.peer.start()
        self.line()

    async def node(self, name: str, host: str, dead: list[str] | None = None, *, ahead: float = 0.0) -> Node:
        """ahead: of all other clocks, seconds."""
        node = Node(self.network, self.redis, self.directory, self.files, name, host, dead or [], ahead)
        await node.start()
        self.nodes.append(node)
        return node

    def line(
        self, parameters: str = ";media=direct", *, fallback: bool = False, max_calls: int | None = None
    ) -> None:
        """How the number's agent is reached."""
        for name, end in (("agt_1", self.agent), ("agt_2", self.fallback)):
            endpoints = (Endpoint(f"sip:bot@{end.host}:{PORT}{parameters}", max_calls=max_calls),)
            self.directory.agents[name] = Agent(name, name, endpoints)
        routing = InboundRouting(agent_id="agt_1", fallback=Fallback("agt_2") if fallback else None)
        self.directory.numbers[NUMBER] = PhoneNumber("phn_1", NUMBER, inbound_routing=routing)

    async def call(self, at: str = FIRST, **options: Any) -> None:
        """The carrier calls the number at a gateway; the call is up, and Redis knows."""
        if options:
            self.line(**options)
        self.carrier.peer.agent.invite(
            f"sip:{NUMBER}@{at}:{PORT}",
            self.carrier.peer.flow(at, PORT),
            from_=f"<sip:+14155550123@{self.carrier.host}>",
            to=f"<sip:{NUMBER}@{at}>",
            body=self.carrier.sdp(),
            listener=self.carrier.listen,
        )
        await asyncio.sleep(KEPT)

    async def finish(self) -> None:
        await asyncio.gather(*(node.stop() for node in self.nodes if node.alive))
        await asyncio.sleep(200)
        for node in self.nodes:
            if node.alive:
                node.check()
        assert self.redis.records == 0


__all__ = ["CLAIMED", "FIRST", "KEPT", "NUMBER", "SECOND", "End", "Rig", "in_virtual_time"]
