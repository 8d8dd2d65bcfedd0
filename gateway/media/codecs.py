"""Every form in which audio comes and goes, as one table: sessions, transcoding, recording and SDP read it.

A codec is a value; its coders have state, one of each for every direction of every call. Coders take and give
PCM16 mono at whatever rate they are asked for, and resample where that is not the codec's own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from gateway.media import g711, opus
from gateway.media.g722 import G722Decoder, G722Encoder
from gateway.media.linear import NetworkOrder, Untouched
from gateway.media.resampler import Resampler

FRAMES_PER_SECOND = 50
"""A frame is 20 ms, whatever the codec."""


class Encoder(Protocol):
    """PCM16 mono in, the codec's bytes out. Takes whole frames of 20 ms."""

    def encode(self, pcm: bytes) -> bytes:
        """Encode one frame."""


class Decoder(Protocol):
    """The codec's bytes in, PCM16 mono out."""

    def decode(self, payload: bytes) -> bytes:
        """Decode one payload. What cannot be decoded gives nothing; it never raises."""


@dataclass(frozen=True, slots=True, eq=False)
class AudioCodec:
    """One form of audio.

    name: the encoding name of SDP, as RFC 3551 and RFC 7587 write it.
    clock_rate: of RTP timestamps and SDP, Hz. G.722 says 8000 though it samples at 16000 (RFC 3551 §4.5.2).
    sample_rate: Hz of the PCM that its coders work on.
    payload_type: the static one (RFC 3551 §6), None where SDP has to number it.
    channels: as SDP counts them; Opus says 2 whatever is in it (RFC 7587 §7).
    frame_bytes: of 20 ms, None where that varies.
    silence: 20 ms of it, as a coder that has heard nothing makes it; empty where `frame_bytes` is None.
    stateless: each sample is coded by itself, so that `silence` may follow anything.
    units: how long a payload is, in units of the RTP timestamp.
    """

    name: str
    clock_rate: int
    sample_rate: int
    payload_type: int | None
    frame_bytes: int | None
    silence: bytes
    stateless: bool
    _encoder: Callable[[], Encoder] = field(repr=False)
    _decoder: Callable[[], Decoder] = field(repr=False)
    units: Callable[[bytes], int] = field(repr=False)
    channels: int = 1

    @property
    def frame_units(self) -> int:
        """Units of the RTP timestamp in 20 ms."""
        return self.clock_rate // FRAMES_PER_SECOND

    def encoder(self, rate: int) -> Encoder:
        """Make an encoder of PCM at `rate` Hz. Raises ValueError at a rate that cannot be resampled."""
        coder = self._encoder()
        return coder if rate == self.sample_rate else _ResamplingEncoder(coder, rate, self.sample_rate)

    def decoder(self, rate: int) -> Decoder:
        """Make a decoder to PCM at `rate` Hz. Raises ValueError at a rate that cannot be resampled."""
        coder = self._decoder()
        return coder if rate == self.sample_rate else _ResamplingDecoder(coder, self.sample_rate, rate)

    def frames(self, pcm: bytes, rate: int = g711.SAMPLE_RATE) -> list[bytes]:
        """PCM16 at `rate` Hz as payloads of 20 ms, the last one filled up with silence."""
        encoder, length = self.encoder(rate), pcm_frame_bytes(rate)
        pcm += bytes(-len(pcm) % length)
        return [encoder.encode(pcm[at : at + length]) for at in range(0, len(pcm), length)]


def pcm_frame_bytes(rate: int) -> int:
    """Bytes of 20 ms of PCM16 mono at `rate` Hz."""
    return 2 * rate // FRAMES_PER_SECOND


class _ResamplingEncoder:
    __slots__ = ("_coder", "_resampler")

    def __init__(self, coder: Encoder, source: int, target: int) -> None:
        self._coder = coder
        self._resampler = Resampler(source, target)

    def encode(self, pcm: bytes) -> bytes:
        return self._coder.encode(self._resampler.resample(pcm))


class _ResamplingDecoder:
    __slots__ = ("_coder", "_resampler")

    def __init__(self, coder: Decoder, source: int, target: int) -> None:
        self._coder = coder
        self._resampler = Resampler(source, target)

    def decode(self, payload: bytes) -> bytes:
        return self._resampler.resample(self._coder.decode(payload))


def _law(law: g711.Codec) -> AudioCodec:
    return AudioCodec(
        law.name,
        g711.SAMPLE_RATE,
        g711.SAMPLE_RATE,
        law.payload_type,
        g711.FRAME_SAMPLES,
        law.silence * g711.FRAME_SAMPLES,
        True,
        lambda: law,
        lambda: law,
        len,
    )


def _pcm(name: str, rate: int, coder: type[NetworkOrder] | type[Untouched]) -> AudioCodec:
    size = pcm_frame_bytes(rate)
    return AudioCodec(
        name, rate, rate, None, size, bytes(size), True, coder, coder, lambda payload: len(payload) // 2
    )


PCMU = _law(g711.PCMU)
PCMA = _law(g711.PCMA)
G722 = AudioCodec(
    "G722", 8000, 16000, 9, 160, G722Encoder().encode(bytes(640)), False, G722Encoder, G722Decoder, len
)
L16_8000 = _pcm("L16", 8000, NetworkOrder)
L16_16000 = _pcm("L16", 16000, NetworkOrder)
OPUS = AudioCodec(
    "opus",
    opus.CLOCK_RATE,
    opus.SAMPLE_RATE,
    None,
    None,
    b"",
    False,
    opus.OpusEncoder,
    opus.OpusDecoder,
    opus.units,
    channels=2,
)

LINEAR: Mapping[int, AudioCodec] = {
    rate: _pcm("PCM16", rate, Untouched) for rate in (8000, 16000, 24000, 48000)
}
"""PCM16 little-endian by its rate: what our own code works on, and what some agents speak. Never in SDP."""

CODECS: tuple[AudioCodec, ...] = (PCMU, PCMA, G722, L16_16000, L16_8000)
"""What is always there, in no order of preference."""


def available() -> tuple[AudioCodec, ...]:
    """The codecs that this installation speaks: with Opus where its library is installed."""
    return (*CODECS, OPUS) if opus.installed() else CODECS


def find(name: str, clock_rate: int | None = None) -> AudioCodec | None:
    """The codec that SDP calls `name`/`clock_rate`, in any case of letters; without a clock rate the first.

    None for a codec that this installation does not speak.
    """
    wanted = name.upper()
    for codec in available():
        if codec.name.upper() == wanted and clock_rate in (None, codec.clock_rate):
            return codec
    return None
