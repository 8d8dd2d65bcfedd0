"""Keys pressed during a call, as the tones themselves (ITU-T Q.23, Q.24), for peers that send no events.

A key is two sines, one of a row and one of a column. Every 10 ms the last 25 ms are looked at, through a Hann
window, so that tones off by 1.5 % still count. Speech has energy everywhere, overtones above all, and seldom
two pure tones of like level: a window must hold little else than the two, and two windows in a row must
agree, before a key is believed.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from gateway.media.g711 import FRAME_SAMPLES, SAMPLE_RATE
from gateway.media.tones import amplitude

if TYPE_CHECKING:
    from numpy.typing import NDArray

ROWS = (697.0, 770.0, 852.0, 941.0)
COLUMNS = (1209.0, 1336.0, 1477.0, 1633.0)
KEYS = ("123A", "456B", "789C", "*0#D")

WINDOW = 200
"""Samples looked at: 25 ms."""

HOP = 80
"""Samples from one look to the next: 10 ms. Two in a row take 35 ms, less than the shortest key (40 ms)."""

AGREEING = 2
"""Looks in a row that make a key."""

RELEASED = 3
"""Looks in a row without a key that end a press: an interruption of 10 ms does not, one of 40 does."""

WEAKEST = amplitude(-30) ** 2
"""Squared amplitude of the weaker tone; receivers have to hear -25 dBm0 (Q.24)."""

TWIST = 10 ** (9 / 10)
"""Most that one tone may be stronger than the other: 8 dB (Q.24), and one for the line."""

APART = 10 ** (8 / 10)
"""The strongest of each four stands out from the others by at least 8 dB."""

PURE = 0.72
"""Least part of the energy that is in the two tones; a tone 1.5 % off seems to have 0.65, its partner 1."""

OVERTONE = 10 ** (-10 / 10)
"""Most that the first overtone of either tone may have of its energy."""

CLEAR_OF = 120.0
"""Hz: an overtone this close to the other tone tells nothing."""


class InbandDtmf:
    """Finds key presses in 20 ms frames of PCM16 mono 8 kHz.

    on_digit: called with ``0``–``9``, ``*``, ``#`` or ``A``–``D``, once a press, some 40 ms after it began.
    """

    __slots__ = ("_key", "_on_digit", "_past", "_same", "_seen")

    def __init__(self, on_digit: Callable[[str], None]) -> None:
        self._on_digit = on_digit
        self._past = np.zeros(WINDOW - HOP, np.float32)
        self._key: str | None = None  # reported, and still pressed
        self._seen: str | None = None  # at the last look
        self._same = 0

    def hear(self, pcm: bytes) -> None:
        """Take one frame."""
        samples = np.concatenate((self._past, np.frombuffer(pcm, "<i2")), dtype=np.float32)
        self._past = samples[-(WINDOW - HOP) :]
        windows = np.ndarray((2, WINDOW), np.float32, samples, 0, (HOP * 4, 4)) * _HANN
        energies = np.einsum("ij,ij->i", windows, windows)
        if energies.max() < _LEAST_ENERGY:
            keys: tuple[str | None, str | None] = (None, None)
        else:
            parts = np.square(np.dot(windows, _PROBES)).reshape(2, 2, -1).sum(axis=1) * _TO_SQUARED_AMPLITUDE
            keys = _key(parts[0], energies[0]), _key(parts[1], energies[1])
        for key in keys:
            self._look(key)

    def resume(self, pcm: bytes) -> None:
        """The frame before the one to be heard next, after others were skipped."""
        self._past = np.frombuffer(pcm, "<i2")[HOP - WINDOW :].astype(np.float32)

    def skip(self) -> None:
        """A frame that is known to hold no tones: cheaper than hearing it."""
        if (
            self._key is not None or self._seen is not None
        ):  # of nothing after nothing there is no end to tell
            for _ in range(FRAME_SAMPLES // HOP):
                self._look(None)

    def _look(self, key: str | None) -> None:
        self._same = self._same + 1 if key == self._seen else 1
        self._seen = key
        if key is None:
            if self._same == RELEASED:
                self._key = None
        elif self._same == AGREEING and key != self._key:
            self._key = key
            self._on_digit(key)


def _key(parts: NDArray[np.float32], energy: float) -> str | None:
    """The key in a window, from the squared amplitudes of tones and overtones and the energy of it all."""
    values = parts.tolist()
    row = max(range(4), key=values.__getitem__)
    column = max(range(4, 8), key=values.__getitem__)
    low, high = values[row], values[column]
    if min(low, high) < WEAKEST or low > high * TWIST or high > low * TWIST:
        return None
    if (low + high) * _ENERGY_OF_ONE < PURE * energy:
        return None
    if any(values[at] * APART > low for at in range(4) if at != row):
        return None
    if any(values[at] * APART > high for at in range(4, 8) if at != column):
        return None
    if values[8 + column] > high * OVERTONE:
        return None
    clear = abs(2 * ROWS[row] - COLUMNS[column - 4]) > CLEAR_OF
    if clear and values[8 + row] > low * OVERTONE:
        return None
    return KEYS[row][column - 4]


_HANN = (0.5 - 0.5 * np.cos(2 * np.pi * (np.arange(WINDOW) + 0.5) / WINDOW)).astype(np.float32)
_TO_SQUARED_AMPLITUDE = np.float32(4 / float(_HANN.sum()) ** 2)
_ENERGY_OF_ONE = float((_HANN**2).sum()) / 2
"""Windowed energy of a sine of amplitude 1."""

_LEAST_ENERGY = 2 * WEAKEST * _ENERGY_OF_ONE


def _probes() -> NDArray[np.float32]:
    """Cosines, then sines, of the eight tones and their first overtones, one a column."""
    hertz = np.array([*ROWS, *COLUMNS, *(2 * each for each in (*ROWS, *COLUMNS))])
    angles = 2 * math.pi * np.outer(np.arange(WINDOW), hertz) / SAMPLE_RATE
    return np.hstack((np.cos(angles), np.sin(angles))).astype(np.float32)


_PROBES = _probes()
