"""Opus (RFC 6716, RFC 7587), for SIP agents that offer nothing else; needs the extra ``opus`` (PyAV)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

try:
    import av
except ImportError:  # the extra is not installed: `installed` tells, and nobody offers it
    av = None  # type: ignore[assignment] # absent, which every use here asks for first

if TYPE_CHECKING:
    from av import AudioCodecContext

CLOCK_RATE = 48000
"""Of RTP timestamps, whatever is inside (RFC 7587 §4.1)."""

SAMPLE_RATE = 48000
"""Of PCM on both sides of the library; a telephone's narrower band costs it no bits."""

FRAME_SAMPLES = SAMPLE_RATE // 50

BIT_RATE = 32000
"""Fullband speech (RFC 7587 §3.1.1 gives 28 to 40 kbit/s)."""

MAX_PACKET_UNITS = CLOCK_RATE * 120 // 1000
"""A packet is no longer than 120 ms (RFC 6716 §3.2.5)."""

_SILK = (480, 960, 1920, 2880)
_HYBRID = (480, 960)
_CELT = (120, 240, 480, 960)


class OpusMissing(Exception):  # noqa: N818 - it names a state of this installation
    """Opus was asked for, and its library is not installed."""

    def __init__(self) -> None:
        super().__init__("Opus needs the extra 'opus': pip install 'voice-gateway[opus]'")


def installed() -> bool:
    """Whether this installation speaks Opus."""
    return av is not None


def units(payload: bytes) -> int:
    """How long a packet is, in units of 1/48000 s, by its table-of-contents byte (RFC 6716 §3.1)."""
    if not payload:
        return 0
    config, code = payload[0] >> 3, payload[0] & 3
    if config < 12:
        frame = _SILK[config & 3]
    elif config < 16:
        frame = _HYBRID[config & 1]
    else:
        frame = _CELT[config & 3]
    count = (1, 2, 2, payload[1] & 0x3F if len(payload) > 1 else 0)[code]
    return min(count * frame, MAX_PACKET_UNITS)


class OpusEncoder:
    """PCM16 mono 48 kHz in, one packet for 20 ms out. Raises OpusMissing when made without the library."""

    __slots__ = ("_context",)

    def __init__(self) -> None:
        context = _context("w")
        context.format = "s16"
        context.bit_rate = BIT_RATE
        context.options = {"application": "voip", "frame_duration": "20"}
        context.open()
        self._context = context

    def encode(self, pcm: bytes) -> bytes:
        """Encode one frame of 960 samples."""
        frame = av.AudioFrame(format="s16", layout="mono", samples=len(pcm) // 2)
        frame.planes[0].update(pcm)
        frame.sample_rate = SAMPLE_RATE
        return b"".join(bytes(packet) for packet in self._context.encode(frame))


class OpusDecoder:
    """The reverse. Raises OpusMissing when made without the library."""

    __slots__ = ("_context",)

    def __init__(self) -> None:
        self._context = _context("r")

    def decode(self, payload: bytes) -> bytes:
        """Decode a packet to PCM16 mono 48 kHz; one that is malformed gives nothing."""
        try:
            frames = self._context.decode(av.Packet(payload))
        except av.FFmpegError:
            return b""
        return b"".join(bytes(frame.planes[0])[: 2 * frame.samples] for frame in frames)


def _context(mode: Literal["r", "w"]) -> AudioCodecContext:
    if av is None:
        raise OpusMissing
    context = av.CodecContext.create("libopus", mode)
    context.sample_rate = SAMPLE_RATE
    context.layout = "mono"
    return context
