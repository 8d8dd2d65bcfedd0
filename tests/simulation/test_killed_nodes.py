"""Gateways that are killed in the middle of calls, in virtual time: nobody is told twice, nothing is left."""

from __future__ import annotations

import asyncio
import random
import tempfile
from collections import Counter, defaultdict
from pathlib import Path

from gateway.sip.events import AnswerReceived, Event, HungUp, LegEnded, ReinviteReceived
from gateway.sip.extensions import Extensions
from gateway.sip.inbound_leg import InboundLeg
from gateway.sip.leg import Leg
from gateway.sip.message import Response, parse_message
from gateway.sip.sdp import answer_offer, make_offer
from routing.models import Agent, Endpoint, InboundRouting, PhoneNumber
from tests.simulation import virtual_time
from tests.simulation.kept_calls import SimulatedRedis
from tests.simulation.network import Faults, SimulatedNetwork
from tests.simulation.nodes import Directory, Node
from tests.simulation.peer import PORT, Peer

SEEDS = range(40)
CALLERS = 6
FIRST, SECOND = "10.0.0.1", "10.0.0.2"
ENDS_BY = 150.0


class End:
    """One side of a call: a carrier's or an agent's user agent, which does what its seed tells."""

    def __init__(self, network: SimulatedNetwork, host: str, rng: random.Random) -> None:
        self.rng = rng
        self.host = host
        self.legs: list[Leg] = []
        self.ended: Counter[str] = Counter()
        timer = Extensions(session_expires=rng.choice((0, 90)))
        self.peer = Peer(network, host, self._invited, extensions=timer)
        self._loop = network.loop

    def sdp(self) -> bytes:
        return make_offer(self.host, 6000, session_id=9)

    def hang_up_later(self, leg: Leg) -> None:
        """At some time, perhaps while nobody is there to hear it."""
        self._loop.call_later(self.rng.uniform(2.0, 80.0), self._hang_up, leg)

    def change_later(self, leg: Leg) -> None:
        if self.rng.random() < 0.4:
            self._loop.call_later(self.rng.uniform(1.0, 40.0), self._change, leg)

    def listen(self, event: Event) -> None:
        match event:
            case AnswerReceived(leg=leg):
                self.legs.append(leg)
                self.hang_up_later(leg)
                self.change_later(leg)
            case ReinviteReceived(leg=leg, request=request):
                body = request.body
                leg.answer_reinvite(
                    answer_offer(body, self.host, 6000, session_id=9).sdp if body else self.sdp()
                )
            case HungUp():
                self.ended["told"] += 1
            case LegEnded():
                self.ended["said"] += 1

    def _invited(self, leg: InboundLeg) -> None:
        leg.listener = self.listen
        self.legs.append(leg)
        answer = answer_offer(leg.request.body, self.host, 6000, session_id=9).sdp
        self._loop.call_later(self.rng.uniform(0.05, 1.0), leg.answer, answer)
        self.change_later(leg)

    def _hang_up(self, leg: Leg) -> None:
        if not leg.ended:
            leg.hangup()

    def _change(self, leg: Leg) -> None:
        if not leg.ended and leg.remote_tag and not leg.awaiting_ack:
            leg.reinvite(self.sdp())


