"""A fleet of gateways on virtual time: routes followed, places leased, lives told; nodes die, a region is
cut off.

Of each gateway runs what decides: `Follower` on the log of changes, `make_plan` on its view, `Leases` for
agents' places, `Heartbeat` for how many gateways there are. Calls are no more than the places that they hold.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, cast

from loadtests.fleet.redis_model import CacheOverWay, LedgerOverWay, RedisModel, RegistryOverWay, Way
from routing.cache import Change, encode
from routing.follower import Follower
from routing.heartbeat import Heartbeat
from routing.leases import Leases
from routing.models import Agent, Endpoint, Fallback, InboundRouting, PhoneNumber
from routing.nodes import NodeWords
from routing.plan import AgentDestination, Plan, make_plan
from routing.redis_clients import BACKGROUND_TIMEOUT, FOLLOW_TIMEOUT, HOT_TIMEOUT
from routing.share import LIFETIME
from tests.simulation.virtual_time import run

WAYS: Final = (0.0003, 0.035, 0.080)
"""Seconds to Redis, one way, from its own region, one across an ocean, and one at the other side of the
world."""

LAST_SECONDS: Final = 1.5
"""For what was changed before to be everywhere at the end."""


@dataclass(frozen=True, slots=True)
class Scale:
    """What is simulated.

    nodes: gateways, spread evenly over the regions. agents: each with one endpoint that takes `places` calls.
    load: calls that agents would have at a time, as a share of their places; talk: seconds of a call, mean.
    changes: a second. deaths: gateways that die in the second quarter. seconds: in all; the last region is
    cut off from Redis in the third quarter.
    """

    nodes: int
    agents: int
    places: int
    load: float = 1.2
    talk: float = 20.0
    changes: float = 5.0
    deaths: int = 10
    seconds: float = 80.0
    seed: int = 1


@dataclass(slots=True)
class Outcome:
    """What came of it.

    propagation: seconds, sorted, from a change's acceptance to each gateway that was not cut off.
    late: the same for those that were, after the cut. oversold: the most calls at an endpoint beyond its
    places, as
        a share of them, in peace, and during and shortly after the cut; bound: what it cannot exceed then.
    released: seconds after the deaths until the ledgers counted no dead gateway's place any more.
    commands: of Redis, a second; busy: of its thread, at the worst second; longest_wait: seconds.
    calls: by outcome. stale: gateways that lacked a change at the end that was older than `LAST_SECONDS`.
    """

    propagation: list[float] = field(default_factory=list)
    late: list[float] = field(default_factory=list)
    oversold_in_peace: float = 0.0
    oversold_in_cut: float = 0.0
    bound: float = 0.0
    released: float = 0.0
    commands: dict[str, float] = field(default_factory=dict)
    busy: float = 0.0
    longest_wait: float = 0.0
    calls: Counter[str] = field(default_factory=Counter)
    stale: int = 0


class _Counts:
    """A gateway's `RoutingObserver`."""

    def __init__(self, fleet: Fleet, way: Way) -> None:
        self._fleet = fleet
        self._way = way

    def lookup(self, source: str, result: str, seconds: float) -> None: ...

    def sync_error(self) -> None: ...

    def numbers_known(self, count: int) -> None: ...

    def propagated(self, seconds: float) -> None:
        self._fleet.propagated(self._way, seconds)


