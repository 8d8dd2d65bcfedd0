from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.media import codecs
from gateway.media.g711 import PCMA, PCMU
from gateway.media.receiver import MAX_AHEAD, AudioReceiver
from gateway.media.rtp import pack

SILENT = bytes(320)


class Ear:
    """A receiver with a clock set by hand, and what it heard."""

    def __init__(self, form: codecs.AudioCodec = codecs.LINEAR[8000]) -> None:
        self.now = 0.0
        self.frames: list[bytes] = []
        self.keys: list[str] = []
        self.receiver = AudioReceiver(
            self.frames.append,
            self.keys.append,
            payload_types={96: codecs.PCMA},
            dtmf_payload_type=101,
            form=form,
            clock=lambda: self.now,
        )

    def hear(self, number: int, code: int | None = None, payload_type: int = 0, ssrc: int = 1) -> None:
        """Frame `number` of a regular stream, arriving in time; its payload is all `code` (or its number)."""
        self.now = max(self.now, number * 0.02)
        payload = bytes([number % 100 if code is None else code]) * 160
        self.raw(pack(payload_type, number & 0xFFFF, number * 160 & 0xFFFFFFFF, ssrc, payload))

    def raw(self, packet: bytes) -> None:
        self.receiver.receive(packet)

    @property
    def codes(self) -> list[int | None]:
        """The µ-law code of each frame heard, None for a silent one."""
        return [None if frame == SILENT else PCMU.encode(frame)[0] for frame in self.frames]


@pytest.fixture
def ear() -> Ear:
    return Ear()


def test_frames_come_decoded_and_in_order(ear: Ear) -> None:
    for number in (1, 2, 4, 3, 5):
        ear.hear(number)
    assert ear.codes == [1, 2, 3, 4, 5]
    assert {len(frame) for frame in ear.frames} == {320}


def test_loss_is_silence_so_that_time_is_kept(ear: Ear) -> None:
    for number in (1, 2, *range(5, 11)):
        ear.hear(number)
    assert ear.codes == [1, 2, None, None, 5, 6, 7, 8, 9, 10]


def test_the_first_packet_may_be_lost_and_duplicates_are_dropped(ear: Ear) -> None:
    for number in (2, 2, 3, 3, 3, 4):
        ear.hear(number)
    assert ear.codes == [2, 3, 4]


def test_a_peer_that_suppresses_silence_is_filled_in(ear: Ear) -> None:
    ear.hear(1)
    ear.now = 2.0
    ear.raw(pack(0, 2, 100 * 160, 1, b"\x05" * 160, marker=True))
    assert ear.codes == [1, *[None] * 98, 5]


def test_comfort_noise_and_unknown_types_are_silence(ear: Ear) -> None:
    ear.hear(1)
    ear.hear(2, payload_type=13)
    ear.hear(3, payload_type=13)
    ear.hear(4, payload_type=77)
    ear.hear(5)
    assert ear.codes == [1, None, None, None, 5]


def test_another_source_goes_on_without_a_gap(ear: Ear) -> None:
    ear.hear(1)
    ear.hear(2)
    ear.hear(40000, code=40, ssrc=2)
    ear.hear(40001, code=41, ssrc=2)
    assert ear.codes == [1, 2, 40, 41]


def test_what_was_held_back_is_heard_before_another_source(ear: Ear) -> None:
    for number in (1, 3, 4):
        ear.hear(number)
    ear.hear(9, ssrc=2)
    assert ear.codes == [1, None, 3, 4, 9]


def test_both_laws_and_the_negotiated_type_are_decoded(ear: Ear) -> None:
    ear.hear(1, code=20, payload_type=0)
    ear.hear(2, code=20, payload_type=8)
    ear.hear(3, code=20, payload_type=96)
    assert ear.frames == [PCMU.decode(b"\x14" * 160), PCMA.decode(b"\x14" * 160), PCMA.decode(b"\x14" * 160)]


def test_timestamps_and_sequence_numbers_wrap(ear: Ear) -> None:
    for index in range(10):
        ear.now = index * 0.02
        if index != 5:
            timestamp = (0xFFFFFFFF - 700 + index * 160) & 0xFFFFFFFF
            ear.raw(pack(0, (65533 + index) & 0xFFFF, timestamp, 1, bytes([index + 1]) * 160))
    ear.receiver.flush()
    assert ear.codes == [1, 2, 3, 4, 5, None, 7, 8, 9, 10]


