"""Calls that want places, on virtual time, with a ledger that is slow, loses answers, or is away."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from routing.health import EndpointHealth
from routing.leases import LAST_CLAIMS_SECONDS, TICK, WATCHED_SECONDS, Leases, Place
from routing.ledger import Ledger, endpoint_tag
from routing.models import Agent, Endpoint
from routing.redis_clients import HOT_TIMEOUT, connect
from routing.share import LIFETIME, RENEWAL, Claim
from tests.routing.conftest import RedisServer
from tests.routing.ledger_model import LedgerModel
from tests.simulation import virtual_time

KEY = ("agt", "sip:a@h")


class Redis:
    """The ledger at some distance."""

    def __init__(self, ledger: LedgerModel, owner: str) -> None:
        self.ledger, self.owner = ledger, owner
        self.delay = 0.001
        self.away = False
        self.lost = 0.0
        """Share of the answers that never come."""
        self.rng = random.Random(1)
        self.asked = 0

    async def claim(self, tag: str, claim: Claim) -> tuple[int, int]:
        self.asked += 1
        await asyncio.sleep(self.delay)
        if self.away:
            raise RedisConnectionError("refused")
        self.ledger.now = asyncio.get_running_loop().time()
        answer = self.ledger.claim(self.owner, claim)
        if self.rng.random() < self.lost:
            await asyncio.sleep(60)
        return answer


class Node:
    def __init__(self, ledger: LedgerModel, owner: str, gateways: int = 1) -> None:
        self.redis = Redis(ledger, owner)
        self.answers = Counter[str]()
        self.told = list[str]()
        self.leases = Leases(
            self.redis,
            self.redis,
            lambda: gateways,
            asyncio.get_running_loop().time,
            on_asked=lambda answer: self.answers.update([answer]),
            on_away=self.told.append,
            on_back=lambda: self.told.append("back"),
        )
        self.running = asyncio.create_task(self.leases.run())

    async def take(self, limit: int = 2) -> Place | None:
        return await self.leases.take(KEY, limit)

    async def kill(self) -> None:
        """It ends without a word."""
        tasks = [each.asking for each in self.leases._endpoints.values() if each.asking] + [self.running]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def stop(self) -> None:
        self.running.cancel()
        await asyncio.gather(self.running, return_exceptions=True)
        await self.leases.stop()


def virtually(test: Callable[[], Awaitable[None]]) -> Callable[[], None]:
    """Run a test in virtual time."""

    def run() -> None:
        virtual_time.run(test())  # type: ignore[arg-type]  # each is a coroutine function

    run.__name__, run.__doc__ = getattr(test, "__name__", ""), test.__doc__
    return run


@virtually
async def test_a_limit_holds_across_nodes_and_places_come_back() -> None:
    ledger = LedgerModel()
    one, two = Node(ledger, "one"), Node(ledger, "two")
    first, second = await one.take(), await two.take()
    assert first is not None
    assert second is not None
    assert await one.take() is None
    assert await two.take() is None
    first.release()
    await asyncio.sleep(0.5)
    third = await two.take()
    assert third is not None
    assert two.leases.total(KEY) == 2
    assert two.leases.totals() == [("agt", 2)]
    third.release()
    second.release()
    await asyncio.sleep(0.1)
    assert ledger.total == 0
    assert dict(one.answers + two.answers) == {"granted": 3, "full": 2}
    await one.stop()
    await two.stop()


@virtually
async def test_a_burst_shares_questions_and_a_full_endpoint_is_not_asked_for_each_call() -> None:
    ledger = LedgerModel()
    node = Node(ledger, "one")
    places = await asyncio.gather(*(node.take(50) for _ in range(80)))
    assert sum(place is not None for place in places) == 50
    assert node.redis.asked < 5
    asked = node.redis.asked
    assert [await node.take(50) for _ in range(30)] == [None] * 30
    assert node.redis.asked == asked
    for place in places:
        if place is not None:
            place.release()
    await asyncio.sleep(1)
    assert ledger.total == 0
    await node.stop()


@virtually
async def test_a_redis_that_is_away_costs_one_call_a_moment_and_the_others_nothing() -> None:
    ledger = LedgerModel()
    node = Node(ledger, "one", gateways=3)
    loop = asyncio.get_running_loop()
    node.redis.delay, node.redis.away = 10.0, True  # nobody answers at all
    began = loop.time()
    first = await node.take(4)
    assert loop.time() - began == pytest.approx(HOT_TIMEOUT)
    began = loop.time()
    second = await node.take(4)
    assert await node.take(4) is None, "two of four are our part, with three gateways"
    assert loop.time() == began
    assert node.told == ["TimeoutError"]
    assert ledger.total == 0
    node.redis.delay, node.redis.away = 0.001, False
    await asyncio.sleep(30)  # what waits for the answer that does not come gives up
    assert node.told == ["TimeoutError", "back"]
    assert ledger.total == 2, "what was taken alone is known now"
    third = await node.take(4)
    for place in (first, second, third):
        assert place is not None
        place.release()
    await asyncio.sleep(1)
    assert ledger.total == 0
    await node.stop()


@virtually
async def test_a_slow_redis_is_kept_up_to_date_and_no_call_waits_for_it() -> None:
    ledger = LedgerModel()
    node = Node(ledger, "one", gateways=2)
    place = await node.take(4)
    node.redis.delay = 0.5
    assert await node.take(4) is not None
    for _ in range(20):
        await asyncio.sleep(1)
    assert node.told == ["TimeoutError"], "half a second is no answer for a call: it is not back"
    assert ledger.owners["one"][0] == 2
    began = asyncio.get_running_loop().time()
    assert await node.take(4) is None
    assert asyncio.get_running_loop().time() == began
    assert place is not None
    place.release()
    await asyncio.sleep(2)
    assert ledger.owners["one"][0] == 1
    await node.stop()


@virtually
async def test_the_places_of_a_node_that_died_are_free_again() -> None:
    ledger = LedgerModel()
    dead, other = Node(ledger, "dead"), Node(ledger, "other")
    assert await dead.take(1) is not None
    await asyncio.sleep(3 * RENEWAL)
    assert await other.take(1) is None, "it is kept for as long as its node lives"
    await dead.kill()
    await asyncio.sleep(LIFETIME + TICK)
    place = await other.take(1)
    assert place is not None
    place.release()
    await other.stop()


@virtually
async def test_calls_that_are_cancelled_while_they_wait_leave_nothing() -> None:
    ledger = LedgerModel()
    node = Node(ledger, "one")
    for moment in (0.0, 0.0005, 0.001, 0.0010001, 0.002):
        taking = asyncio.create_task(node.take(5))
        await asyncio.sleep(moment)
        taking.cancel()
        (outcome,) = await asyncio.gather(taking, return_exceptions=True)
        if isinstance(outcome, Place):
            outcome.release()
    await asyncio.sleep(1)
    assert ledger.total == 0
    assert node.leases._endpoints[KEY].share.held == 0
    await node.stop()


@virtually
async def test_a_call_that_was_taken_over_counts() -> None:
    ledger = LedgerModel()
    node = Node(ledger, "one")
    held = [node.leases.hold(KEY, 1) for _ in range(2)]
    await asyncio.sleep(0.1)
    assert ledger.total == 2
    assert await node.take(1) is None
    for place in held:
        place.release()
    await node.stop()
    assert ledger.total == 0, "given back on the way out"


@virtually
async def test_a_stop_does_not_wait_for_a_redis_that_hangs_and_nobody_is_remembered_for_ever() -> None:
    ledger = LedgerModel()
    node = Node(ledger, "one")
    for number in range(5):
        place = await node.leases.take(("agt", f"sip:{number}@h"), 1)
        assert place is not None
        place.release()
    await asyncio.sleep(WATCHED_SECONDS + 2 * RENEWAL)
    assert len(node.leases._endpoints) == 1
    assert node.leases.totals() == []
    await node.take()
    node.redis.delay = 100.0
    began = asyncio.get_running_loop().time()
    await node.stop()
    assert asyncio.get_running_loop().time() - began <= LAST_CLAIMS_SECONDS


async def storm(seed: int) -> None:
    """Nodes that come, go and are cut off under calls: never beyond the bound, and nothing is left."""
    rng, ledger = random.Random(seed), LedgerModel()
    limit, count = rng.choice((1, 3, 8)), rng.choice((1, 2, 4))
    nodes = [Node(ledger, f"n{number}", count) for number in range(count)]
    going = set[asyncio.Task[None]]()
    here = Counter[str]()
    cut_off = False

    async def call(node: Node) -> None:
        place = await node.take(limit)
        if place is None:
            return
        here[node.redis.owner] += 1
        part = -(-limit // count)
        excess = count * max(part, limit) if cut_off else 0
        assert here.total() <= limit + excess
        try:
            await asyncio.sleep(rng.expovariate(0.3))
        finally:
            here[node.redis.owner] -= 1
            place.release()

    for _ in range(60):
        node = rng.choice(nodes)
        what = rng.random()
        if what < 0.75:
            going.add(asyncio.create_task(call(node)))
        elif what < 0.85:
            node.redis.away = not node.redis.away
            cut_off = True
        elif what < 0.92:
            node.redis.delay = rng.choice((0.001, 0.05, 0.5, 20.0))
            cut_off = cut_off or node.redis.delay > HOT_TIMEOUT
        else:
            node.redis.lost = rng.choice((0.0, 0.0, 0.5))
            cut_off = cut_off or bool(node.redis.lost)
        await asyncio.sleep(rng.expovariate(4))
    for node in nodes:
        node.redis.away, node.redis.delay, node.redis.lost = False, 0.001, 0.0
    await asyncio.gather(*going)
    await asyncio.sleep(2 * LIFETIME + 70)  # the longest wait for an answer that was lost
    ledger.expire()
    assert ledger.total == 0, f"seed {seed}"
    for node in nodes:
        assert not node.leases.away
        assert all(each.share.held == 0 for each in node.leases._endpoints.values())
        await node.stop()


def test_storms() -> None:
    for seed in range(60):
        virtual_time.run(storm(seed))


async def test_two_gateways_on_a_real_redis_share_an_agent_fairly_and_never_oversell(
    redis: RedisServer,
) -> None:
    agent = Agent("agt", "Agent", (Endpoint("sip:a@h", max_calls=6), Endpoint("sip:b@h", max_calls=6)))
    loop = asyncio.get_running_loop()
    clients = [connect(redis.url, HOT_TIMEOUT) for _ in range(2)]
    shared = [
        Leases(Ledger(client, name), Ledger(client, name), lambda: 2, loop.time)
        for client, name in zip(clients, ("one#a", "two#b"), strict=True)
    ]
    gateways = [EndpointHealth(loop.time, random.Random(5), places=leases) for leases in shared]
    here = Counter[str]()
    full = 0

    async def call(health: EndpointHealth) -> None:
        nonlocal full
        for endpoint in health.order(agent):
            lease = await health.acquire(agent, endpoint)
            if lease is not None:
                here[endpoint.url] += 1
                assert here[endpoint.url] <= 6
                await asyncio.sleep(0.01)
                here[endpoint.url] -= 1
                lease.release()
                return
        full += 1

    await asyncio.gather(*(call(gateways[number % 2]) for number in range(100)))
    assert full > 0, "more came than there were places"
    assert sum(here.values()) == 0
    for leases in shared:
        await leases.stop()
    tags = [endpoint_tag("agt", endpoint.url) for endpoint in agent.endpoints]
    for tag in tags:
        assert await Ledger(clients[0], "other").claim(tag, Claim(1, 0, 0, 6, 0.0)) == (0, 0)
    for client in clients:
        await client.aclose()
