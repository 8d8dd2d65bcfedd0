"""Packet loss concealment: what a missing frame most likely sounded like.

In the spirit of ITU-T G.711 Appendix I. Speech repeats itself every 2.5 to 15 ms, so a gap is filled with the
last period over and over, from the second frame on with the last few periods, which buzzes less. After 10 ms
it fades, and after 60 ms it has become the noise that was heard between the words: nobody's voice goes on for
longer by itself. The first frame after a gap is blended in, so that neither end of the gap clicks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from gateway.media.comfort_noise import NoiseSource, rms

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Samples = NDArray[np.float32]

HISTORY_FRAMES = 3
"""Frames of the past that a gap is filled from: 60 ms, three of the longest periods and some to compare."""

SHORTEST_PERIOD = 0.0025
LONGEST_PERIOD = 0.015
"""Seconds: voices between 400 and 66 Hz."""

COMPARED = 0.02
"""Seconds at the end of the past whose like is looked for."""

VOICED = 0.5
"""Correlation from which on the past repeats itself; below it is noise, and the longest period is best."""

PERIODS_LATER = 3
"""Periods repeated from the second missing frame on."""

HOLD = 0.01
FADED = 0.06
"""Seconds: unchanged until the one, faded out at the other (Appendix I loses a fifth each 10 ms)."""

BLEND = 0.005
"""Seconds over which the first frame after a gap replaces what was made up."""

LOUDEST_BACKGROUND = rms(45)
"""Of the noise that remains: what is louder between words was no background."""

_SEARCH_RATE = 8000
"""Hz at which periods are looked for; exact enough, and a quarter of the work at 16 kHz."""


class Concealer:
    """Makes up the frames of one gap; made anew for each.

    Args:
        history: what was heard before the gap: at least two frames of PCM16 mono at `rate`.
        rate: Hz.
        noise: where noise comes from.

    """

    __slots__ = ("_background", "_filled", "_noise", "_period", "_rate", "_template")

    def __init__(self, history: bytes, rate: int, noise: NoiseSource) -> None:
        past = np.frombuffer(history, "<i2").astype(np.float32)
        self._rate = rate
        self._noise = noise
        self._filled = 0
        self._period = _period(past, rate)
        self._background = _background(past, rate)
        self._template = _joined(past, self._period, 1)
        later = min(PERIODS_LATER, (len(past) - rate // 200) // self._period)
        if later > 1:
            self._template = np.concatenate((self._template, _joined(past, self._period, later)))

    def frame(self, count: int) -> bytes:
        """The next `count` samples of the gap, PCM16."""
        made = self._made_up(count)
        self._filled += count
        return _pcm(made)

    def blend(self, frame: bytes) -> bytes:
        """The first frame after the gap, with its beginning blended into what would have gone on."""
        heard = np.frombuffer(frame, "<i2").astype(np.float32)
        count = min(round(BLEND * self._rate), len(heard))
        rising = (np.arange(count, dtype=np.float32) + 0.5) / count
        heard[:count] = heard[:count] * rising + self._made_up(count) * (1 - rising)
        return _pcm(heard)

    def _made_up(self, count: int) -> Samples:
        at = np.arange(self._filled, self._filled + count)
        seconds = at / self._rate
        gain = np.clip((FADED - seconds) / (FADED - HOLD), 0, 1).astype(np.float32)
        noise = self._noise.samples(count, self._background) * (1 - gain)
        if self._filled >= FADED * self._rate:
            return noise
        period, size = self._period, len(self._template)
        first_frame = -(-round(0.02 * self._rate) // period) * period  # whole periods: no step in between
        later = size - period
        index = at % period
        if later:
            index = np.where(at < first_frame, index, period + (at - first_frame) % later)
        return self._template[index] * gain + noise


def _period(past: Samples, rate: int) -> int:
    """The distance in samples at which the end of the past looks most like what was before."""
    step = rate // _SEARCH_RATE
    coarse = past if step == 1 else past[len(past) % step :].reshape(-1, step).mean(axis=1)
    shortest, longest = round(SHORTEST_PERIOD * _SEARCH_RATE), round(LONGEST_PERIOD * _SEARCH_RATE)
    size = min(round(COMPARED * _SEARCH_RATE), len(coarse) - longest)
    tail = coarse[-size:]
    before = coarse[-size - longest : -shortest]  # a window of `size` for each lag, the longest first
    products = np.correlate(before, tail, "valid")
    squares = np.concatenate(([0.0], np.cumsum(np.square(before, dtype=np.float64))))
    energies = squares[size:] - squares[:-size]
    likeness = products / np.sqrt(np.maximum(energies * float(np.dot(tail, tail)), 1.0))
    best = int(np.argmax(likeness))
    lag = longest - best if likeness[best] >= VOICED else longest
    return lag * step


def _background(past: Samples, rate: int) -> float:
    """The level between the words: that of the quietest 5 ms."""
    size = rate // 200
    blocks = past[len(past) % size :].reshape(-1, size)
    return min(float(np.sqrt(np.mean(np.square(blocks), axis=1).min())), LOUDEST_BACKGROUND)


def _joined(past: Samples, period: int, periods: int) -> Samples:
    """The last periods, their end blended into what came before them, so that they repeat without a step."""
    size = period * periods
    template = past[-size:].copy()
    overlap = min(period // 4, len(past) - size)
    if overlap > 0:
        rising = (np.arange(overlap, dtype=np.float32) + 0.5) / overlap
        before = past[-size - overlap : -size]
        template[-overlap:] = template[-overlap:] * (1 - rising) + before * rising
    return template


def _pcm(samples: Samples) -> bytes:
    pcm: bytes = np.minimum(np.maximum(np.rint(samples), -32768), 32767).astype("<i2").tobytes()
    return pcm