@pytest.mark.parametrize("size", [40, 80, 240, 480])
def test_other_packet_times_become_frames_of_20_ms(ear: Ear, size: int) -> None:
    sound = bytes(index % 100 for index in range(4800))
    for index in range(4800 // size):
        ear.now = index * size / 8000
        ear.raw(pack(0, index, index * size, 1, sound[index * size : (index + 1) * size]))
    ear.receiver.flush()
    assert b"".join(ear.frames) == PCMU.decode(sound)
    assert {len(frame) for frame in ear.frames} == {320}


def test_flush_fills_the_last_frame(ear: Ear) -> None:
    ear.raw(pack(0, 1, 0, 1, b"\x05" * 100))
    assert ear.frames == []
    ear.receiver.flush()
    assert ear.frames == [PCMU.decode(b"\x05" * 100) + bytes(120)]


def test_keys_are_reported_once_and_take_the_place_of_audio(ear: Ear) -> None:
    ear.hear(1)
    for index in range(6):
        ear.now = 0.04 + index * 0.02
        end = 0x80 if index > 2 else 0
        ear.raw(pack(101, 2 + index, 320, 1, bytes([7, end | 10, 1, index])))
    ear.hear(8)
    assert ear.keys == ["7"]
    assert ear.codes == [1, *[None] * 6, 8]


def test_a_forged_timestamp_cannot_order_up_silence(ear: Ear) -> None:
    for index in range(100):
        ear.raw(pack(0, index, index * 0x10000000 & 0xFFFFFFFF, 1, b"\x05" * 160))
    assert sum(len(frame) for frame in ear.frames) / 2 <= MAX_AHEAD + 100 * 160 + 160


def test_a_clock_that_is_set_back_loses_nothing(ear: Ear) -> None:
    ear.raw(pack(0, 1, 90000, 1, b"\x05" * 160))
    ear.raw(pack(0, 2, 1000, 1, b"\x06" * 160))
    ear.raw(pack(0, 3, 1160, 1, b"\x07" * 160))
    assert ear.codes == [5, 6, 7]


def test_frames_may_stay_in_the_law_they_come_in() -> None:
    ear = Ear(codecs.PCMU)
    for number in (1, 2, 5, 6, 7, 8, 9):
        ear.hear(number)
    ear.hear(10, code=20, payload_type=8)
    ear.raw(pack(0, 11, 11 * 160, 1, b"\x05" * 100))
    ear.receiver.flush()
    heard = [bytes([number]) * 160 for number in (1, 2, 255, 255, 5, 6, 7, 8, 9)]
    recoded = PCMU.encode(PCMA.decode(b"\x14" * 160))
    assert ear.frames == [*heard, recoded, b"\x05" * 100 + b"\xff" * 60]


def test_what_has_a_memory_or_no_fixed_length_is_no_form_of_frames() -> None:
    for form in (codecs.G722, codecs.OPUS):
        with pytest.raises(ValueError, match=form.name):
            Ear(form)


@given(
    st.lists(
        st.one_of(st.binary(max_size=60), st.binary(max_size=40).map(lambda tail: b"\x80\x65" + tail)),
        max_size=20,
    )
)
def test_garbage_is_survived(datagrams: list[bytes]) -> None:
    ear = Ear()
    for datagram in datagrams:
        ear.raw(datagram)
    ear.receiver.flush()
    assert {len(frame) for frame in ear.frames} <= {320}


@given(
    st.integers(0, 0xFFFF), st.integers(0, 0xFFFFFFFF), st.sets(st.integers(1, 58)), st.integers(0, 100000)
)
def test_time_is_kept_whatever_is_lost(sequence: int, timestamp: int, lost: set[int], shuffle: int) -> None:
    """Any loss, with neighbours swapped here and there: frame n is heard at place n, or silence is."""
    ear = Ear()
    order = [number for number in range(60) if number not in lost]
    for index in range(0, len(order) - 1, 2):
        if shuffle >> (index % 17) & 1 and index:
            order[index], order[index + 1] = order[index + 1], order[index]
    for number in order:
        ear.now = max(ear.now, number * 0.02)
        data = bytes([number + 1]) * 160
        ear.raw(pack(0, (sequence + number) & 0xFFFF, (timestamp + number * 160) & 0xFFFFFFFF, 1, data))
    ear.receiver.flush()
    assert ear.codes == [None if number in lost else number + 1 for number in range(60)]
