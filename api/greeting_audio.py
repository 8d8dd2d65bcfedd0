"""An uploaded file as telephone audio. Blocking: belongs into a thread."""

from __future__ import annotations

import io
import wave
from typing import Final

import numpy as np
import soundfile
import soxr

from api.problems import FieldError, Problem, invalid

SAMPLE_RATE: Final = 8_000
"""Samples a second of what is kept."""

MAX_SECONDS: Final = 120
"""Of a greeting: nobody waits longer for the tone. 1.9 MB as it is kept."""

MAX_CHANNELS: Final = 8
MAX_RATE: Final = 192_000
"""Samples a second of a file; what claims more is damaged."""

FORMATS: Final = frozenset({"WAV", "WAVEX", "OGG", "MP3"})
"""As libsndfile calls them: it reads more, most of it never seen by anybody who records a greeting."""

BLOCK_FRAMES: Final = 16_384
"""Decoded at a time: a small file may claim, or hold, hours."""


def telephone_audio(data: bytes) -> tuple[bytes, float]:
    """A WAV file of PCM16 mono 8 kHz, and its length in seconds.

    data: a WAV, Ogg (Vorbis, Opus) or MP3 file.

    Raises:
        Problem: it is none, holds nothing, or more than `MAX_SECONDS`.

    """
    try:
        with soundfile.SoundFile(io.BytesIO(data)) as file:
            if file.format not in FORMATS:
                raise _unreadable(f"is {file.format}")
            if file.channels > MAX_CHANNELS or not 1 <= file.samplerate <= MAX_RATE:
                raise _unreadable(f"has {file.channels} channels at {file.samplerate} Hz")
            pcm = _decoded(file)
    except (soundfile.LibsndfileError, RuntimeError, ValueError) as error:
        raise _unreadable(f"cannot be read: {str(error)[:200]}") from None
    if not pcm:
        raise _unreadable("holds no audio")
    kept = io.BytesIO()
    with wave.open(kept, "wb") as wav:
        wav.setnchannels(1)
        wav.setsampwidth(2)
        wav.setframerate(SAMPLE_RATE)
        wav.writeframes(pcm)
    return kept.getvalue(), len(pcm) / 2 / SAMPLE_RATE


def _decoded(file: soundfile.SoundFile) -> bytes:
    resampler = soxr.ResampleStream(file.samplerate, SAMPLE_RATE, 1, dtype="float32")
    pieces: list[bytes] = []
    size = 0
    while True:
        block = file.read(BLOCK_FRAMES, dtype="float32", always_2d=True)
        last = len(block) < BLOCK_FRAMES
        mono = np.nan_to_num(block.mean(axis=1)) if len(block) else np.zeros(0, np.float32)
        samples = resampler.resample_chunk(mono.astype(np.float32), last=last)
        pieces.append(np.clip(np.rint(samples * 32767), -32768, 32767).astype("<i2").tobytes())
        size += len(pieces[-1])
        if size > 2 * SAMPLE_RATE * MAX_SECONDS:
            detail = f"is longer than {MAX_SECONDS} seconds"
            raise invalid(FieldError("body", "length", detail, "send a shorter greeting"))
        if last:
            return b"".join(pieces)


def _unreadable(detail: str) -> Problem:
    return invalid(FieldError("body", "audio", detail, "send a WAV, Ogg (Vorbis, Opus) or MP3 file"))
