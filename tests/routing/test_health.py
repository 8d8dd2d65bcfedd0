"""Which endpoints are tried, in which order, and how they come back."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from routing.circuit import OPEN_SECONDS, OPEN_SECONDS_MAX
from routing.health import EndpointHealth
from routing.leases import Leases
from routing.models import Agent, Endpoint
from routing.share import Claim


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def health(clock: Clock) -> EndpointHealth:
    return EndpointHealth(clock, random.Random(7), threshold=3, probe_interval=10.0)


def agent(*endpoints: Endpoint) -> Agent:
    return Agent("agt", "Agent", endpoints)


ONE = Endpoint("sip:one@h")


async def fail(health: EndpointHealth, of: Agent, times: int = 1) -> None:
    for _ in range(times):
        lease = await health.acquire(of, of.endpoints[0])
        assert lease is not None
        lease.failed("503")
        lease.release()


def test_lower_priority_numbers_come_first(health: EndpointHealth) -> None:
    backup, main = Endpoint("sip:backup@h", priority=20), Endpoint("sip:main@h", priority=10)
    assert all(health.order(agent(backup, main)) == [main, backup] for _ in range(20))


def test_equal_priorities_share_by_weight(health: EndpointHealth) -> None:
    heavy, light = Endpoint("sip:heavy@h", weight=30), Endpoint("sip:light@h", weight=10)
    first = Counter(health.order(agent(heavy, light))[0].url for _ in range(4000))
    assert 0.70 < first[heavy.url] / 4000 < 0.80


async def test_max_calls_is_kept_and_given_back(health: EndpointHealth) -> None:
    only = Endpoint("sip:a@h", max_calls=2)
    of = agent(only)
    leases = [await health.acquire(of, only), await health.acquire(of, only)]
    assert await health.acquire(of, only) is None
    assert health.order(of) == []
    assert health.obstacle(of, only) == "full: 2 of 2 calls"
    assert health.calls("agt") == health.in_use == 2
    for lease in leases:
        assert lease is not None
        lease.release()
        lease.release()  # idempotent
    assert health.in_use == 0
    assert health.order(of) == [only]


async def test_a_circuit_opens_after_failures_in_a_row_and_one_trial_closes_it(
    health: EndpointHealth, clock: Clock
) -> None:
    of = agent(ONE)
    await fail(health, of, 3)
    assert health.order(of) == []
    assert health.obstacle(of, ONE) == "down: 503"
    clock.now += OPEN_SECONDS
    trial = await health.acquire(of, ONE)
    assert trial is not None
    assert await health.acquire(of, ONE) is None  # half-open: one at a time
    trial.succeeded()
    trial.release()
    assert health.order(of) == [ONE]


async def test_a_success_in_between_forgets_the_failures(health: EndpointHealth) -> None:
    of = agent(ONE)
    await fail(health, of, 2)
    lease = await health.acquire(of, ONE)
    assert lease is not None
    lease.succeeded()
    lease.release()
    await fail(health, of, 2)
    assert health.order(of) == [ONE]


async def test_each_failed_trial_doubles_the_rest_up_to_a_limit(health: EndpointHealth, clock: Clock) -> None:
    of = agent(ONE)
    await fail(health, of, 3)
    rest = OPEN_SECONDS
    for _ in range(8):
        clock.now += rest
        await fail(health, of)
        rest = min(rest * 2, OPEN_SECONDS_MAX)
        clock.now += rest - 0.01
        assert health.order(of) == []
        clock.now += 0.01
        assert health.order(of) == [ONE]


async def test_a_trial_whose_caller_left_lets_another_follow(health: EndpointHealth, clock: Clock) -> None:
    of = agent(ONE)
    await fail(health, of, 3)
    clock.now += OPEN_SECONDS
    trial = await health.acquire(of, ONE)
    assert trial is not None
    trial.release()
    assert await health.acquire(of, ONE) is not None


async def test_probes_are_due_once_an_interval_and_close_the_circuit(
    health: EndpointHealth, clock: Clock
) -> None:
    of = agent(ONE)
    assert health.due_probes([of]) == []  # spread over the first interval
    clock.now += 10
    assert health.due_probes([of]) == [(of, ONE)]
    assert health.due_probes([of]) == []  # under way
    await fail(health, of, 3)
    health.probed(of, ONE, alive=True)
    assert health.order(of)[0] is not None
    assert health.obstacle(of, ONE) is None
    clock.now += 10
    for _ in range(3):
        assert health.due_probes([of]) == [(of, ONE)]
        health.probed(of, ONE, alive=False, reason="OPTIONS: timeout")
        clock.now += 10
    assert health.obstacle(of, ONE) in {None, "down: OPTIONS: timeout"}
    [status] = [status for status in health.snapshot() if status.url == ONE.url]
    assert status.reason == "OPTIONS: timeout"


class Everywhere:
    """Places of all gateways, of which there are so many calls."""

    def __init__(self, calls: int = 0) -> None:
        self.calls = calls
        self.meanwhile: Callable[[], None] = lambda: None

    async def take(self, key: tuple[str, str], limit: int) -> Everywhere | None:
        self.meanwhile()
        return self.hold(key, limit) if self.calls < limit else None

    def hold(self, key: tuple[str, str], limit: int) -> Everywhere:
        self.calls += 1
        return self

    def release(self) -> None:
        self.calls -= 1

    def total(self, key: tuple[str, str]) -> int | None:
        return self.calls


async def test_places_are_those_of_all_gateways(clock: Clock) -> None:
    everywhere = Everywhere(1)
    health = EndpointHealth(clock, random.Random(7), places=everywhere)
    only = Endpoint("sip:a@h", max_calls=2)
    of = agent(only)
    lease = await health.acquire(of, only)
    assert lease is not None
    assert await health.acquire(of, only) is None
    assert health.order(of) == [only], "what is full elsewhere may be free by now: a call asks"
    assert health.obstacle(of, only) == "full: 2 of 2 calls, on all gateways"
    lease.release()
    lease.release()
    assert everywhere.calls == 1
    held = [health.hold(of, only) for _ in range(3)]
    assert (everywhere.calls, health.calls("agt")) == (4, 3)
    for each in held:
        each.release()
    assert (everywhere.calls, health.calls("agt")) == (1, 0)
    unlimited = Endpoint("sip:b@h")
    assert await health.acquire(agent(unlimited), unlimited) is not None
    assert everywhere.calls == 1, "who has no limit asks nobody"


async def test_a_place_that_is_of_no_use_any_more_is_given_back(clock: Clock) -> None:
    everywhere = Everywhere()
    health = EndpointHealth(clock, random.Random(7), places=everywhere, threshold=1)
    only = Endpoint("sip:a@h", max_calls=2)
    everywhere.meanwhile = lambda: health.failed(("agt", only.url), "503")
    assert await health.acquire(agent(only), only) is None
    assert everywhere.calls == 0


def test_among_equals_the_one_with_more_free_places_is_more_likely(clock: Clock) -> None:
    health = EndpointHealth(clock, random.Random(7), places=Everywhere(30))
    roomy, tight = Endpoint("sip:roomy@h", max_calls=100), Endpoint("sip:tight@h", max_calls=40)
    first = Counter(health.order(agent(roomy, tight))[0].url for _ in range(4000))
    assert 0.70 < first[roomy.url] / 4000 < 0.78, "70 of 100 against 10 of 40"


async def test_endpoints_are_remembered_up_to_a_limit(
    health: EndpointHealth, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("routing.health.MAX_ENDPOINTS", 10)
    for number in range(50):
        endpoint = Endpoint(f"sip:{number}@h")
        lease = await health.acquire(agent(endpoint), endpoint)
        assert lease is not None
        lease.release()
    assert len(health.snapshot()) <= 10


def test_the_own_region_comes_first_within_a_priority_and_others_take_over(clock: Clock) -> None:
    near, far = Endpoint("sip:near@h", region="eu", weight=1), Endpoint("sip:far@h", region="us", weight=99)
    anywhere, first = Endpoint("sip:any@h", weight=1), Endpoint("sip:first@h", region="us", priority=1)
    health = EndpointHealth(clock, random.Random(7), region="eu", threshold=1)
    for _ in range(50):
        order = health.order(agent(far, near, anywhere, first))
        assert order[0] == first, "priority counts more than region"
        assert order[3] == far, "region counts more than weight"
    health.failed(("agt", near.url), "timeout")
    assert health.order(agent(far, near)) == [far], "a region that is down is served by the others"
    nowhere = EndpointHealth(clock, random.Random(7))
    first_ones = Counter(nowhere.order(agent(far, near))[0].url for _ in range(200))
    assert first_ones[far.url] > 150, "a gateway without a region knows of no distance"


async def test_a_region_that_is_cut_off_goes_on_with_its_own_agents(clock: Clock) -> None:
    """Redis is in the other region: nothing of it is reached, and no call waits for it twice."""
    ledger = Unreachable()
    leases = Leases(ledger, ledger, lambda: 4, clock)
    health = EndpointHealth(clock, random.Random(7), places=leases, region="eu")
    near = Endpoint("sip:near@h", region="eu", max_calls=8)
    far = Endpoint("sip:far@h", region="us", max_calls=8)
    of = agent(far, near)
    taken = []
    for _ in range(3):
        for endpoint in health.order(of):
            lease = await health.acquire(of, endpoint)
            if lease is not None:
                taken.append(endpoint)
                break
    assert taken == [near, near, far], "its part of its own agents, then the others"
    assert ledger.asked == 1


class Unreachable:
    """A ledger beyond the cut."""

    asked = 0

    async def claim(self, tag: str, claim: Claim) -> tuple[int, int]:
        self.asked += 1
        raise RedisConnectionError("no route to host")
