"""G.711 (ITU-T Rec. G.711; RFC 3551 §4.5.14): µ-law and A-law, by table.

Linear audio is everywhere PCM16: signed 16-bit little-endian, mono, 8 kHz; a 20 ms frame is 160 samples,
320 bytes of PCM16, 160 bytes of G.711. Decoding is two `bytes.translate` and an interleave: 1 µs a frame;
encoding is one look-up a
sample in a table of 65,536 entries: 6 µs a frame.
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise

SAMPLE_RATE = 8000
FRAME_SAMPLES = 160
"""20 ms, the packet time that every carrier offers."""

FRAME_SECONDS = FRAME_SAMPLES / SAMPLE_RATE
FRAME_BYTES = 2 * FRAME_SAMPLES
"""One frame of PCM16."""

_BIAS = 33  # G.711 table 2a: added to the 14-bit magnitude before the segment is looked for


def _ulaw_value(code: int) -> int:
    code = ~code & 0xFF
    magnitude = ((code & 0x0F) << 1 | _BIAS) << (code >> 4 & 7)
    value = (magnitude - _BIAS) << 2
    return -value if code & 0x80 else value


def _alaw_value(code: int) -> int:
    code ^= 0x55
    segment = code >> 4 & 7
    magnitude = (code & 0x0F) << 1 | 1
    if segment:
        magnitude = (magnitude + 32) << (segment - 1)
    value = magnitude << 3
    return value if code & 0x80 else -value


@dataclass(frozen=True, slots=True)
class Codec:
    """One of the two laws.

    name: as in SDP; payload_type: the static one (RFC 3551 §6); silence: the code of a zero sample.
    """

    name: str
    payload_type: int
    silence: bytes
    _low: bytes
    _high: bytes
    _codes: bytes

    def decode(self, payload: bytes) -> bytes:
        """G.711 bytes to PCM16, two bytes each."""
        pcm = bytearray(2 * len(payload))
        pcm[0::2] = payload.translate(self._low)
        pcm[1::2] = payload.translate(self._high)
        return bytes(pcm)

    def encode(self, pcm: bytes) -> bytes:
        """PCM16 to G.711, one byte a sample; an odd last byte is left out."""
        samples = array("H")
        samples.frombytes(pcm if len(pcm) % 2 == 0 else pcm[:-1])
        if sys.byteorder == "big":
            samples.byteswap()
        return bytes(map(self._codes.__getitem__, samples))

    def frames(self, pcm: bytes) -> list[bytes]:
        """PCM16 cut into encoded 20 ms frames of 160 bytes, the last one filled up with silence."""
        encoded = self.encode(pcm)
        encoded += self.silence * (-len(encoded) % FRAME_SAMPLES)
        return [encoded[at : at + FRAME_SAMPLES] for at in range(0, len(encoded), FRAME_SAMPLES)]


def _codec(name: str, payload_type: int, value_of: Callable[[int], int]) -> Codec:
    """Derive all tables from the decoding rule: a sample is encoded as the code whose value is nearest."""
    values = [value_of(code) for code in range(256)]
    ordered = sorted(range(256), key=lambda code: (values[code], code))
    codes = bytearray()
    for code, above in pairwise(ordered):
        boundary = (values[code] + values[above] + 1) // 2  # first sample that belongs to `above`
        codes += bytes([code]) * (boundary + 0x8000 - len(codes))
    codes += bytes([ordered[-1]]) * (0x10000 - len(codes))
    return Codec(
        name,
        payload_type,
        silence=bytes(codes[0x8000:0x8001]),
        _low=bytes(value & 0xFF for value in values),
        _high=bytes(value >> 8 & 0xFF for value in values),
        # indexed by the sample read as unsigned: 0…32767, -32768…-1
        _codes=bytes(codes[0x8000:] + codes[:0x8000]),
    )


PCMU = _codec("PCMU", 0, _ulaw_value)
PCMA = _codec("PCMA", 8, _alaw_value)

CODECS: Mapping[str, Codec] = {"PCMU": PCMU, "PCMA": PCMA}
"""By the encoding name of SDP, upper case."""

LOUDNESS_STEP = 16


def _loudness(value_of: Callable[[int], int]) -> bytes:
    steps = ((abs(value_of(code)) + LOUDNESS_STEP // 2) // LOUDNESS_STEP for code in range(256))
    return bytes(min(step, 255) for step in steps)


LOUDNESS: Mapping[str, bytes] = {"PCMU": _loudness(_ulaw_value), "PCMA": _loudness(_alaw_value)}
"""For each code its magnitude in steps of `LOUDNESS_STEP`, at most 255 of them. How loud a frame is shows
in the sum of its bytes translated by this, at an eighth of the price of decoding it and adding samples."""


def _magnitudes(value_of: Callable[[int], int]) -> tuple[bytes, bytes]:
    values = [abs(value_of(code)) for code in range(256)]
    return bytes(value & 0xFF for value in values), bytes(value >> 8 for value in values)


MAGNITUDES: Mapping[str, tuple[bytes, bytes]] = {
    "PCMU": _magnitudes(_ulaw_value),
    "PCMA": _magnitudes(_alaw_value),
}
"""For each code its magnitude as PCM16: the lower byte, and the upper one."""
