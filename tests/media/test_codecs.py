from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.media import opus
from gateway.media.codecs import (
    CODECS,
    G722,
    L16_8000,
    L16_16000,
    LINEAR,
    OPUS,
    PCMA,
    PCMU,
    AudioCodec,
    available,
    find,
    pcm_frame_bytes,
)
from gateway.media.transcoder import converter

SPOKEN = available()
NAMES = [f"{codec.name}/{codec.clock_rate}" for codec in SPOKEN]


def speechlike(rate: int, seconds: float = 1.0) -> bytes:
    """A voice in outline: harmonics of 140 Hz falling by 6 dB an octave, swelling four times a second."""
    time = np.arange(int(rate * seconds)) / rate
    voice = sum(np.sin(2 * np.pi * 140 * n * time) / n for n in range(2, 24))
    return (3000 * voice * (0.6 + 0.4 * np.sin(2 * np.pi * 4 * time))).astype("<i2").tobytes()


def snr(original: bytes, heard: bytes, rate: int) -> float:
    """Decibels between a signal and what a codec made of it, at the delay where they fit best."""
    a, b = np.frombuffer(original, "<i2").astype(float), np.frombuffer(heard, "<i2").astype(float)
    skip, best = rate // 10, -99.0
    for delay in range(rate // 50):
        shifted, kept = b[skip + delay :], a[skip:]
        size = min(len(shifted), len(kept))
        error = np.mean((shifted[:size] - kept[:size]) ** 2)
        best = max(best, 10 * np.log10(np.mean(kept[:size] ** 2) / max(error, 1e-9)))
    return best


def through(codec: AudioCodec, pcm: bytes, rate: int) -> bytes:
    decoder = codec.decoder(rate)
    return b"".join(decoder.decode(payload) for payload in codec.frames(pcm, rate))


@pytest.mark.parametrize(
    ("codec", "rate", "least"),
    [
        (PCMU, 8000, 33),
        (PCMA, 8000, 33),
        (PCMU, 16000, 33),
        (G722, 16000, 16),
        (G722, 8000, 16),
        (L16_8000, 8000, 90),
        (L16_16000, 16000, 90),
        (L16_16000, 8000, 50),
        (L16_8000, 24000, 50),
    ],
)
def test_a_voice_comes_through(codec: AudioCodec, rate: int, least: float) -> None:
    pcm = speechlike(rate)
    assert snr(pcm, through(codec, pcm, rate), rate) > least


@pytest.mark.skipif(not opus.installed(), reason="the extra is not installed")
def test_a_voice_comes_through_opus() -> None:
    pcm = speechlike(16000)
    heard = np.frombuffer(through(OPUS, pcm, 16000), "<i2").astype(float)
    spectrum = np.abs(np.fft.rfft(heard[1600:14400] * np.hanning(12800)))
    strongest = np.argsort(spectrum)[-8:] * 16000 / 12800
    assert all(min(hertz % 140, 140 - hertz % 140) < 8 for hertz in strongest)


@pytest.mark.parametrize("codec", SPOKEN, ids=NAMES)
@pytest.mark.parametrize("rate", LINEAR)
def test_twenty_milliseconds_are_twenty_milliseconds_in_every_codec(codec: AudioCodec, rate: int) -> None:
    to_codec, back = converter(LINEAR[rate], codec), converter(codec, LINEAR[rate])
    for _ in range(5):
        payload = to_codec(bytes(pcm_frame_bytes(rate)))
        assert codec.units(payload) == codec.frame_units
        assert codec.frame_bytes in (None, len(payload))
        assert len(back(payload)) == pcm_frame_bytes(rate)


@pytest.mark.parametrize("codec", CODECS, ids=NAMES[: len(CODECS)])
def test_silence_is_a_frame_of_silence(codec: AudioCodec) -> None:
    rate = codec.sample_rate
    assert len(codec.silence) == codec.frame_bytes
    heard = np.frombuffer(codec.decoder(rate).decode(codec.silence), "<i2")
    assert np.abs(heard.astype(int)).max() <= 16


def test_l16_is_in_network_byte_order() -> None:
    assert L16_8000.encoder(8000).encode(b"\x01\x02\x03\x04") == b"\x02\x01\x04\x03"
    assert L16_8000.decoder(8000).decode(b"\x02\x01\x04\x03\x05") == b"\x01\x02\x03\x04"


def test_g722_says_8000_and_samples_at_16000() -> None:
    assert (G722.clock_rate, G722.sample_rate, G722.payload_type) == (8000, 16000, 9)  # RFC 3551 §4.5.2
    assert G722.units(bytes(160)) == 160


@pytest.mark.parametrize(("source", "target"), [(PCMU, PCMA), (PCMA, PCMU)])
def test_the_two_laws_meet_in_a_table(source: AudioCodec, target: AudioCodec) -> None:
    every = bytes(range(256))
    by_way_of_pcm = target.encoder(8000).encode(source.decoder(8000).decode(every))
    assert converter(source, target)(every) == by_way_of_pcm


def test_the_same_codec_costs_nothing() -> None:
    frame = bytes(160)
    assert converter(PCMU, PCMU)(frame) is frame


def test_codecs_are_found_by_what_sdp_calls_them() -> None:
    assert find("pcmu") is PCMU
    assert find("PCMA", 8000) is PCMA
    assert find("L16", 8000) is L16_8000
    assert find("L16") is L16_16000
    assert find("G722", 16000) is None
    assert find("G729") is None
    assert find("PCM16") is None


def test_opus_is_offered_only_where_it_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opus, "av", None)
    assert OPUS not in available()
    assert find("opus", 48000) is None
    with pytest.raises(opus.OpusMissing, match=r"voice-gateway\[opus\]"):
        OPUS.decoder(8000)
    with pytest.raises(opus.OpusMissing):
        OPUS.encoder(8000)


@pytest.mark.parametrize(
    ("toc", "milliseconds"),
    [
        (b"\x00", 10), (b"\x48", 20), (b"\x18", 60), (b"\x60", 10), (b"\x68", 20), (b"\x80", 2.5), (b"\xf8", 20),
        (b"\xf9", 40), (b"\xfa", 40), (b"\xfb\x03", 60), (b"\xfb\x3f", 120), (b"\xfb", 0), (b"", 0),
    ],
)  # fmt: skip
def test_an_opus_packet_tells_its_length(toc: bytes, milliseconds: float) -> None:
    assert opus.units(toc) == milliseconds * 48  # RFC 6716 §3.1, table 2


@pytest.mark.parametrize("codec", SPOKEN, ids=NAMES)
@given(payload=st.binary(max_size=400))
def test_no_payload_makes_a_decoder_raise(codec: AudioCodec, payload: bytes) -> None:
    decoder = codec.decoder(16000)
    codec.units(payload)
    assert len(decoder.decode(payload)) % 2 == 0
    assert isinstance(decoder.decode(payload + payload), bytes)


def test_the_network_s_order_does_not_depend_on_odd_bytes() -> None:
    assert PCMU.encoder(8000).encode(b"\x00\x00\x00") == b"\xff"
