from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.media.pacer import MAX_BURST, TIMER_GRAIN, Pacer

FRAME = 0.02


def test_an_hour_of_late_wakeups_does_not_drift() -> None:
    """Every wakeup is late by up to 15 ms; frame n is still due at n * 20 ms exactly."""
    pacer = Pacer(1000.0)
    now = 1000.0
    for number in range(3600 * 50):
        assert pacer.due(now)
        pacer.sent(now)
        assert not pacer.due(now)
        now = pacer.deadline + (number * 7919 % 15) / 1000
    assert pacer.deadline == 1000.0 + 3600
    assert pacer.underruns == 0


def test_a_timer_that_fires_a_little_early_counts() -> None:
    pacer = Pacer(0.0)
    pacer.sent(0.0)
    assert pacer.due(FRAME - TIMER_GRAIN)
    assert not pacer.due(FRAME - 2 * TIMER_GRAIN)


def test_a_short_stall_is_caught_up_and_counted() -> None:
    pacer = Pacer(0.0)
    pacer.sent(0.0)
    assert not pacer.give_up_late(0.08)
    burst = 0
    while pacer.due(0.08):
        pacer.sent(0.08)
        burst += 1
    assert burst == 4
    assert pacer.underruns == 3  # the fourth was in time


def test_after_a_long_stall_the_rest_moves_back_in_time() -> None:
    pacer = Pacer(0.0)
    pacer.sent(0.0)
    assert pacer.give_up_late(10.0)
    burst = 0
    while pacer.due(10.0):
        pacer.sent(10.0)
        burst += 1
    assert burst <= MAX_BURST + 1
    assert pacer.number == 501
    assert pacer.underruns >= 490


def test_a_pause_moves_the_numbers_on_and_the_next_frame_is_due_at_once() -> None:
    pacer = Pacer(0.0)
    for _ in range(10):
        pacer.sent(pacer.deadline)
    pacer.resume(5.013)
    assert pacer.due(5.013)
    assert pacer.number == 250
    assert pacer.underruns == 0


def test_going_on_without_a_pause_changes_nothing() -> None:
    pacer = Pacer(0.0)
    pacer.sent(0.0)
    pacer.resume(0.021)
    assert pacer.number == 1
    assert pacer.deadline == pytest.approx(FRAME)


@given(st.lists(st.floats(0, 2), max_size=60))
def test_numbers_never_run_ahead_of_time(gaps: list[float]) -> None:
    """Whatever the loop does, no frame is sent before it is due."""
    pacer, now = Pacer(0.0), 0.0
    for gap in gaps:
        now += gap
        pacer.give_up_late(now)
        while pacer.due(now):
            pacer.sent(now)
        assert now - FRAME < pacer.deadline - TIMER_GRAIN + 1e-9 <= now + FRAME + 1e-9
