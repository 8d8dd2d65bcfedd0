"""Whether somebody is speaking, by energy: enough to end a recording after some seconds of silence.

A frame is voice when its level is well above the background. The background falls at once to the quietest
frame heard and creeps up slowly, so a noisy line is learned within seconds, while syllables are too short
to be taken for it. It never creeps above `LOUDEST_BACKGROUND`: whatever is as loud as speech counts as
speech.
"""

from __future__ import annotations

import math
import sys
from array import array
from collections.abc import Callable

from gateway.media.g711 import FRAME_SECONDS
from gateway.media.tones import amplitude

QUIETEST_VOICE = amplitude(-42)
"""Mean magnitude below which a frame is silence on any line; telephone speech is around -20 dBm0."""

LOUDEST_BACKGROUND = amplitude(-32)
ABOVE_BACKGROUND = math.pow(10, 8 / 20)
"""Voice is this much louder than the background: 8 dB."""

CREEP = math.pow(10, 1.5 * FRAME_SECONDS / 20)
"""The background rises by at most 1.5 dB a second."""

ONSET_FRAMES = 3
"""Frames in a row that make voice: 60 ms, longer than a click and shorter than a syllable."""


class VoiceActivity:
    """Follows one stream of 20 ms frames.

    magnitude: of a frame in the form that they have, as `mean_magnitude` says it of PCM16.
    now: seconds of any clock, the same one throughout. Time passes also when no frames come (a peer that
    suppresses silence sends none), so silence is measured by the clock and not by frames.

    Attributes:
        voiced_seconds: how much voice there was in all.

    """

    __slots__ = ("_background", "_last_voice", "_magnitude", "_run", "voiced_seconds")

    def __init__(self, now: float, magnitude: Callable[[bytes], float] | None = None) -> None:
        self._magnitude = magnitude or mean_magnitude
        self._last_voice = now
        self._background = QUIETEST_VOICE / ABOVE_BACKGROUND
        self._run = 0
        self.voiced_seconds = 0.0

    def hear(self, frame: bytes, now: float) -> None:
        """Take one frame."""
        level = self._magnitude(frame)
        background = self._background
        if level > QUIETEST_VOICE and level > background * ABOVE_BACKGROUND:
            self._run += 1
            if self._run >= ONSET_FRAMES:
                self.voiced_seconds += FRAME_SECONDS * (ONSET_FRAMES if self._run == ONSET_FRAMES else 1)
                self._last_voice = now
        else:
            self._run = 0
        self._background = min(max(level, 1.0), background * CREEP, LOUDEST_BACKGROUND)

    def silence(self, now: float) -> float:
        """Seconds since voice was last heard, or since the beginning."""
        return now - self._last_voice


def mean_magnitude(frame: bytes) -> float:
    """Mean of the samples' absolute values, 0 to 32768; 0 for an empty frame."""
    samples = array("h", frame)
    if sys.byteorder == "big":
        samples.byteswap()
    return sum(map(abs, samples)) / len(samples) if samples else 0.0
