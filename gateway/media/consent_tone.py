"""The tone that says "this call is recorded", put into the stream in place of speech, both ways."""

from __future__ import annotations

from typing import Final

from gateway.media.codecs import AudioCodec, Encoder
from gateway.media.rtp import RtpError, RtpPacket
from gateway.media.tones import tone

FREQUENCY: Final = 1400.0
TONE_SECONDS: Final = 0.26
LEVEL: Final = -20.0
"""The beep of telephone recorders: 1,260 to 1,540 Hz, 200 to 250 ms and a soft edge, below the voices."""

_RATE: Final = 8000
_TONE: Final = tone((FREQUENCY,), TONE_SECONDS, LEVEL)


class ConsentTone:
    """One direction's tone.

    It replaces the payload of whatever packets pass while it sounds: their headers, and so everything that
    depends on sequence and time, stay. A silent stream has no packets, and no tone.

    Args:
        interval: seconds from one tone to the next; 0: only at the beginning.

    """

    __slots__ = ("_encoder", "_interval", "_next", "_of", "_position")

    def __init__(self, interval: float) -> None:
        self._interval = interval
        self._next = 0.0
        self._position: int | None = None
        self._of: AudioCodec | None = None
        self._encoder: Encoder | None = None

    def due(self, now: float) -> bool:
        """Whether a packet of now is to be replaced; now: seconds since the recording began."""
        return self._position is not None or now >= self._next

    def replace(self, packet: bytes, codec: AudioCodec, now: float) -> bytes:
        """The packet with the tone in it; untouched where its form does not allow it."""
        try:
            rtp = RtpPacket.parse(packet)
        except RtpError:
            return packet
        samples = codec.units(rtp.payload) * _RATE // codec.clock_rate
        at = self._position or 0
        if at == 0:
            self._next = now + self._interval if self._interval else float("inf")
        self._position = at + samples if 2 * (at + samples) < len(_TONE) else None
        pcm = _TONE[2 * at : 2 * (at + samples)]
        payload = self._encode(codec, pcm + bytes(2 * samples - len(pcm)))
        if len(payload) != len(rtp.payload) or not packet.endswith(rtp.payload):  # or it is padded
            return packet
        return packet[: len(packet) - len(payload)] + payload

    def _encode(self, codec: AudioCodec, pcm: bytes) -> bytes:
        if self._encoder is None or self._of is not codec:
            self._of, self._encoder = codec, codec.encoder(_RATE)
        return self._encoder.encode(pcm)
