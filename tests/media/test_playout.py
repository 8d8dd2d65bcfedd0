from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.media.codecs import (
    G722,
    L16_8000,
    L16_16000,
    LINEAR,
    OPUS,
    PCMA,
    PCMU,
    AudioCodec,
    available,
    pcm_frame_bytes,
)
from gateway.media.comfort_noise import SILENT, announced_level, rms
from gateway.media.playout import Playout
from gateway.media.rtp import RtpPacket
from gateway.media.tones import tone

FRAME = 0.02
BEAT = 0.007
NOISE = 13
Network = list[tuple[float, RtpPacket]]
"""Arrival times and packets."""


def voice(seconds: float, rate: int = 8000) -> bytes:
    """A voice in outline, with pauses: it speaks for 0.7 s of each second."""
    time = np.arange(int(rate * seconds)) / rate
    sound = sum(np.sin(2 * np.pi * 130 * n * time) / n for n in range(1, 20))
    return (4000 * sound * (time % 1 < 0.7)).astype("<i2").tobytes()


def sent(codec: AudioCodec, pcm: bytes, *, first: int = 0, frames: int = 1) -> list[RtpPacket]:
    """The packets of a stream; `frames`: 20 ms frames in each (their payloads can be joined)."""
    payloads = codec.frames(pcm)
    number = codec.payload_type if codec.payload_type is not None else 96
    joined = [b"".join(payloads[at : at + frames]) for at in range(0, len(payloads), frames)]
    units = frames * codec.frame_units
    return [RtpPacket(number, first + at, units * (first + at), 7, each) for at, each in enumerate(joined)]


def on_the_way(
    packets: list[RtpPacket], *, loss: float = 0, jitter: float = 0, seed: int = 1, beat: float = FRAME
) -> Network:
    dice = random.Random(seed)
    return [
        (at * beat + 0.03 + dice.random() * jitter, packet)
        for at, packet in enumerate(packets)
        if dice.random() >= loss
    ]


def listen(playout: Playout, network: Network, seconds: float) -> list[bytes]:
    """Every frame of the beats up to then."""
    coming = sorted(network, key=lambda each: each[0])
    frames = []
    for beat in range(round(seconds / FRAME)):
        now = beat * FRAME + BEAT
        while coming and coming[0][0] <= now:
            at, packet = coming.pop(0)
            playout.receive(packet, at)
        frames.append(playout.frame(now))
    return frames


def playout(codec: AudioCodec = PCMU, form: AudioCodec = PCMU) -> Playout:
    number = codec.payload_type if codec.payload_type is not None else 96
    return Playout({number: codec}, codec.clock_rate, form)


def silent(frame: bytes, form: AudioCodec = PCMU) -> bool:
    return frame == form.silence


@pytest.mark.parametrize(("loss", "jitter"), [(0, 0), (0, 0.06), (0.05, 0), (0.05, 0.06), (0.2, 0.06)])
def test_what_is_lost_is_concealed_and_nothing_else(loss: float, jitter: float) -> None:
    ear = playout()
    packets = sent(PCMU, voice(20))
    network = on_the_way(packets, loss=loss, jitter=jitter)
    frames = listen(ear, network, 20.5)
    lost = len(packets) - len(network)
    assert len(frames) == 1025
    assert {len(frame) for frame in frames} == {160}
    assert ear.stats.underruns == ear.stats.late == 0
    assert ear.stats.concealed == pytest.approx(lost, abs=2)  # what is lost at the ends is nobody's
    assert ear.stats.played == len(network)
    if not loss:
        assert ear.stats.concealed == 0


def test_what_is_not_lost_is_heard_as_it_was_sent() -> None:
    packets = sent(PCMU, voice(0.6))
    frames = listen(playout(), on_the_way(packets), 1)
    begin = frames.index(packets[0].payload)
    assert frames[begin : begin + 30] == [packet.payload for packet in packets]
    assert all(map(silent, frames[:begin]))