class Story:
    """One seed: calls, a node that is killed, and who goes on with them."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.byes: dict[tuple[str, str], set[str]] = defaultdict(set)
        self.nodes: list[Node] = []
        self.results: Counter[str] = Counter()

    async def run(self) -> None:
        loop, rng = asyncio.get_running_loop(), self.rng
        faults = rng.choice((Faults(), Faults(), Faults(loss=0.05, duplication=0.05, delay=(0.005, 0.1))))
        self.network = SimulatedNetwork(rng, faults)
        self.network.taps.append(self._heard)
        self.redis = SimulatedRedis(random.Random(rng.random()))
        self.directory = Directory()
        with tempfile.TemporaryDirectory() as files:
            self.files = Path(files)
            first = await self._node("first", FIRST)
            await self._node("second", SECOND)
            ends = await self._calls()
            await asyncio.sleep(rng.uniform(2.0, 25.0))
            await self._disaster(first)
            await asyncio.sleep(max(0.0, ENDS_BY - loop.time()))
            left = [call.id for node in self.nodes if node.alive for call in node.registry]
            assert not left, f"calls that never end: {left}"
            await asyncio.gather(*(node.stop() for node in self.nodes if node.alive))
            await asyncio.sleep(100)
        self._check(ends)

    async def _disaster(self, node: Node) -> None:
        rng = self.rng
        if rng.random() < 0.2:  # Redis is away when it happens, or soon after
            self.redis.away = True
            asyncio.get_running_loop().call_later(rng.uniform(0.5, 20.0), self._redis_is_back)
        await node.kill()
        if rng.random() < 0.6:
            await asyncio.sleep(rng.uniform(0.3, 12.0))
            again = await self._node(node.name, node.host, [node.owner])
            if rng.random() < 0.3:
                await asyncio.sleep(rng.uniform(0.0, 5.0))
                await again.kill()

    def _redis_is_back(self) -> None:
        self.redis.away = False

    async def _node(self, name: str, host: str, dead: list[str] | None = None) -> Node:
        node = Node(self.network, self.redis, self.directory, self.files, name, host, dead or [])
        await node.start()
        self.nodes.append(node)
        return node

    async def _calls(self) -> list[End]:
        rng, ends = self.rng, []
        for number in range(CALLERS):
            agent = End(self.network, f"10.1.0.{number + 1}", random.Random(rng.random()))
            caller = End(self.network, f"10.2.0.{number + 1}", random.Random(rng.random()))
            ends += [caller, agent]
            await agent.peer.start()
            await caller.peer.start()
            suffix = rng.choice((";media=direct", ";media=direct", ""))
            tcp = rng.choice(("", "", ";transport=tcp"))
            url = f"sip:bot@{agent.host}:{PORT}{tcp}{suffix}"
            if rng.random() < 0.15:
                url = "sip:nobody@10.9.9.9"  # the voicemail has the call
            agent_id, dialled = f"agt_{number}", f"+1415555{number:04}"
            self.directory.agents[agent_id] = Agent(agent_id, agent_id, (Endpoint(url),))
            self.directory.numbers[dialled] = PhoneNumber(
                dialled, dialled, inbound_routing=InboundRouting(agent_id=agent_id)
            )
            asyncio.get_running_loop().call_later(rng.uniform(0.0, 10.0), self._dial, caller, dialled)
        return ends

    def _dial(self, caller: End, dialled: str) -> None:
        caller.peer.agent.invite(
            f"sip:{dialled}@{FIRST}:{PORT}",
            caller.peer.flow(FIRST, PORT),
            from_=f"<sip:+14155550123@{caller.host}>",
            to=f"<sip:{dialled}@{FIRST}>",
            body=caller.sdp(),
            listener=caller.listen,
        )

    def _heard(self, source: str, target: str, data: bytes) -> None:
        """Every goodbye of a gateway that an end has taken for one, by dialog and end.

        One that was said in the instant before a gateway died is said again, and answered 481: that it was
        said had not been kept.
        """
        if data.startswith(b"SIP/2.0 200 ") and target in {FIRST, SECOND}:
            response = parse_message(data)
            assert isinstance(response, Response)
            if response.cseq_method == "BYE":
                self.byes[response.call_id, source].add(response.branch)

    def _check(self, ends: list[End]) -> None:
        for (call_id, host), branches in self.byes.items():
            assert len(branches) == 1, f"dialog {call_id}: {host} was told goodbye {len(branches)} times"
        for end in ends:
            assert all(leg.ended for leg in end.legs), f"a leg of {end.host} is left"
        assert self.redis.records == 0, f"left in Redis: {dict(self.redis.calls)} {self.redis.dialogs}"
        for node in self.nodes:
            if node.alive:
                node.check()
            self.results.update(node.results)
        ids = [record.call_id for node in self.nodes for record in node.records]
        assert len(ids) == len(set(ids)), f"counted twice: {Counter(ids).most_common(2)}"


def run(seed: int) -> Counter[str]:
    """Run one seed; raises AssertionError if anything is not as it must be."""
    story = Story(seed)
    virtual_time.run(story.run())
    return story.results


def test_whoever_dies_every_call_ends_once():
    results: Counter[str] = Counter()
    for seed in SEEDS:
        try:
            results.update(run(seed))
        except Exception as error:
            raise AssertionError(f"seed {seed}: {error}") from error
    assert results["adopted"] > len(SEEDS) / 2
    assert results["ended"] > len(SEEDS) / 4
    assert results["lost"] == 0
