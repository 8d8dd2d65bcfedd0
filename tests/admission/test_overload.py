"""The control loop, driven by a model of a node in fake time: nothing here waits."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.admission.overload import MAX_RETRY_AFTER, MIN_SHARE, WINDOW, OverloadControl, fair_shares

TICK = 0.1
LIMIT = 0.2


class Node:
    """Takes `capacity` calls a second; what is more waits, and refusing costs a twentieth of taking."""

    def __init__(self, capacity: float) -> None:
        self.capacity = capacity
        self.control = OverloadControl(LIMIT, TICK)
        self.backlog = 0.0
        self.taken: dict[str, int] = {}
        self.asked: dict[str, int] = {}
        self.delays: list[float] = []
        self._credit: dict[str, float] = {}

    def run(self, seconds: float, **rates: float) -> None:
        self.taken, self.asked = dict.fromkeys(rates, 0), dict.fromkeys(rates, 0)
        for _ in range(round(seconds / TICK)):
            for name, rate in rates.items():
                self._credit[name] = self._credit.get(name, 0.0) + rate * TICK
                while self._credit[name] >= 1:
                    self._credit[name] -= 1
                    self.asked[name] += 1
                    if self.control.admits(name):
                        self.taken[name] += 1
                        self.backlog += 1
                        self.control.ended()
                    else:
                        self.control.refused()
                        self.backlog += 0.05
            self.backlog = max(0.0, self.backlog - self.capacity * TICK)
            self.delays.append(self.backlog / self.capacity)
            self.control.measured(self.delays[-1])

    def share(self, name: str) -> float:
        return self.taken[name] / self.asked[name]


def test_a_node_with_room_refuses_nobody() -> None:
    node = Node(400)
    node.run(60, twilio=300)
    assert node.share("twilio") == 1
    assert node.control.level < 0.1


def test_one_stall_is_no_overload() -> None:
    control = OverloadControl(LIMIT, TICK)
    for _ in range(20):
        for delay in (0.0, *[5.0] * (WINDOW - 1)):
            control.measured(delay)
            assert not control.shedding
    control.measured(5.0)
    assert control.shedding


def test_five_times_its_capacity_keeps_a_node_busy_and_on_time() -> None:
    node = Node(400)
    node.run(60, twilio=2000)
    assert max(node.delays[200:]) < 3 * LIMIT
    useful = 400 - 0.05 * 1600  # what refusing leaves
    assert node.taken["twilio"] / 60 > 0.75 * useful
    assert node.control.level == 1.0


def test_it_recovers_within_five_seconds() -> None:
    node = Node(400)
    node.run(30, twilio=2000)
    node.run(5, twilio=100)
    assert not node.control.shedding
    node.run(5, twilio=300)
    assert node.share("twilio") == 1


def test_one_carriers_storm_costs_no_other_its_calls() -> None:
    node = Node(400)
    node.run(10, twilio=4000, telnyx=30)
    node.run(60, twilio=4000, telnyx=30)
    assert node.share("telnyx") > 0.99
    assert node.share("twilio") < 0.15


def test_a_full_table_sheds_as_a_delay_does() -> None:
    control = OverloadControl(LIMIT, TICK)
    for _ in range(100):
        control.measured(0.0, 0.5)
    assert not control.shedding
    assert control.level == pytest.approx(0.5)
    for _ in range(20):
        control.measured(0.0, 1.2)
    assert control.shedding


def test_something_is_always_taken_lest_nobody_notices_that_it_is_well_again() -> None:
    control = OverloadControl(LIMIT, TICK)
    for _ in range(1000):
        control.measured(10.0)
    assert sum(control.admits("twilio") for _ in range(1000)) >= 1000 * MIN_SHARE * 0.9


def test_retry_after_follows_the_pace_at_which_calls_end() -> None:
    control = OverloadControl(LIMIT, TICK)
    assert control.retry_after() == MAX_RETRY_AFTER  # nobody has ended one yet
    for _ in range(1000):
        for _ in range(2):
            control.ended()  # 20 a second
        for _ in range(6):
            control.refused()  # 60 a second
        control.measured(0.0)
    assert control.retry_after() == pytest.approx(3, abs=1)
    assert control.retry_after(excess=100) == pytest.approx(8, abs=1)
    assert control.retry_after(excess=10_000) == MAX_RETRY_AFTER


def test_carriers_that_have_gone_are_forgotten() -> None:
    control = OverloadControl(LIMIT, TICK)
    for number in range(100):
        control.admits(f"carrier{number}")
        control.measured(1.0)
    for _ in range(100):
        control.measured(0.0)
    assert not control._offered_rate
    assert not control._credit


@given(st.dictionaries(st.text(max_size=3), st.floats(0.01, 1e5), max_size=6), st.floats(0, 1))
def test_shares_are_fair(offered: dict[str, float], share: float) -> None:
    shares = fair_shares(offered, share)
    assert shares.keys() == offered.keys()
    granted = {name: shares[name] * rate for name, rate in offered.items()}
    assert sum(granted.values()) == pytest.approx(share * sum(offered.values()), rel=1e-6, abs=1e-9)
    cut = [granted[name] for name in offered if shares[name] < 1 - 1e-9]
    whole = [granted[name] for name in offered if shares[name] >= 1 - 1e-9]
    assert not cut or max(cut) - min(cut) <= 1e-6 * max(cut) + 1e-9
    assert not cut or not whole or max(whole) <= min(cut) * (1 + 1e-6) + 1e-9