def test_concealment_is_nearer_to_the_truth_than_silence() -> None:
    packets = sent(PCMU, voice(8))
    whole = listen(playout(), on_the_way(packets), 8)
    dice = random.Random(5)
    holes = [at <= 20 or dice.random() > 0.1 for at in range(len(packets))]
    network = [each for each, kept in zip(on_the_way(packets), holes, strict=True) if kept]
    patched = listen(playout(), network, 8)
    decoder = PCMU.decoder(8000)
    error = silence_error = 0.0
    for truth, heard in zip(whole, patched, strict=True):
        if truth != heard:
            a = np.frombuffer(decoder.decode(truth), "<i2").astype(float)
            error += np.sum((a - np.frombuffer(decoder.decode(heard), "<i2")) ** 2)
            silence_error += np.sum(a**2)
    assert 0 < error < 0.5 * silence_error


def test_a_long_gap_fades_to_the_noise_of_the_line() -> None:
    packets = sent(PCMU, tone((200.0, 400.0, 600.0), 1.0, -12))
    frames = listen(playout(), on_the_way(packets[:30]) + on_the_way(packets)[45:], 1)
    begin = frames.index(packets[0].payload)
    decoder = PCMU.decoder(8000)
    levels = [
        np.sqrt(np.mean(np.frombuffer(decoder.decode(frame), "<i2").astype(float) ** 2))
        for frame in frames[begin + 29 : begin + 36]
    ]
    assert levels[1] > 0.5 * levels[0]
    assert levels[1] > levels[2] > levels[3]
    assert max(levels[4:]) <= rms(44)


def test_neither_end_of_a_gap_clicks() -> None:
    packets = sent(PCMU, tone((150.0, 300.0, 450.0), 1.0, -10))
    frames = listen(playout(), on_the_way(packets[:20] + packets[21:40]), 0.9)
    heard = np.frombuffer(b"".join(PCMU.decoder(8000).decode(frame) for frame in frames), "<i2").astype(int)
    whole = np.frombuffer(tone((150.0, 300.0, 450.0), 0.4, -10), "<i2").astype(int)
    assert np.abs(np.diff(heard)).max() < 2.5 * np.abs(np.diff(whole)).max()


@pytest.mark.parametrize(
    "form",
    [PCMU, PCMA, LINEAR[8000], LINEAR[16000], LINEAR[24000], G722],
    ids=lambda codec: f"{codec.name}-{codec.clock_rate}",
)
@pytest.mark.parametrize("codec", available(), ids=lambda codec: f"{codec.name}-{codec.clock_rate}")
def test_every_codec_is_heard_in_every_form(codec: AudioCodec, form: AudioCodec) -> None:
    network = on_the_way(sent(codec, tone((440.0,), 2.0, -10)), loss=0.05, jitter=0.02)
    ear = playout(codec, form)
    frames = listen(ear, network, 2)
    assert {len(frame) for frame in frames} == {form.frame_bytes}
    assert ear.stats.concealed > 0
    decoder = form.decoder(8000)
    samples = np.frombuffer(b"".join(map(decoder.decode, frames)), "<i2")[4000:12000].astype(float)
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(8000)))
    assert np.argmax(spectrum) == pytest.approx(440, abs=2)


@pytest.mark.parametrize("frames", [2, 3])
def test_packets_of_other_lengths_become_frames_of_20_ms(frames: int) -> None:
    pcm = voice(0.66)
    network = on_the_way(sent(PCMA, pcm, frames=frames), beat=frames * FRAME)
    heard = listen(playout(PCMA, PCMA), network, 1.0)
    whole = b"".join(PCMA.frames(pcm))
    assert whole in b"".join(heard)


def test_packets_of_10_ms_become_frames_of_20_ms() -> None:
    whole = b"".join(PCMU.frames(voice(0.6)))
    packets = [RtpPacket(0, at, 80 * at, 7, whole[80 * at : 80 * at + 80]) for at in range(60)]
    heard = listen(playout(), on_the_way(packets, beat=0.01), 1.0)
    assert whole in b"".join(heard)


def test_comfort_noise_has_the_level_that_was_announced() -> None:
    packets = sent(PCMU, voice(0.2))
    cn = RtpPacket(NOISE, 10, 1600, 7, b"\x32\x10\x20")  # -50 dBov and a spectrum
    ear = playout()
    frames = listen(ear, on_the_way([*packets, cn]), 1)
    pcm = b"".join(map(PCMU.decoder(8000).decode, frames[-30:]))
    level = np.sqrt(np.mean(np.frombuffer(pcm, "<i2").astype(float) ** 2))
    assert 20 * np.log10(level / rms(50)) == pytest.approx(0, abs=1)
    assert ear.stats.concealed == 0


