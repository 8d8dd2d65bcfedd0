"""An operator's audio file, of whatever format libsndfile reads. Blocking: belongs into an executor."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile
import soxr

from gateway.media.g711 import SAMPLE_RATE

MAX_SECONDS = 600
"""Of a file, 9.6 MB in memory: hold music is minutes long."""


class SoundFileError(Exception):
    """The file cannot be used; the text names it and says why."""


def load_sound(path: Path) -> bytes:
    """Read a file whole, as PCM16 mono 8 kHz.

    Raises:
        SoundFileError: it is not there, is no audio, is empty, or is longer than `MAX_SECONDS`.

    """
    try:
        with soundfile.SoundFile(path) as file:
            if file.frames > MAX_SECONDS * file.samplerate:
                raise SoundFileError(f"{path}: longer than {MAX_SECONDS} s")
            samples, rate = file.read(dtype="float32", always_2d=True), file.samplerate
    except (OSError, soundfile.LibsndfileError) as error:
        raise SoundFileError(f"{path}: {error}") from error
    mono = samples.mean(axis=1)
    if rate != SAMPLE_RATE:
        mono = soxr.resample(mono, rate, SAMPLE_RATE)
    pcm = np.clip(np.rint(mono * 32767), -32768, 32767).astype("<i2").tobytes()
    if not pcm:
        raise SoundFileError(f"{path}: holds no audio")
    return bytes(pcm)
