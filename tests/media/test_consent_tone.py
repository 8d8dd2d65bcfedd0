"""The tone that says that a call is recorded."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.media.codecs import G722, L16_16000, PCMA, PCMU, AudioCodec
from gateway.media.consent_tone import FREQUENCY, ConsentTone
from gateway.media.rtp import RtpPacket, pack


def heard(tone: ConsentTone, codec: AudioCodec, frames: int) -> tuple[bytes, list[int]]:
    """What a second side hears of a stream of silence, and which packets were replaced."""
    decoder, pcm, replaced = codec.decoder(8000), b"", []
    for number in range(frames):
        packet = pack(96, number, number * codec.frame_units, 7, codec.silence, marker=number == 0)
        passed = packet
        if tone.due(number * 0.02):
            passed = tone.replace(packet, codec, number * 0.02)
            replaced.append(number)
        assert passed[:12] == packet[:12]
        pcm += decoder.decode(RtpPacket.parse(passed).payload)
    return pcm, replaced


@pytest.mark.parametrize("codec", [PCMU, PCMA, G722, L16_16000], ids=lambda codec: codec.name)
def test_it_sounds_at_the_beginning(codec: AudioCodec) -> None:
    pcm, replaced = heard(ConsentTone(0), codec, 100)
    assert replaced == list(range(13))
    samples = np.frombuffer(pcm, "<i2")
    loud = samples[: 13 * 160].astype(float)
    assert abs(np.argmax(abs(np.fft.rfft(loud))) * 8000 / len(loud) - FREQUENCY) < 8
    assert 1000 < abs(loud).max() < 4000
    # a decoder with a memory needs a moment to come back
    assert abs(samples[14 * 160 :].astype(int)).max() < (60 if codec.stateless else 600)


def test_it_comes_again() -> None:
    _, replaced = heard(ConsentTone(5), PCMU, 600)
    assert replaced == [*range(13), *range(250, 263), *range(500, 513)]


@given(st.binary(max_size=60))
def test_no_packet_harms_it(packet: bytes) -> None:
    tone = ConsentTone(0)
    for codec in (PCMU, G722, L16_16000):
        assert len(tone.replace(packet, codec, 0.0)) == len(packet)


def test_a_padded_packet_passes_as_it_is() -> None:
    packet = bytes([0xA0]) + pack(0, 1, 2, 3, PCMU.silence + b"\0\0\0\4")[1:]
    assert ConsentTone(0).replace(packet, PCMU, 0.0) == packet
