"""What a caller hears while an agent is being reached, where the caller's audio is ours already.

A caller who has only a 180 hears the carrier's own ringback. One who was answered (an agent was lost and the
next is being called; a number answers first and dials then), or who was promised early media, would hear
nothing: here is a ringback tone, a recording, or the faint noise of a line. Anybody may start it and stop it
again, any number of times; whoever begins to speak with the caller stops it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Literal

import numpy as np

from gateway.destinations.caller_audio import CallerAudio
from gateway.media.codecs import AudioCodec, find
from gateway.media.g711 import FRAME_BYTES, SAMPLE_RATE
from gateway.media.ringback import ringback
from gateway.media.sender import AudioSender
from gateway.media.tones import amplitude

NOISE_DBM0 = -62.0
"""Of the noise that stands for silence: audible as a line that is open, on a quiet handset."""

Kind = Literal["ringback", "silence", "recording"]


@dataclass(frozen=True, slots=True)
class WaitingSounds:
    """What callers wait with; one for the whole gateway.

    kind: ``ringback``, ``silence``, or ``recording``.
    country: whose ringback, ISO 3166; empty for that of the caller's carrier.
    recording: PCM16 mono 8 kHz, repeated.
    early: whether callers get it before they are answered, as early media (183), unless their carrier says
        otherwise.
    """

    kind: Kind = "ringback"
    country: str = ""
    recording: bytes = b""
    early: bool = False

    def sound(self, country: str) -> bytes:
        """What is repeated to a caller whose carrier is at home there: PCM16 mono 8 kHz, not empty."""
        match self.kind:
            case "recording" if self.recording:
                return self.recording
            case "ringback":
                return ringback(self.country or country)
            case _:
                return _noise()


class WaitingSound:
    """The waiting of one caller.

    Args:
        audio: the caller's.
        pcm: PCM16 mono 8 kHz, to be repeated.

    """

    __slots__ = ("_audio", "_pcm", "_sender")

    def __init__(self, audio: CallerAudio, pcm: bytes) -> None:
        self._audio = audio
        self._pcm = pcm
        self._sender: AudioSender | None = None

    @property
    def playing(self) -> bool:
        """Whether it is to be heard."""
        return self._sender is not None

    def start(self) -> None:
        """Play from the beginning.

        Does nothing while it plays, and nothing where our port is not what the caller hears: with direct
        media, with a codec that we do not speak, while the caller holds.
        """
        audio = self._audio
        agreed = audio.agreed() if audio.through_port and audio.listening else None
        codec = find(agreed[0].name, agreed[0].clock_rate) if agreed is not None else None
        if self._sender is not None or agreed is None or codec is None or audio.port is None:
            return
        audio.port.stats.speaks(codec.name, codec.clock_rate)
        self._sender = AudioSender(audio.port.send, agreed[0].payload_type, frame_units=codec.frame_units)
        self._sender.play(_repeated(self._pcm, codec))

    def stop(self) -> None:
        """Fall silent at once. Idempotent."""
        if self._sender is not None:
            self._sender.close()
            self._sender = None


def _repeated(pcm: bytes, codec: AudioCodec) -> Iterator[bytes]:
    """Frames for ever, each encoded when it is due: nobody knows how long an agent takes."""
    encode = codec.encoder(SAMPLE_RATE).encode
    pcm += bytes(-len(pcm) % FRAME_BYTES)
    while True:
        for at in range(0, len(pcm), FRAME_BYTES):
            yield encode(pcm[at : at + FRAME_BYTES])


@cache
def _noise() -> bytes:
    """Two seconds of noise."""
    samples = np.random.default_rng(1).normal(0.0, amplitude(NOISE_DBM0), 2 * SAMPLE_RATE)
    return bytes(np.rint(samples).astype("<i2").tobytes())