class Node:
    """One gateway."""

    def __init__(self, fleet: Fleet, name: str, way: Way) -> None:
        self.name = name
        self.held: Counter[str] = Counter()
        self._fleet = fleet
        loop = asyncio.get_running_loop()
        self.follower = Follower(
            cast("Any", CacheOverWay(way, BACKGROUND_TIMEOUT)),
            cast("Any", CacheOverWay(way, FOLLOW_TIMEOUT)),
            _Counts(fleet, way),
            on_loaded=lambda numbers, agents: None,
            on_error=lambda text: None,
            clock=loop.time,
            wall_clock=loop.time,
        )
        words = NodeWords(incarnation=name, version="0", started_at=0.0)
        self.heartbeat = Heartbeat(
            cast("Any", RegistryOverWay(way, HOT_TIMEOUT)), name, lambda: words, clock=loop.time
        )
        self.leases = Leases(
            LedgerOverWay(way, name, HOT_TIMEOUT),
            LedgerOverWay(way, name, BACKGROUND_TIMEOUT),
            lambda: self.heartbeat.neighbours.up if self.heartbeat.neighbours is not None else 1,
            loop.time,
        )
        self._dice = fleet.dice
        self._work = [fleet.spawn(each) for each in (self._follow(), self._beat(), self.leases.run())]
        self._calls: set[asyncio.Task[None]] = set()

    async def _follow(self) -> None:
        await asyncio.sleep(self._dice.uniform(0, 1))  # nobody starts a thousand gateways in one instant
        await self.follower.load(BACKGROUND_TIMEOUT)
        await self.follower.run()

    async def _beat(self) -> None:
        await asyncio.sleep(self._dice.uniform(0, 2))
        await self.heartbeat.run()

    def call(self, number: str) -> None:
        """Take a call."""
        task = self._fleet.spawn(self._call(number))
        self._calls.add(task)
        task.add_done_callback(self._calls.discard)

    async def _call(self, number: str) -> None:
        view = self.follower.view
        plan = make_plan(view.number(number), view, default_voicemail="Nobody is here.")
        if not isinstance(plan, Plan):
            self._fleet.outcome.calls["refused"] += 1
            return
        for destination in plan.destinations:
            if not isinstance(destination, AgentDestination):
                break
            endpoint = destination.agent.endpoints[0]
            place = await self.leases.take((destination.agent.id, endpoint.url), endpoint.max_calls or 1)
            if place is None:
                continue
            self.held[destination.agent.id] += 1
            self._fleet.taken(destination.agent.id)
            self._fleet.outcome.calls[destination.role] += 1
            try:
                await asyncio.sleep(self._dice.expovariate(1 / self._fleet.scale.talk))
            finally:
                self.held[destination.agent.id] -= 1
                self._fleet.ended(destination.agent.id)
            place.release()
            return
        self._fleet.outcome.calls["voicemail"] += 1

    def granted(self, agent: str) -> int:
        """Places at an agent that the ledger counts for this gateway."""
        return sum(each.share.granted for key, each in self.leases._endpoints.items() if key[0] == agent)

    def die(self) -> None:
        """Without a goodbye: its calls are gone, and nobody tells Redis."""
        for task in (*self._work, *self._calls):
            task.cancel()
        for endpoint in self.leases._endpoints.values():  # a process that dies sends nothing
            if endpoint.asking is not None:
                endpoint.asking.cancel()


