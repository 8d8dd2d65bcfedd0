from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from gateway.media.patient_order import CALM, MAX_PATIENCE, PatientOrder


def ordering(first: int = 0) -> PatientOrder[int]:
    order: PatientOrder[int] = PatientOrder()
    order.restart(first)
    return order


def feed(order: PatientOrder[int], numbers: list[int]) -> list[tuple[int, int]]:
    return [ready for number in numbers for ready in order.push(number & 0xFFFF, number)]


def test_a_gap_is_loss_at_once_where_nothing_ever_came_late() -> None:
    order = ordering(65534)
    assert feed(order, [65534, 65535, 65538, 65539]) == [(0, 65534), (0, 65535), (2, 65538), (0, 65539)]
    assert order.patience == 0


def test_after_one_came_late_the_next_gap_is_waited_for() -> None:
    order = ordering()
    assert feed(order, [0, 2, 3, 1]) == [(0, 0), (1, 2), (0, 3)]
    assert order.patience == 3
    assert feed(order, [5, 6, 4, 7]) == [(0, 4), (0, 5), (0, 6), (0, 7)]
    assert feed(order, [9, 10, 11, 12, 13]) == [(1, 9), (0, 10), (0, 11), (0, 12), (0, 13)]


def test_a_duplicate_teaches_nothing() -> None:
    order = ordering()
    assert feed(order, [0, 1, 1, 0, 2]) == [(0, 0), (0, 1), (0, 2)]
    assert order.patience == 0


def test_patience_ends_when_it_was_long_not_needed() -> None:
    order = ordering()
    feed(order, [0, 2, 1])
    assert order.patience
    feed(order, list(range(3, 3 + CALM)))
    assert order.patience == 0


def test_far_away_numbers_are_a_restart() -> None:
    order = ordering(10)
    assert not order.is_restart(3000)
    assert not order.is_restart(0xFFFF)
    assert order.is_restart(20_000)


def test_sixty_milliseconds_of_jitter_are_learned() -> None:
    dice = random.Random(7)
    arrivals = sorted(range(3000), key=lambda number: number * 20 + dice.uniform(0, 60))
    given_back = [item for _, item in feed(ordering(arrivals[0]), arrivals)]
    assert given_back == sorted(given_back)
    assert len(given_back) > 0.98 * 3000


@given(st.lists(st.integers(0, 0xFFFF), max_size=60))
def test_whatever_comes_each_number_comes_back_once_and_few_are_held(numbers: list[int]) -> None:
    order = ordering(numbers[0] if numbers else 0)
    out = []
    for number in numbers:
        if order.is_restart(number):
            order.restart(number)
        out += order.push(number, number)
        assert len(order._waiting) <= MAX_PATIENCE
    assert len(out) <= len(numbers)
