"""RTP packets (RFC 3550 §5.1): CSRC list, extension and padding understood, never sent."""

from __future__ import annotations

import struct
from typing import NamedTuple

HEADER_BYTES = 12
_HEADER = struct.Struct("!BBHII")
_VERSION_2 = 0x80
_PADDING = 0x20
_EXTENSION = 0x10
_MARKER = 0x80


class RtpError(Exception):
    """The datagram is no RTP packet; the text says why."""


class RtpPacket(NamedTuple):
    """One RTP packet. A tuple: one is made for each packet that somebody listens to.

    payload_type: 0–127.
    sequence: 16 bits.
    timestamp: 32 bits, in units of the codec's clock (8000 a second here).
    ssrc: 32 bits.
    payload: codec bytes, 160 for 20 ms of G.711.
    marker: the first packet of a talk spurt or of a DTMF event.
    """

    payload_type: int
    sequence: int
    timestamp: int
    ssrc: int
    payload: bytes
    marker: bool = False

    @classmethod
    def parse(cls, data: bytes) -> RtpPacket:
        """Read a datagram; CSRCs and a header extension are skipped, padding is removed.

        Raises:
            RtpError: it is shorter than it claims, or not of version 2.

        """
        if len(data) < HEADER_BYTES:
            raise RtpError(f"{len(data)} bytes are shorter than an RTP header")
        first, second, sequence, timestamp, ssrc = _HEADER.unpack_from(data)
        if first == _VERSION_2:  # no CSRCs, no extension, no padding: nearly always
            return cls(second & 0x7F, sequence, timestamp, ssrc, data[HEADER_BYTES:], second >= _MARKER)
        if first & 0xC0 != _VERSION_2:
            raise RtpError(f"RTP version {first >> 6}")
        start = HEADER_BYTES + 4 * (first & 0x0F)
        if first & _EXTENSION:
            start += 4 + 4 * int.from_bytes(data[start + 2 : start + 4])
        end = len(data)
        if first & _PADDING:
            end -= data[-1] or end
        if start > end:
            raise RtpError("CSRCs, extension or padding exceed the packet")
        return cls(second & 0x7F, sequence, timestamp, ssrc, data[start:end], bool(second & _MARKER))

    def to_bytes(self) -> bytes:
        """The packet as it goes onto the wire."""
        return pack(
            self.payload_type, self.sequence, self.timestamp, self.ssrc, self.payload, marker=self.marker
        )


def plain_header(data: bytes) -> tuple[int, int, int, int] | None:
    """Payload type, sequence number, timestamp and SSRC of a packet whose payload is all that follows.

    None for one with CSRCs, an extension or padding, and for what is no packet: see `RtpPacket.parse`.
    """
    if len(data) < HEADER_BYTES or data[0] != _VERSION_2:
        return None
    _, second, sequence, timestamp, ssrc = _HEADER.unpack_from(data)
    return second & 0x7F, sequence, timestamp, ssrc


def pack(
    payload_type: int, sequence: int, timestamp: int, ssrc: int, payload: bytes, *, marker: bool = False
) -> bytes:
    """Build a packet without making an `RtpPacket`; arguments as its fields."""
    second = payload_type | _MARKER if marker else payload_type
    return _HEADER.pack(_VERSION_2, second, sequence, timestamp, ssrc) + payload


def signed32(difference: int) -> int:
    """A difference of two timestamps as a signed number, across the wrap at 2**32."""
    return (difference + 0x80000000 & 0xFFFFFFFF) - 0x80000000
