from __future__ import annotations

import io
import struct
import wave

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.speech.audio import decode_wav, resample
from gateway.speech.errors import SpeechError


def sine(hertz: float, rate: int, seconds: float = 1.0) -> bytes:
    times = np.arange(int(rate * seconds)) / rate
    return bytes((np.sin(2 * np.pi * hertz * times) * 12000).astype("<i2").tobytes())


def wav(pcm: bytes, rate: int = 8000, channels: int = 1, bits: int = 16) -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setnchannels(channels)
        out.setsampwidth(bits // 8)
        out.setframerate(rate)
        out.writeframes(pcm)
    return file.getvalue()


def strongest(pcm: bytes) -> float:
    samples = np.frombuffer(pcm, "<i2").astype(float)
    return float(np.argmax(np.abs(np.fft.rfft(samples))) * 8000 / len(samples))


@pytest.mark.parametrize("rate", [8000, 16000, 22050, 24000, 44100, 48000])
def test_any_rate_becomes_8_khz_of_the_same_length_and_pitch(rate: int) -> None:
    pcm = decode_wav(wav(sine(440, rate), rate))
    assert len(pcm) == pytest.approx(16000, abs=8)
    assert strongest(pcm) == pytest.approx(440, abs=1.5)


def test_what_a_telephone_cannot_carry_is_filtered_and_not_folded() -> None:
    samples = np.frombuffer(resample(sine(5000, 16000), 16000), "<i2")
    assert np.abs(samples[200:-200]).max() < 400  # the hard edges of the sine are no fault of the filter


def test_resampling_is_repeatable() -> None:
    assert resample(sine(440, 22050), 22050) == resample(sine(440, 22050), 22050)


def test_8_khz_is_left_alone() -> None:
    assert resample(b"\1\2\3\4\5", 8000) == b"\1\2\3\4"


def test_channels_are_mixed() -> None:
    stereo = struct.pack("<4h", 1000, 3000, -200, -400)
    assert decode_wav(wav(stereo, channels=2)) == struct.pack("<2h", 2000, -300)


@pytest.mark.parametrize("size", [0, 0xFFFFFFFF, 0x7FFFFFFF])
def test_a_streamed_file_does_not_know_its_length(size: int) -> None:
    whole = bytearray(wav(sine(440, 8000)))
    whole[40:44] = size.to_bytes(4, "little")
    assert decode_wav(bytes(whole)) == sine(440, 8000)


def test_other_chunks_are_skipped() -> None:
    whole = wav(b"\1\2\3\4")
    note = b"LIST" + (3).to_bytes(4, "little") + b"abc\0"
    assert decode_wav(whole[:36] + note + whole[36:]) == b"\1\2\3\4"


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        (b"", "not a WAV"),
        (b"ID3 this is an mp3 file", "not a WAV"),
        (b"RIFF\0\0\0\0WAVE", "no audio"),
        (b"RIFF\0\0\0\0WAVEfmt \x04\0\0\0abcd", "short format"),
        (wav(b"\1\2", bits=8), "8 bits"),
        (wav(b"\1\2", rate=100), "100 Hz"),
    ],
)
def test_what_is_no_telephone_audio_is_refused(data: bytes, complaint: str) -> None:
    with pytest.raises(SpeechError, match=complaint):
        decode_wav(data)


@given(st.binary(max_size=200), st.integers(0, 44))
def test_garbage_raises_only_its_own_error(garbage: bytes, keep: int) -> None:
    try:
        pcm = decode_wav(wav(b"\1\2\3\4")[:keep] + garbage)
    except SpeechError:
        return
    assert len(pcm) % 2 == 0
