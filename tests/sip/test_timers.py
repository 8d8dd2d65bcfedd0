from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.sip.inbound_leg import PROGRESS_INTERVAL
from gateway.sip.sent_invite import RINGING_LIMIT
from gateway.sip.timers import COMPACT_ABOVE, USUAL_DELAYS, TimerQueue
from gateway.sip.transaction import T1, T4, TRANSACTION_TIMEOUT
from tests.sip.rig import FakeClock


class Wakes(list[float]):
    def __call__(self, deadline: float) -> None:
        self.append(deadline)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


def test_deadlines_come_due_in_order_and_ties_in_the_order_they_were_set(clock: FakeClock) -> None:
    timers, order = TimerQueue(clock, Wakes()), []
    for name, delay in (("late", 2.0), ("first", 1.0), ("second", 1.0)):
        timers.schedule(delay, lambda name=name: order.append(name))
    clock.now += 1.0
    timers.run_due()
    assert order == ["first", "second"]
    assert len(timers) == 1
    clock.now += 1.0
    timers.run_due()
    assert order == ["first", "second", "late"]
    assert timers.next_deadline() is None


def test_the_sink_is_woken_only_when_the_earliest_deadline_moves_earlier(clock: FakeClock) -> None:
    wakes = Wakes()
    timers = TimerQueue(clock, wakes)
    for delay in (5.0, 9.0, 5.0, 3.0, 4.0):
        timers.schedule(delay, lambda: None)
    assert wakes == [105.0, 103.0]


def test_after_running_the_sink_is_told_what_comes_next(clock: FakeClock) -> None:
    wakes = Wakes()
    timers = TimerQueue(clock, wakes)
    timers.schedule(1.0, lambda: timers.schedule(7.0, lambda: None) and None)
    timers.schedule(5.0, lambda: None)
    clock.now = 101.0
    timers.run_due()
    assert wakes == [101.0, 105.0]
    clock.now = 105.0
    timers.run_due()
    assert wakes == [101.0, 105.0, 108.0]


def test_a_timer_set_without_delay_runs_at_once_but_not_inside_the_caller(clock: FakeClock) -> None:
    timers, order = TimerQueue(clock, Wakes()), []

    def outer() -> None:
        timers.schedule(0, lambda: order.append("inner"))
        order.append("outer")

    timers.schedule(0, outer)
    timers.run_due()
    assert order == ["outer", "inner"]


def test_a_cancelled_timer_never_runs_and_cancelling_again_changes_nothing(clock: FakeClock) -> None:
    timers = TimerQueue(clock, Wakes())
    timer = timers.schedule(1.0, lambda: pytest.fail("ran"))
    other = timers.schedule(2.0, lambda: None)
    timer.cancel()
    timer.cancel()
    assert not timer.pending
    assert len(timers) == 1
    assert timers.next_deadline() == other.deadline
    clock.now = 102.0
    timers.run_due()
    other.cancel()
    assert len(timers) == 0


def test_a_timer_may_cancel_another_that_is_due_at_the_same_time(clock: FakeClock) -> None:
    timers = TimerQueue(clock, Wakes())
    timers.schedule(1.0, lambda: second.cancel())
    second = timers.schedule(1.0, lambda: pytest.fail("ran"))
    clock.now = 101.0
    timers.run_due()
    assert len(timers) == 0


def test_an_error_passes_through_and_leaves_the_others_due(clock: FakeClock) -> None:
    wakes, ran = Wakes(), []
    timers = TimerQueue(clock, wakes)
    timers.schedule(1.0, lambda: 1 / 0 and None)
    timers.schedule(1.0, lambda: ran.append(True))
    clock.now = 101.0
    with pytest.raises(ZeroDivisionError):
        timers.run_due()
    assert wakes[-1] == 101.0
    timers.run_due()
    assert ran == [True]


@pytest.mark.parametrize("delay", [32.0, 31.0])
def test_cancelled_entries_do_not_accumulate(clock: FakeClock, delay: float) -> None:
    timers = TimerQueue(clock, Wakes())
    kept = [timers.schedule(1000.0, lambda: None) for _ in range(10)]
    for _ in range(10 * COMPACT_ABOVE):
        timers.schedule(delay, lambda: None).cancel()
        assert timers.entries <= len(timers) + COMPACT_ABOVE + 1
    assert len(timers) == len(kept)


def test_a_cancelled_timer_of_a_usual_delay_is_let_go_of_at_once(clock: FakeClock) -> None:
    timers = TimerQueue(clock, Wakes())
    first, second, third = (timers.schedule(32.0, lambda: None) for _ in range(3))
    for timer, left in ((second, 2), (first, 1), (third, 0)):
        timer.cancel()
        assert timers.entries == len(timers) == left
    assert timers.next_deadline() is None


def test_what_the_core_waits_for_most_often_has_a_lane() -> None:
    waits = {T1, T4, TRANSACTION_TIMEOUT, PROGRESS_INTERVAL, RINGING_LIMIT}
    assert waits == set(USUAL_DELAYS)


def test_a_clock_that_stands_still_lets_lanes_and_heap_take_turns_in_the_order_they_were_set(
    clock: FakeClock,
) -> None:
    timers, order = TimerQueue(clock, Wakes()), []
    timers.schedule(32.0, lambda: order.append("lane"))
    timers.schedule(31.0, lambda: order.append("heap"))
    clock.now += 27.0
    timers.schedule(5.0, lambda: order.append("other lane"))
    timers.schedule(4.0, lambda: order.append("heap again"))
    clock.now += 5.0
    timers.run_due()
    assert order == ["heap", "heap again", "lane", "other lane"]


@given(st.lists(st.tuples(st.floats(0, 100) | st.sampled_from(USUAL_DELAYS[:4]), st.booleans())))
def test_exactly_what_was_not_cancelled_runs_in_order(plan: list[tuple[float, bool]]) -> None:
    clock = FakeClock()
    clock.now = 0.0
    timers, ran = TimerQueue(clock, Wakes()), []
    for delay, cancelled in plan:
        timer = timers.schedule(delay, lambda delay=delay: ran.append(delay))
        if cancelled:
            timer.cancel()
    clock.now = 100.0
    timers.run_due()
    assert ran == sorted(delay for delay, cancelled in plan if not cancelled)
    assert len(timers) == timers.entries == 0
