"""Changing the sample rate of live audio, a frame at a time and without making it wait.

soxr, which files are resampled with, works on live audio in blocks: fed with 20 ms at a time it gives nothing
for 40 to 150 ms and then all at once, and in its variable-rate mode it holds 15 to 30 ms back. Telephone
rates are small multiples of each other, so a windowed-sinc filter in polyphase form does here: each 20 ms in
are 20 ms out at once, delayed by 2 ms, for about the same CPU.
"""

from __future__ import annotations

from functools import cache
from math import gcd
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

RATES = (8000, 16000, 24000, 48000)
"""Hz; what telephony, wideband telephony, speech models and Opus use."""

HALF_WIDTH = 16
"""Zero crossings of the filter on either side, at the lower of the two rates: 2 ms of delay at 8 kHz, and a
transition band of some 600 Hz."""

PASSBAND = 0.92
"""Cut-off as a part of the lower Nyquist frequency: 3.7 kHz at 8 kHz, where the telephone's band ends."""

KAISER_BETA = 7.0
"""Stopband 70 dB down, below the noise of G.711."""


class Resampler:
    """One direction of one call: PCM16 mono at `source` Hz in, at `target` Hz out. Keeps the filter's state.

    Any length goes in. Of lengths that are whole milliseconds exactly the same time comes out.

    Raises:
        ValueError: a rate is none of `RATES`.

    """

    __slots__ = ("_down", "_held", "_matrix")

    def __init__(self, source: int, target: int) -> None:
        if source not in RATES or target not in RATES:
            raise ValueError(f"cannot resample from {source} to {target} Hz: rates are {RATES}")
        self._matrix = _polyphase(source, target)
        self._down = source // gcd(source, target)
        self._held = np.zeros(len(self._matrix) - self._down, np.float32)

    def resample(self, pcm: bytes) -> bytes:
        """Take some audio and give what it makes; an odd last byte is left out."""
        fresh = np.frombuffer(pcm, "<i2", len(pcm) // 2)
        samples = np.concatenate((self._held, fresh), dtype=np.float32)
        width, down = len(self._matrix), self._down
        steps = max(0, (len(samples) - width) // down + 1)
        self._held = samples[steps * down :].copy()
        if not steps:
            return b""
        stride = samples.itemsize
        windows = np.ndarray((steps, width), np.float32, samples, 0, (down * stride, stride))
        made = np.rint(np.dot(windows, self._matrix))
        pcm_out: bytes = np.minimum(np.maximum(made, -32768), 32767).astype("<i2").tobytes()
        return pcm_out


@cache
def _polyphase(source: int, target: int) -> NDArray[np.float32]:
    """One column for each output phase: the taps by which it weighs a window of input samples.

    A window moves on by `down` inputs and gives `up` outputs. Column p is the prototype filter shifted by the
    p-th output's place between the inputs.
    """
    up, down = target // gcd(source, target), source // gcd(source, target)
    lower = min(source, target)
    reach = HALF_WIDTH * source / lower  # inputs on either side of an output
    width = 2 * round(reach) + down
    inputs = np.arange(width)[:, None]
    outputs = reach + np.arange(up)[None, :] * down / up
    distance = (inputs - outputs) * lower / source  # in samples of the lower rate
    window = np.kaiser(2 * 4096 + 1, KAISER_BETA)
    place = np.clip(distance / HALF_WIDTH, -1, 1)
    taper = np.interp(place, np.linspace(-1, 1, len(window)), window)
    taps = np.sinc(distance * PASSBAND) * taper
    return np.asarray(taps / taps.sum(axis=0), np.float32)
