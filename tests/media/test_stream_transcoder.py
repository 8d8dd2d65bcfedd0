"""A stream in one codec becomes one in another: what is heard, and what is shown of the network's doings."""

from __future__ import annotations

import itertools
import struct
from collections.abc import Iterable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from gateway.media.codecs import G722, L16_8000, L16_16000, OPUS, PCMA, PCMU, AudioCodec, available
from gateway.media.dtmf import event_payloads
from gateway.media.rtp import RtpPacket, pack
from gateway.media.stream_transcoder import SpokenForm, StreamTranscoder
from gateway.media.tones import tone
from tests.e2e.audio import tone_share

SOURCE_TYPE, TARGET_TYPE, SOURCE_KEYS, TARGET_KEYS = 97, 98, 101, 102
SSRC = 0x5EED


class Line:
    """A transcoder, a source before it, and what came out behind it."""

    def __init__(self, source: AudioCodec, target: AudioCodec, *, keys: bool = True) -> None:
        self.source, self.target = source, target
        self.out: list[RtpPacket] = []
        self.now = 0.0
        self.sequence, self.timestamp, self.ssrc = 65500, 0xFFFFF000, SSRC
        bits = itertools.count(1000)
        self.transcoder = StreamTranscoder(
            {SOURCE_TYPE: source},
            {SOURCE_KEYS: source.clock_rate},
            SpokenForm(target, TARGET_TYPE, TARGET_KEYS if keys else None),
            lambda data: self.out.append(RtpPacket.parse(data)),
            clock=lambda: self.now,
            random_bits=lambda _: next(bits),
        )

    def say(self, pcm: bytes, *, lose: Iterable[int] = ()) -> None:
        """PCM16 mono 8 kHz, 20 ms a packet; some never come."""
        for number, frame in enumerate(self.source.frames(pcm)):
            if number not in lose:
                self.packet(frame)
            self.step()

    def packet(self, payload: bytes, payload_type: int = SOURCE_TYPE, *, marker: bool = False) -> None:
        self.transcoder.receive(
            pack(
                payload_type,
                self.sequence & 0xFFFF,
                self.timestamp & 0xFFFFFFFF,
                self.ssrc,
                payload,
                marker=marker,
            )
        )

    def step(self, frames: int = 1) -> None:
        self.sequence += 1
        self.timestamp += frames * self.source.frame_units
        self.now += 0.02 * frames

    def heard(self) -> NDArray[np.int16]:
        """What comes out, as PCM 8 kHz."""
        decode = self.target.decoder(8000).decode
        sound = b"".join(decode(packet.payload) for packet in self.out if packet.payload_type == TARGET_TYPE)
        return np.frombuffer(sound, np.int16)


def steps(numbers: Iterable[int], bits: int) -> list[int]:
    return [(after - before) & ((1 << bits) - 1) for before, after in itertools.pairwise(numbers)]


PAIRS = [(a, b) for a in available() for b in available() if a is not b]


@pytest.mark.parametrize(("source", "target"), PAIRS, ids=lambda codec: f"{codec.name}{codec.sample_rate}")
def test_a_tone_arrives_as_it_was_in_packets_of_20_ms(source: AudioCodec, target: AudioCodec) -> None:
    line = Line(source, target)
    line.say(tone((1000.0,), 1.0, -10.0))
    assert len(line.out) == 50
    assert {packet.ssrc for packet in line.out} == {line.out[0].ssrc}
    assert set(steps((packet.sequence for packet in line.out), 16)) == {1}
    assert set(steps((packet.timestamp for packet in line.out), 32)) == {target.frame_units}
    assert [packet.marker for packet in line.out] == [True] + [False] * 49
    sound = line.heard()[1600:]
    assert tone_share(sound, 1000) > 0.95
    assert np.abs(sound).max() == pytest.approx(32124 * 10 ** (-13.17 / 20), rel=0.1)


