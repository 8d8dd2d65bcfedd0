from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gateway.media.jitter import DEPTH, ReorderBuffer


def push_all(buffer: ReorderBuffer[int], numbers: list[int]) -> list[int]:
    return [item for number in numbers for item in buffer.push(number & 0xFFFF, number)]


def test_order_passes_straight_through() -> None:
    buffer: ReorderBuffer[int] = ReorderBuffer()
    assert [buffer.push(number, number) for number in (7, 8, 9)] == [[7], [8], [9]]


def test_two_swapped_packets_are_put_right() -> None:
    assert push_all(ReorderBuffer(), [1, 3, 2, 4]) == [1, 2, 3, 4]


def test_across_the_wrap() -> None:
    assert push_all(ReorderBuffer(), [65534, 65536, 65535, 65537]) == [65534, 65535, 65536, 65537]


def test_a_lost_packet_is_given_up_when_enough_later_ones_are_there() -> None:
    buffer: ReorderBuffer[int] = ReorderBuffer()
    assert push_all(buffer, [1, 3, 4, 5, 6]) == [1]
    assert buffer.push(7, 7) == [3, 4, 5, 6, 7]
    assert buffer.push(2, 2) == []
    assert buffer.dropped == 1


def test_the_first_packet_may_be_lost() -> None:
    assert push_all(ReorderBuffer(), [2, 3, 4]) == [2, 3, 4]


def test_duplicates_are_dropped_whether_released_or_held() -> None:
    buffer: ReorderBuffer[int] = ReorderBuffer()
    assert push_all(buffer, [1, 1, 3, 3, 2]) == [1, 2, 3]
    assert buffer.dropped == 2


def test_a_restart_releases_what_was_held() -> None:
    assert push_all(ReorderBuffer(), [1, 3, 4, 20000, 20001]) == [1, 3, 4, 20000, 20001]


def test_flush_gives_the_rest_in_order() -> None:
    buffer: ReorderBuffer[int] = ReorderBuffer()
    push_all(buffer, [1, 5, 3])
    assert buffer.flush() == [3, 5]
    assert buffer.push(900, 900) == [900]


@given(st.integers(0, 0xFFFF), st.lists(st.integers(0, DEPTH - 1), min_size=1, max_size=120))
def test_any_reordering_within_the_depth_is_put_right(start: int, delays: list[int]) -> None:
    numbers = [start + index for index in range(len(delays) + 1)]
    arrival = sorted(numbers[1:], key=lambda number: number + delays[number - start - 1])
    buffer: ReorderBuffer[int] = ReorderBuffer()
    out = push_all(buffer, [start, *arrival])
    assert out + buffer.flush() == numbers


@given(st.lists(st.integers(0, 0xFFFF), max_size=200))
def test_any_input_comes_out_at_most_once_and_is_never_hoarded(numbers: list[int]) -> None:
    buffer: ReorderBuffer[int] = ReorderBuffer()
    out = []
    for index, number in enumerate(numbers):
        out += buffer.push(number, index)
        assert len(buffer._held) <= DEPTH
    out += buffer.flush()
    assert len(out) == len(set(out)) == len(numbers) - buffer.dropped
