"""G.722 at 64 kbit/s (ITU-T Rec. G.722; RFC 3551 §4.5.2): speech up to 7 kHz in the bytes of G.711."""

from __future__ import annotations

import sys
from array import array

from G722 import G722

SAMPLE_RATE = 16000
BIT_RATE = 64000


class G722Encoder:
    """PCM16 mono 16 kHz in, one byte for two samples out."""

    __slots__ = ("_coder",)

    def __init__(self) -> None:
        self._coder = G722(SAMPLE_RATE, BIT_RATE)

    def encode(self, pcm: bytes) -> bytes:
        """Encode; an odd last byte is left out."""
        samples = array("h", pcm if len(pcm) % 2 == 0 else pcm[:-1])
        if sys.byteorder == "big":
            samples.byteswap()
        encoded: bytes = self._coder.encode(samples)
        return encoded


class G722Decoder:
    """The reverse. Every byte means something, so nothing is malformed."""

    __slots__ = ("_coder",)

    def __init__(self) -> None:
        self._coder = G722(SAMPLE_RATE, BIT_RATE)

    def decode(self, payload: bytes) -> bytes:
        """Decode to PCM16 mono 16 kHz, four bytes for each."""
        samples: array[int] = self._coder.decode(payload)
        if sys.byteorder == "big":
            samples.byteswap()
        return samples.tobytes()