def test_a_lost_packet_is_a_gap_for_the_far_end_to_conceal() -> None:
    line = Line(PCMU, L16_16000)
    line.say(tone((1000.0,), 0.2, -10.0), lose=(4, 5))
    assert steps((packet.sequence for packet in line.out), 16) == [1, 1, 1, 3, 1, 1, 1]
    assert steps((packet.timestamp for packet in line.out), 32) == [320, 320, 320, 960, 320, 320, 320]


def test_a_pause_is_a_gap_of_time_and_no_loss() -> None:
    line = Line(PCMU, G722)
    line.say(tone((1000.0,), 0.04, -10.0))
    line.timestamp += 50 * 160
    line.say(tone((1000.0,), 0.04, -10.0))
    assert steps((packet.sequence for packet in line.out), 16) == [1, 1, 1]
    assert steps((packet.timestamp for packet in line.out), 32) == [160, 51 * 160, 160]
    assert [packet.marker for packet in line.out] == [True, False, True, False]


def test_what_comes_after_its_turn_is_left_out_and_so_is_a_duplicate() -> None:
    line = Line(PCMU, L16_8000)
    frame = PCMU.silence
    for sequence in (10, 12, 11, 12, 13):
        line.transcoder.receive(pack(SOURCE_TYPE, sequence, sequence * 160, SSRC, frame))
    assert steps((packet.sequence for packet in line.out), 16) == [2, 1]
    assert steps((packet.timestamp for packet in line.out), 32) == [320, 160]


def test_another_source_goes_on_in_the_same_stream_and_time_passes() -> None:
    line = Line(PCMA, L16_16000)
    line.say(tone((1000.0,), 0.1, -10.0))
    line.ssrc, line.sequence, line.timestamp = 7, 3, 77
    line.now += 2.0
    line.say(tone((1000.0,), 0.1, -10.0))
    assert {packet.ssrc for packet in line.out} == {line.out[0].ssrc}
    assert set(steps((packet.sequence for packet in line.out), 16)) == {1}
    (jump,) = {step for step in steps((packet.timestamp for packet in line.out), 32) if step != 320}
    assert jump == pytest.approx(2.0 * 16000, abs=700)
    assert line.out[5].marker


@pytest.mark.parametrize("milliseconds", [10, 30, 60])
def test_packets_of_another_length_leave_in_frames_of_20_ms(milliseconds: int) -> None:
    line = Line(PCMU, L16_16000)
    sound = PCMU.encoder(8000).encode(tone((1000.0,), 1.2, -10.0))
    size = 8 * milliseconds
    for at in range(0, len(sound), size):
        line.packet(sound[at : at + size])
        line.step(0)
        line.timestamp += size
        line.now += milliseconds / 1000
    assert len(line.out) == 60
    assert {len(packet.payload) for packet in line.out} == {640}
    assert set(steps((packet.timestamp for packet in line.out), 32)) == {320}


def test_a_flood_is_dropped_beyond_a_second_of_audio_and_what_comes_in_time_is_heard_again() -> None:
    line = Line(PCMU, L16_8000)
    for _ in range(500):
        line.packet(PCMU.silence)
        line.step()
        line.now = 0.0
    flooded = len(line.out)
    assert flooded == pytest.approx(50, abs=1)
    line.now = 5.0
    line.say(tone((1000.0,), 0.2, -10.0))
    assert len(line.out) == flooded + 10


def test_between_the_laws_packets_keep_their_length() -> None:
    line = Line(PCMU, PCMA)
    line.packet(PCMU.encoder(8000).encode(tone((1000.0,), 0.03, -10.0)))
    assert [len(packet.payload) for packet in line.out] == [240]


def test_comfort_noise_and_unknown_payloads_are_a_pause_and_no_loss() -> None:
    line = Line(PCMU, L16_8000)
    line.packet(PCMU.silence)
    line.step()
    line.packet(b"\x40", 13)
    line.step(5)
    line.packet(PCMU.silence)
    assert steps((packet.sequence for packet in line.out), 16) == [1]
    assert steps((packet.timestamp for packet in line.out), 32) == [6 * 160]