@pytest.mark.parametrize(
    ("payload", "level"), [(b"", SILENT), (b"\x00", 30), (b"\x40", 64), (b"\xc0", 64), (b"\x7f", SILENT)]
)
def test_noise_is_never_louder_than_a_line(payload: bytes, level: int) -> None:
    assert announced_level(payload) == level


def test_while_a_key_is_pressed_there_is_silence_and_no_loss() -> None:
    packets = sent(PCMU, voice(0.2))
    events = [RtpPacket(101, 10 + at, 1600, 7, bytes([5, 10, 0, 160 * at & 0xFF])) for at in range(25)]
    after = [
        RtpPacket(0, 35 + at, 160 * (35 + at), 7, packet.payload) for at, packet in enumerate(packets[:10])
    ]
    ear = playout()
    frames = listen(ear, on_the_way([*packets, *events, *after]), 1.2)
    assert ear.stats.concealed == ear.stats.late == 0
    said = [packet.payload for packet in packets]
    assert sum(frame in said for frame in frames) == 20


def test_the_laws_may_change_under_way() -> None:
    ear = Playout({0: PCMU, 8: PCMA}, 8000, PCMU)
    pcm = tone((440.0,), 1.0, -10)
    packets = sent(PCMU, pcm)[:25] + sent(PCMA, pcm)[25:]
    frames = listen(ear, on_the_way(packets), 1)
    heard = np.frombuffer(b"".join(map(PCMU.decoder(8000).decode, frames[10:45])), "<i2").astype(float)
    spectrum = np.abs(np.fft.rfft(heard * np.hanning(len(heard))))
    assert np.argmax(spectrum) * 8000 / len(heard) == pytest.approx(440, abs=5)


def test_a_codec_of_another_clock_is_not_heard() -> None:
    ear = Playout({0: PCMU, 96: OPUS}, 8000, PCMU)
    ear.receive(RtpPacket(96, 1, 0, 7, b"\x00" * 20), 0.0)
    assert all(map(silent, listen(ear, [], 0.5)))


def test_a_delay_that_is_too_long_shrinks_in_quiet_and_in_speech() -> None:
    packets = sent(PCMU, tone((300.0, 500.0), 10.0, -10))
    network = on_the_way(packets)
    late = [(at + (0.2 if 1 < at < 1.4 else 0), packet) for at, packet in network]  # one hiccup
    ear = playout()
    listen(ear, late, 10)
    assert ear.stats.skipped > 0
    assert ear._buffer.surplus < 0.1


def test_a_delay_that_is_too_short_grows() -> None:
    packets = sent(PCMU, voice(20))
    calm, rough = on_the_way(packets)[:400], on_the_way(packets, jitter=0.15)[400:]
    ear = playout()
    listen(ear, calm + rough, 20)
    assert ear.stats.stretched + ear.stats.underruns > 0
    lates = ear.stats.late
    assert lates < 60
    assert ear._buffer.surplus > -0.02


def test_a_form_needs_frames() -> None:
    with pytest.raises(ValueError, match="opus"):
        Playout({0: PCMU}, 8000, OPUS)


packet = st.builds(
    RtpPacket,
    st.sampled_from([0, 8, 9, 11, 13, 101, 77]),
    st.integers(0, 80),
    st.integers(0, 80).map(lambda number: number * 160 + 0xFFFFF000 & 0xFFFFFFFF),
    st.sampled_from([7, 7, 7, 8]),
    st.binary(max_size=700),
)


@settings(max_examples=60)
@given(
    st.lists(st.tuples(st.floats(0, 0.1), packet), max_size=60), st.sampled_from([PCMU, G722, LINEAR[16000]])
)
def test_whatever_comes_a_frame_goes_out(script: list[tuple[float, RtpPacket]], form: AudioCodec) -> None:
    ear = Playout({0: PCMU, 8: PCMA, 9: G722, 11: L16_8000, 12: L16_16000}, 8000, form)
    now = 0.0
    for pause, each in script:
        now += pause
        ear.receive(each, now)
        assert len(ear.frame(now)) == (form.frame_bytes or pcm_frame_bytes(16000))
    for beat in range(30):
        assert len(ear.frame(now + beat * FRAME)) == form.frame_bytes
