"""Which endpoints are tried, in which order, and how they come back."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from routing.circuit import OPEN_SECONDS, OPEN_SECONDS_MAX
from routing.health import EndpointHealth
from routing.models import Agent, Endpoint


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


def fail(health: EndpointHealth, of: Agent, times: int = 1) -> None:
    for _ in range(times):
        lease = health.acquire(of, of.endpoints[0])
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


def test_max_calls_is_kept_and_given_back(health: EndpointHealth) -> None:
    only = Endpoint("sip:a@h", max_calls=2)
    of = agent(only)
    leases = [health.acquire(of, only), health.acquire(of, only)]
    assert health.acquire(of, only) is None
    assert health.order(of) == []
    assert health.obstacle(of, only) == "full: 2 of 2 calls"
    assert health.calls("agt") == health.in_use == 2
    for lease in leases:
        assert lease is not None
        lease.release()
        lease.release()  # idempotent
    assert health.in_use == 0
    assert health.order(of) == [only]


def test_a_circuit_opens_after_failures_in_a_row_and_one_trial_closes_it(
    health: EndpointHealth, clock: Clock
) -> None:
    of = agent(ONE)
    fail(health, of, 3)
    assert health.order(of) == []
    assert health.obstacle(of, ONE) == "down: 503"
    clock.now += OPEN_SECONDS
    trial = health.acquire(of, ONE)
    assert trial is not None
    assert health.acquire(of, ONE) is None  # half-open: one at a time
    trial.succeeded()
    trial.release()
    assert health.order(of) == [ONE]


def test_a_success_in_between_forgets_the_failures(health: EndpointHealth) -> None:
    of = agent(ONE)
    fail(health, of, 2)
    lease = health.acquire(of, ONE)
    assert lease is not None
    lease.succeeded()
    lease.release()
    fail(health, of, 2)
    assert health.order(of) == [ONE]


def test_each_failed_trial_doubles_the_rest_up_to_a_limit(health: EndpointHealth, clock: Clock) -> None:
    of = agent(ONE)
    fail(health, of, 3)
    rest = OPEN_SECONDS
    for _ in range(8):
        clock.now += rest
        fail(health, of)
        rest = min(rest * 2, OPEN_SECONDS_MAX)
        clock.now += rest - 0.01
        assert health.order(of) == []
        clock.now += 0.01
        assert health.order(of) == [ONE]


def test_a_trial_whose_caller_left_lets_another_follow(health: EndpointHealth, clock: Clock) -> None:
    of = agent(ONE)
    fail(health, of, 3)
    clock.now += OPEN_SECONDS
    trial = health.acquire(of, ONE)
    assert trial is not None
    trial.release()
    assert health.acquire(of, ONE) is not None


def test_probes_are_due_once_an_interval_and_close_the_circuit(health: EndpointHealth, clock: Clock) -> None:
    of = agent(ONE)
    assert health.due_probes([of]) == []  # spread over the first interval
    clock.now += 10
    assert health.due_probes([of]) == [(of, ONE)]
    assert health.due_probes([of]) == []  # under way
    fail(health, of, 3)
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


def test_endpoints_are_remembered_up_to_a_limit(
    health: EndpointHealth, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("routing.health.MAX_ENDPOINTS", 10)
    for number in range(50):
        endpoint = Endpoint(f"sip:{number}@h")
        lease = health.acquire(agent(endpoint), endpoint)
        assert lease is not None
        lease.release()
    assert len(health.snapshot()) <= 10
