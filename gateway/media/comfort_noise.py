"""Comfort noise (RFC 3389): what a line sounds like while nobody speaks.

Ours is white and of the level that the peer announced. The announced spectrum, an option of the payload, is
not followed: an agent's ear needs the level, to tell silence from speech.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

PAYLOAD_TYPE = 13
"""Static, for codecs with a clock of 8000 Hz (RFC 3389 §4)."""

FULL_SCALE = 32768

LOUDEST = 30
"""-dBov, the loudest noise that is believed; the level byte could order up full scale."""

SILENT = 78
"""-dBov from which on it is below one step of G.711, and silence will do."""

_SUPPLY = 1 << 15


def announced_level(payload: bytes) -> int:
    """The noise level in -dBov that a comfort noise packet announces, `SILENT` at the lowest."""
    if not payload:
        return SILENT
    return min(max(payload[0] & 0x7F, LOUDEST), SILENT)


def rms(level: float) -> float:
    """The root mean square of samples at a level in -dBov."""
    return float(FULL_SCALE * 10 ** (-level / 20))


class NoiseSource:
    """Gives noise of any level, PCM16 as float samples; each frame is another piece of one long supply."""

    __slots__ = ("_at",)

    def __init__(self) -> None:
        self._at = 0

    def samples(self, count: int, level_rms: float) -> NDArray[np.float32]:
        """Noise of the given root mean square."""
        supply = _noise()
        self._at = (self._at + 7919) % (len(supply) - count)  # a prime: pieces repeat only after minutes
        return supply[self._at : self._at + count] * np.float32(level_rms)


@cache
def _noise() -> NDArray[np.float32]:
    """White noise of unit power, the same in every run: its only use is to be heard."""
    return np.random.default_rng(3389).standard_normal(_SUPPLY).astype(np.float32)
