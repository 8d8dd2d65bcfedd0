"""Tones: the beep before a recording, and what a caller hears while an agent is being reached.

All are PCM16 mono 8 kHz. Levels are in dBm0, on which a full-scale µ-law sine is +3.17 (ITU-T G.711 §5).
"""

from __future__ import annotations

import math
from array import array
from functools import cache

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
    peak = amplitude(dbm0)
    samples = array("h")
    for index in range(count):
        edge = min(1.0, (index + 0.5) / ramp, (count - index - 0.5) / ramp)
        angle = 2 * math.pi * index / SAMPLE_RATE
        value = peak * edge * sum(math.sin(angle * frequency) for frequency in frequencies)
        samples.append(max(-32768, min(32767, round(value))))
    return _little_endian(samples)


def silence(seconds: float) -> bytes:
    """PCM16 zeros."""
    return bytes(2 * round(seconds * SAMPLE_RATE))


@cache
def beep() -> bytes:
    """The tone after a voicemail message: 1 kHz, 400 ms, -12 dBm0."""
    return tone((1000.0,), 0.4, -12.0)


@cache
def ringback() -> bytes:
    """One period of North American ringback, to be repeated: 440 + 480 Hz at -19 dBm0, 2 s on, 4 s off."""
    return tone((440.0, 480.0), 2.0, -19.0) + silence(4.0)


def _little_endian(samples: array[int]) -> bytes:
    if array("h", [1]).tobytes() != b"\x01\x00":
        samples.byteswap()
    return samples.tobytes()
