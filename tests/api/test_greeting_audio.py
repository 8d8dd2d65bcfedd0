"""Uploaded files as telephone audio."""

from __future__ import annotations

import io
import struct
import wave

import numpy as np
import pytest
import soundfile

from api.greeting_audio import MAX_SECONDS, SAMPLE_RATE, telephone_audio
from api.problems import Problem


def tone(seconds: float, rate: int, channels: int = 1, frequency: float = 440.0) -> np.ndarray:
    wave_form = 0.5 * np.sin(2 * np.pi * frequency * np.arange(int(seconds * rate)) / rate)
    return np.repeat(wave_form[:, None], channels, axis=1)


def file_of(samples: np.ndarray, rate: int, form: str, subtype: str | None = None) -> bytes:
    out = io.BytesIO()
    soundfile.write(out, samples, rate, format=form, subtype=subtype)
    return out.getvalue()


@pytest.mark.parametrize(
    ("form", "subtype", "rate", "channels"),
    [
        ("WAV", "PCM_16", 8000, 1),
        ("WAV", "PCM_24", 44_100, 2),
        ("WAV", "FLOAT", 48_000, 1),
        ("WAV", "ULAW", 8000, 1),
        ("OGG", "VORBIS", 44_100, 2),
        ("OGG", "OPUS", 48_000, 1),
        ("MP3", None, 44_100, 2),
    ],
)
def test_every_form_sounds_as_it_did(form: str, subtype: str | None, rate: int, channels: int) -> None:
    kept, seconds = telephone_audio(file_of(tone(1.5, rate, channels), rate, form, subtype))
    with wave.open(io.BytesIO(kept)) as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (SAMPLE_RATE, 1, 2)
        samples = np.frombuffer(file.readframes(file.getnframes()), "<i2")
    assert seconds == len(samples) / SAMPLE_RATE == pytest.approx(1.5, abs=0.1)
    middle = samples[4000:8000].astype(float)
    spectrum = np.abs(np.fft.rfft(middle))
    assert spectrum.argmax() * SAMPLE_RATE / len(middle) == pytest.approx(440, abs=2)
    assert np.sqrt((middle**2).mean()) == pytest.approx(0.5 * 32767 / np.sqrt(2), rel=0.1)


def refused(data: bytes) -> str:
    with pytest.raises(Problem) as caught:
        telephone_audio(data)
    assert caught.value.kind == "invalid"
    return caught.value.errors[0].rule


def test_one_that_is_too_long_is_refused_whatever_its_header_says() -> None:
    long = np.zeros((SAMPLE_RATE * (MAX_SECONDS + 1), 1))
    assert refused(file_of(long, SAMPLE_RATE, "OGG", "OPUS")) == "length"
    just = file_of(long[: SAMPLE_RATE * MAX_SECONDS], SAMPLE_RATE, "WAV", "PCM_16")
    assert telephone_audio(just)[1] == MAX_SECONDS
    claims = bytearray(file_of(tone(0.1, 8000), 8000, "WAV", "PCM_16"))
    claims[40:44] = struct.pack("<I", 0x7FFF_FFF0)
    assert telephone_audio(bytes(claims))[1] == pytest.approx(0.1)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"text",
        b"RIFF\xff\xff\xff\xffWAVEfmt ",
        file_of(np.zeros((0, 1)), 8000, "WAV"),
        file_of(tone(0.1, 8000), 8000, "FLAC"),
        file_of(tone(0.1, 8000, 9), 8000, "WAV"),
        file_of(tone(0.5, 8000), 8000, "OGG", "OPUS")[:60],
    ],
    # Ogg's serial numbers are random, and names of tests must be the same in each process.
    ids=["empty", "text", "half a header", "no samples", "FLAC", "nine channels", "half an Ogg page"],
)
def test_what_is_no_audio_of_ours_is_refused(data: bytes) -> None:
    assert refused(data) == "audio"


def test_samples_that_are_no_numbers_are_silence() -> None:
    kept, _ = telephone_audio(file_of(np.full((800, 1), np.nan), 8000, "WAV", "FLOAT"))
    assert set(kept[44:]) == {0}