def press(line: Line, digit: str, frames: int) -> None:
    """A key as a source sends it: one timestamp, growing durations in its own clock."""
    units = line.source.frame_units
    start = line.timestamp
    for number, payload in enumerate(event_payloads(digit, frames, units=units)):
        line.timestamp = start
        line.packet(payload, SOURCE_KEYS, marker=number == 0)
        line.sequence += 1
    line.timestamp = start + frames * units


@pytest.mark.parametrize(
    ("source", "target"), [(PCMU, L16_16000), (L16_16000, PCMU), (PCMU, OPUS), (G722, PCMA)]
)
def test_a_key_keeps_its_moment_and_its_duration_in_the_other_clock(
    source: AudioCodec, target: AudioCodec
) -> None:
    line = Line(source, target)
    line.say(tone((1000.0,), 0.1, -10.0))
    press(line, "5", 6)
    line.say(tone((1000.0,), 0.1, -10.0))
    audio = [packet for packet in line.out if packet.payload_type == TARGET_TYPE]
    keys = [packet for packet in line.out if packet.payload_type == TARGET_KEYS]
    events = [struct.unpack("!BBH", packet.payload) for packet in keys]
    assert [event for event, _, _ in events] == [5] * len(events)
    assert events[-1][2] == 6 * target.frame_units
    assert [duration for _, _, duration in events[:5]] == [n * target.frame_units for n in range(1, 6)]
    assert [flags >> 7 for _, flags, _ in events] == [0] * 5 + [1] * 3
    assert {packet.timestamp for packet in keys} == {(audio[4].timestamp + target.frame_units) & 0xFFFFFFFF}
    assert keys[0].marker
    assert (audio[5].timestamp - keys[0].timestamp) & 0xFFFFFFFF == 6 * target.frame_units
    assert set(steps((packet.sequence for packet in line.out), 16)) == {1}


def test_a_key_held_for_longer_than_the_other_clock_can_say_goes_on_in_segments() -> None:
    line = Line(PCMU, OPUS)
    line.packet(PCMU.silence)
    line.step()
    base = (line.out[0].timestamp + 960) & 0xFFFFFFFF
    for duration in (160, 8000, 16000):  # two seconds are 96000 units of the other clock
        line.packet(struct.pack("!BBH", 1, 10, duration), SOURCE_KEYS)
        line.sequence += 1
    found = [
        ((packet.timestamp - base) & 0xFFFFFFFF, struct.unpack("!BBH", packet.payload)[2])
        for packet in line.out
        if packet.payload_type == TARGET_KEYS
    ]
    assert found == [(0, 960), (0, 48000), (65535, 96000 - 65535)]


def test_keys_that_the_other_side_cannot_take_are_left_out() -> None:
    line = Line(PCMU, L16_8000, keys=False)
    press(line, "1", 5)
    line.packet(b"\x01", SOURCE_KEYS)
    assert line.out == []


PACKETS = st.lists(
    st.one_of(
        st.binary(max_size=40),
        st.builds(
            pack,
            st.sampled_from([SOURCE_TYPE, SOURCE_KEYS, 13]),
            st.integers(0, 0xFFFF),
            st.integers(0, 0xFFFFFFFF),
            st.sampled_from([1, 2]),
            st.binary(max_size=400),
        ),
    ),
    max_size=20,
)


@given(PACKETS, st.sampled_from([codec for codec in available() if codec is not OPUS]))
def test_whatever_comes_never_raises_and_never_multiplies(packets: list[bytes], source: AudioCodec) -> None:
    line = Line(source, PCMA)
    for packet in packets:
        line.transcoder.receive(packet)
    assert len(line.out) <= 5 * len(packets)
    assert all(len(packet.payload) <= 400 for packet in line.out)


def test_opus_that_is_none_is_silence() -> None:
    line = Line(OPUS, PCMU)
    for payload in (b"", b"\xff" * 100, bytes(range(200)), b"\x03\xff"):
        line.packet(payload)
        line.step()
    assert all(len(packet.payload) == 160 for packet in line.out)
