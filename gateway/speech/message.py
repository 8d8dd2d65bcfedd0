"""A rendered message: its audio, and the frames of it that go on the wire."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

from gateway.speech.audio import SAMPLE_RATE

Encoder: TypeAlias = Callable[[bytes], list[bytes]]
"""Cuts PCM16 mono 8 kHz into encoded frames of 20 ms."""

_OVERHEAD = 64
"""Bytes that Python needs for each small object, roughly."""


class RenderedMessage:
    """Immutable. Encoded once and not once a call, so that playing can begin as soon as the caller is there.

    Attributes:
        pcm: PCM16 mono 8 kHz.
        is_default: it is the bundled default message, spoken instead of the one asked for.

    """

    __slots__ = ("_frames", "is_default", "pcm")

    def __init__(self, pcm: bytes, encoders: Mapping[str, Encoder], *, is_default: bool = False) -> None:
        """Encodes at once: milliseconds for a long message, so this belongs into an executor."""
        self.pcm = pcm
        self.is_default = is_default
        self._frames = {codec: encode(pcm) for codec, encode in encoders.items()}

    @property
    def seconds(self) -> float:
        """How long it takes to play."""
        return len(self.pcm) / 2 / SAMPLE_RATE

    @property
    def size(self) -> int:
        """Bytes of memory that it holds."""
        frames = sum(len(frame) + _OVERHEAD for frames in self._frames.values() for frame in frames)
        return len(self.pcm) + frames + _OVERHEAD

    def encoded(self, codec: str) -> Sequence[bytes]:
        """The message in frames of 20 ms, the last one filled up with silence.

        Raises:
            KeyError: there is no encoder for this codec.

        """
        return self._frames[codec]
