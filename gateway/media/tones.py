"""Tones: the beep before a recording, and what ringback tones are made of.

All are PCM16 mono 8 kHz. Levels are in dBm0, on which a full-scale µ-law sine is +3.17 (ITU-T G.711 §5).
"""

from __future__ import annotations

import math
from functools import cache

import numpy as np

from gateway.media.g711 import SAMPLE_RATE

FULL_SCALE = 32124
"""The largest value µ-law decodes to, as PCM16."""

FULL_SCALE_DBM0 = 3.17

RAMP_SECONDS = 0.005
"""Rise and fall of a tone; a hard edge would click."""


def amplitude(dbm0: float) -> float:
    """The peak sample value of a sine at this level."""
    return FULL_SCALE * math.pow(10, (dbm0 - FULL_SCALE_DBM0) / 20)


def tone(frequencies: tuple[float, ...], seconds: float, dbm0: float) -> bytes:
    """Sines of the given frequencies (Hz) added up, each at the given level, with soft edges."""
    count = round(seconds * SAMPLE_RATE)
    ramp = RAMP_SECONDS * SAMPLE_RATE
    index = np.arange(count)
    edge = np.minimum(1.0, np.minimum(index + 0.5, count - index - 0.5) / ramp)
    angle = 2 * np.pi * index / SAMPLE_RATE
    samples = amplitude(dbm0) * edge * sum(np.sin(angle * frequency) for frequency in frequencies)
    return bytes(np.clip(np.rint(samples), -32768, 32767).astype("<i2").tobytes())


def silence(seconds: float) -> bytes:
    """PCM16 zeros."""
    return bytes(2 * round(seconds * SAMPLE_RATE))


@cache
def beep() -> bytes:
    """The tone after a voicemail message: 1 kHz, 400 ms, -12 dBm0."""
    return tone((1000.0,), 0.4, -12.0)
