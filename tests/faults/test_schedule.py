"""The schedule of faults: replayable, and never a whole crowd at once."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from loadtests.faults.schedule import KINDS, REST, SEA, SECONDS, may, schedule
from loadtests.faults.world import CARRIERS, CLOCKS, CROWDS

SEEDS = st.integers(0, 10_000)


@given(SEEDS)
def test_a_seed_is_a_schedule(seed: int) -> None:
    assert schedule(seed, CROWDS, 60, 20) == schedule(seed, CROWDS, 60, 20)


def test_another_seed_is_another_one() -> None:
    assert schedule(1, CROWDS, 60, 20) != schedule(2, CROWDS, 60, 20)


@given(SEEDS)
def test_of_each_crowd_one_is_in_trouble_at_a_time(seed: int) -> None:
    faults = schedule(seed, CROWDS, 60, 40)
    for crowd in CROWDS:
        mine = [fault for fault in faults if fault.host in crowd]
        for earlier, later in itertools.pairwise(mine):
            assert later.at >= earlier.until + REST
    carriers = {fault.kind for fault in faults if fault.host in CARRIERS}
    assert carriers <= {"freeze", "unplug", "slow"}, (
        "who offers a call must be there to tell what became of it"
    )


@given(SEEDS)
def test_everything_lasts_as_long_as_it_may_and_happens_where_it_can(seed: int) -> None:
    for fault in schedule(seed, CROWDS, 60, 40):
        assert may(fault.kind, fault.host)
        assert (fault.host == SEA) == (fault.kind == "cut")
        least, most = SECONDS[fault.kind]
        assert least - 0.01 <= fault.until - fault.at <= most + 0.01
        assert (fault.skew != 0) == (fault.kind == "skew")
        assert fault.kind != "skew" or fault.host in CLOCKS


@given(SEEDS)
def test_what_is_not_wanted_is_not_planned(seed: int) -> None:
    wanted = [each for each in KINDS if each not in ("skew", "cut")]
    assert {fault.kind for fault in schedule(seed, CROWDS, 60, 40, wanted)} <= set(wanted)
    clocks = schedule(seed, CROWDS, 60, 40, ["skew"])
    assert {fault.kind for fault in clocks} == {"skew"}
    assert {fault.host for fault in clocks} <= set(CLOCKS)