class Fleet:
    """All gateways, their Redis, the changes, the calls."""

    def __init__(self, scale: Scale) -> None:
        self.scale = scale
        self.outcome = Outcome()
        self.dice = random.Random(scale.seed)
        self.redis = RedisModel()
        self._ways = [Way(self.redis, seconds) for seconds in WAYS]
        self._cut_over = float("inf")
        self._cut_began = float("inf")
        self._tasks: set[asyncio.Task[Any]] = set()
        self._in_use: Counter[str] = Counter()
        self._agents = [f"agt_{number}" for number in range(scale.agents)]
        self._numbers = [f"+1415{number:07d}" for number in range(scale.agents)]

    def spawn(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """A task that ends with the simulation at the latest."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    # What gateways tell.

    def propagated(self, way: Way, seconds: float) -> None:
        """A change became routable somewhere."""
        now = self.redis.now
        # Who was cut off notices that it is not any more when its last question has run out.
        over = self._cut_over + BACKGROUND_TIMEOUT + 1
        cut_off = way is self._ways[-1] and now - seconds < over and now > self._cut_began
        (self.outcome.late if cut_off else self.outcome.propagation).append(seconds)

    def taken(self, agent: str) -> None:
        """A call is with an agent."""
        self._in_use[agent] += 1
        beyond = self._in_use[agent] / self.scale.places - 1
        # Calls that were taken without Redis may last; what is beyond the places a while after is no peace.
        if self._cut_began <= self.redis.now < self._cut_over + 4 * self.scale.talk:
            self.outcome.oversold_in_cut = max(self.outcome.oversold_in_cut, beyond)
        else:
            self.outcome.oversold_in_peace = max(self.outcome.oversold_in_peace, beyond)

    def ended(self, agent: str) -> None:
        """And is no more."""
        self._in_use[agent] -= 1

    # What happens.

    def _publish_all(self) -> None:
        changes: list[Change] = []
        for position, (agent, number) in enumerate(zip(self._agents, self._numbers, strict=True)):
            endpoint = Endpoint(url=f"sip:{agent}@agents.invalid", max_calls=self.scale.places)
            fallback = self._agents[(position + 1) % len(self._agents)]
            routing = InboundRouting(agent_id=agent, fallback=Fallback(agent_id=fallback))
            changes.append(Change("agent", agent, encode(Agent(id=agent, name=agent, endpoints=(endpoint,)))))
            changes.append(
                Change(
                    "number",
                    number,
                    encode(PhoneNumber(id=f"phn_{position}", phone_number=number, inbound_routing=routing)),
                )
            )
        self.redis.write(changes)

    async def _change(self) -> None:
        while True:
            await asyncio.sleep(self.dice.expovariate(self.scale.changes))
            number = self.dice.choice(self._numbers)
            value = self.redis.records["number"][number]
            self.redis.write([Change("number", number, value)])

    async def _place_calls(self, nodes: Sequence[Node], dead: set[Node]) -> None:
        rate = self.scale.load * self.scale.agents * self.scale.places / self.scale.talk
        while True:
            await asyncio.sleep(self.dice.expovariate(rate))
            node = self.dice.choice(nodes)
            if node not in dead:
                node.call(self.dice.choice(self._numbers))

    async def _kill(self, nodes: Sequence[Node], dead: set[Node]) -> None:
        victims = self.dice.sample(list(nodes), self.scale.deaths)
        for victim in victims:
            victim.die()
            dead.add(victim)
        names = {victim.name for victim in victims}
        self.outcome.released = max(
            (
                until - self.redis.now
                for ledger in self.redis.ledgers.values()
                for name, (places, _, until) in ledger.owners.items()
                if places and name in names
            ),
            default=0.0,
        )

    async def _watch_redis(self) -> None:
        while True:
            before = self.redis.busy
            await asyncio.sleep(1)
            if self.redis.now > 5:  # when all start, it is busy
                self.outcome.busy = max(self.outcome.busy, self.redis.busy - before)

    async def _cut(self, nodes: Sequence[Node], dead: set[Node]) -> None:
        far = self._ways[-1]
        cut_off = [node for node in nodes[len(WAYS) - 1 :: len(WAYS)] if node not in dead]
        part = -(-self.scale.places // (len(nodes) - len(dead)))
        # Of who is cut off, each keeps what it has, or takes its part; the others get all in the end.
        self.outcome.bound = max(
            sum(max(part, node.held[agent], node.granted(agent)) for node in cut_off) / self.scale.places
            for agent in self._agents
        )
        far.cut, self._cut_began = True, self.redis.now
        await asyncio.sleep(self.scale.seconds / 4)
        far.cut, self._cut_over = False, self.redis.now

    async def run(self) -> Outcome:
        """The whole."""
        scale = self.scale
        self._publish_all()
        nodes = [Node(self, f"n{number}", self._ways[number % len(WAYS)]) for number in range(scale.nodes)]
        dead: set[Node] = set()
        await asyncio.sleep(4)
        self.redis.longest_wait = 0.0
        self.redis.served.clear()
        for each in (self._change(), self._place_calls(nodes, dead), self._watch_redis()):
            self.spawn(each)
        await asyncio.sleep(scale.seconds / 4 + LIFETIME)
        self.spawn(self._kill(nodes, dead))
        await asyncio.sleep(scale.seconds / 4)
        await self._cut(nodes, dead)
        await asyncio.sleep(scale.seconds / 4 - LAST_SECONDS)
        newest = len(self.redis.log)
        await asyncio.sleep(LAST_SECONDS)
        seconds = self.redis.now - 4
        self.outcome.commands = {name: count / seconds for name, count in self.redis.served.items()}
        self.outcome.longest_wait = self.redis.longest_wait
        self.outcome.stale = sum(node.follower.view.revision < newest for node in nodes if node not in dead)
        self.outcome.propagation.sort()
        self.outcome.late.sort()
        await self._end()
        return self.outcome

    async def _end(self) -> None:
        while self._tasks:
            tasks = list(self._tasks)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        left = asyncio.all_tasks() - {cast("asyncio.Task[Any]", asyncio.current_task())}
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)


def simulate(scale: Scale) -> Outcome:
    """Run it in virtual time."""

    async def main() -> Outcome:
        return await Fleet(scale).run()

    return run(main())


def at(sorted_seconds: Sequence[float], share: float) -> float:
    """A percentile; 0 of nothing."""
    return (
        sorted_seconds[min(len(sorted_seconds) - 1, int(share * len(sorted_seconds)))]
        if sorted_seconds
        else 0.0
    )
