from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.media.dtmf import DIGITS, END_PACKETS, DtmfReceiver, event_payloads


def event(code: int, duration: int, end: bool = False) -> bytes:
    return struct.pack("!BBH", code, (0x80 if end else 0) | 10, duration)


class Keys(list[str]):
    """Keys that a receiver reported."""

    def __init__(self) -> None:
        super().__init__()
        self.receiver = DtmfReceiver(self.append)
        self.receive = self.receiver.receive


def test_a_press_is_reported_once_at_its_first_packet() -> None:
    keys = Keys()
    keys.receive(1000, event(5, 160))
    assert keys == ["5"]
    for duration in (320, 480, 640):
        keys.receive(1000, event(5, duration))
    for _ in range(3):
        keys.receive(1000, event(5, 800, end=True))
    assert keys == ["5"]


def test_a_press_of_which_only_an_end_packet_arrives() -> None:
    keys = Keys()
    keys.receive(1000, event(11, 800, end=True))
    assert keys == ["#"]


def test_the_same_key_twice() -> None:
    keys = Keys()
    for timestamp in (1000, 3000):
        keys.receive(timestamp, event(1, 160))
        keys.receive(timestamp, event(1, 800, end=True))
    assert keys == ["1", "1"]


def test_two_presses_whose_ends_were_lost() -> None:
    keys = Keys()
    keys.receive(1000, event(1, 160))
    keys.receive(3000, event(1, 160))
    keys.receive(5000, event(2, 160))
    assert keys == ["1", "1", "2"]


def test_a_long_press_goes_on_in_segments() -> None:
    keys = Keys()
    keys.receive(1000, event(9, 0xFFFF))
    keys.receive(1000 + 0xFFFF, event(9, 160))
    keys.receive(1000 + 0xFFFF, event(9, 0xFFFF))
    keys.receive(1000 + 2 * 0xFFFF, event(9, 400, end=True))
    assert keys == ["9"]
    keys.receive(1000 + 3 * 0xFFFF, event(9, 160))  # after an end it is a new press
    assert keys == ["9", "9"]


def test_an_overtaken_update_of_the_last_event_is_ignored() -> None:
    keys = Keys()
    keys.receive(1000, event(1, 800, end=True))
    keys.receive(3000, event(2, 160))
    keys.receive(1000, event(1, 640))
    assert keys == ["1", "2"]


def test_timestamps_wrap() -> None:
    keys = Keys()
    keys.receive(0xFFFFFF00, event(1, 800, end=True))
    keys.receive(0x00000100, event(2, 160))
    assert keys == ["1", "2"]


def test_events_that_are_no_keys_are_ignored() -> None:
    keys = Keys()
    keys.receive(1000, event(16, 160))
    keys.receive(2000, event(255, 160))
    assert keys == []


def test_another_source_starts_afresh() -> None:
    keys = Keys()
    keys.receive(5000, event(1, 160))
    keys.receiver.restart()
    keys.receive(10, event(2, 160))
    assert keys == ["1", "2"]


@given(st.integers(0, 0xFFFFFFFF), st.binary(max_size=8))
def test_garbage_is_survived(timestamp: int, payload: bytes) -> None:
    keys = Keys()
    keys.receive(timestamp, payload)
    assert set(keys) <= set(DIGITS)


@given(st.sampled_from(DIGITS), st.integers(1, 50), st.data())
def test_what_we_send_is_understood_whatever_is_lost(digit: str, packets: int, data: st.DataObject) -> None:
    payloads = list(event_payloads(digit, packets))
    assert len(payloads) == packets - 1 + END_PACKETS
    arrived = data.draw(st.lists(st.sampled_from(payloads), min_size=1, unique_by=id))
    keys = Keys()
    for payload in arrived:
        keys.receive(7, payload)
    assert keys == [digit]


def test_durations_grow_and_the_end_is_marked() -> None:
    payloads = [struct.unpack("!BBH", payload) for payload in event_payloads("*", 4)]
    assert [event for event, _, _ in payloads] == [10] * 6
    assert [duration for _, _, duration in payloads] == [160, 320, 480, 640, 640, 640]
    assert [bool(flags & 0x80) for _, flags, _ in payloads] == [False] * 3 + [True] * 3


def test_what_is_no_key_cannot_be_sent() -> None:
    for text in ("E", "12", ""):
        with pytest.raises(ValueError, match="no key"):
            list(event_payloads(text))
