"""Just enough audio to judge what a telephone heard: tones, G.711 and three measurements.

Written apart from ``gateway.media`` on purpose: a witness that shares its tables with the accused
would repeat its mistakes. Audio is PCM16 mono at 8 kHz, held as numpy ``int16`` arrays.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

RATE = 8000  # samples a second
FRAME = 160  # samples in 20 ms

Samples = NDArray[np.int16]


def _mulaw_table() -> Samples:
    """ITU-T G.711 µ-law: code → linear, straight from the definition (segments of 16 steps, bias 33)."""
    codes = ~np.arange(256, dtype=np.int32) & 0xFF
    magnitude = (((codes & 0x0F) << 1) + 33 << (codes >> 4 & 7)) - 33
    return np.where(codes & 0x80, -magnitude, magnitude).astype(np.int16) * 4


def _alaw_table() -> Samples:
    """ITU-T G.711 A-law: code → linear; the even bits travel inverted, a set sign bit is positive."""
    codes = np.arange(256, dtype=np.int32) ^ 0x55
    segment, step = codes >> 4 & 7, codes & 0x0F
    magnitude = np.where(segment == 0, (step << 1) + 1, ((step << 1) + 33) << np.maximum(segment - 1, 0))
    return np.where(codes & 0x80, magnitude, -magnitude).astype(np.int16) * 8


_DECODE = {"PCMU": _mulaw_table(), "PCMA": _alaw_table()}
_ORDER = {name: np.argsort(table, kind="stable") for name, table in _DECODE.items()}


def decode(payload: bytes, codec: str = "PCMU") -> Samples:
    """G.711 octets to samples."""
    return _DECODE[codec][np.frombuffer(payload, dtype=np.uint8)]


def encode(samples: Samples, codec: str = "PCMU") -> bytes:
    """Samples to the G.711 octets whose decoded value is nearest."""
    order = _ORDER[codec]
    levels = _DECODE[codec][order].astype(np.int32)
    middles = (levels[1:] + levels[:-1]) // 2
    return order[np.searchsorted(middles, samples.astype(np.int32))].astype(np.uint8).tobytes()


def tone(hertz: float, seconds: float, amplitude: float = 0.3) -> Samples:
    """A sine."""
    t = np.arange(int(seconds * RATE)) / RATE
    return (np.sin(2 * np.pi * hertz * t) * amplitude * 32767).astype(np.int16)


def silence(seconds: float) -> Samples:
    """Nothing."""
    return np.zeros(int(seconds * RATE), dtype=np.int16)


def tone_share(samples: Samples, hertz: float) -> float:
    """Part of the signal's energy at one frequency, 0…1 (a DFT bin computed directly, as Goertzel does)."""
    x = samples.astype(np.float64)
    energy = float(np.dot(x, x))
    if energy == 0.0:
        return 0.0
    phase = np.exp(-2j * np.pi * hertz / RATE * np.arange(len(x)))
    return float(2 * abs(np.dot(x, phase)) ** 2 / (len(x) * energy))


def loudest_tone(samples: Samples, among: Sequence[float]) -> float:
    """Which of the given frequencies the signal holds most of."""
    return max(among, key=lambda hertz: tone_share(samples, hertz))


def heard(samples: Samples, reference: Samples) -> tuple[float, int]:
    """Where in ``samples`` the ``reference`` is heard, and how well.

    Returns (normalised cross-correlation −1…1 at the best place, its offset in samples).
    """
    if len(samples) < len(reference):
        samples = np.concatenate([samples, np.zeros(len(reference) - len(samples), dtype=np.int16)])
    x, y = samples.astype(np.float64), reference.astype(np.float64)
    size = 1 << (len(x) + len(y)).bit_length()
    products = np.fft.irfft(np.fft.rfft(x, size) * np.conj(np.fft.rfft(y, size)), size)
    lags = products[: len(x) - len(y) + 1]
    running = np.concatenate([[0.0], np.cumsum(x * x)])
    energy = np.sqrt((running[len(y) :] - running[: len(x) - len(y) + 1]) * np.dot(y, y))
    scores = np.where(energy > 0, lags / np.maximum(energy, 1e-9), 0.0)
    best = int(np.argmax(scores))
    return float(scores[best]), best
