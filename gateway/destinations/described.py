"""The audio of a session description, parsed once: setting a call up asks for it again and again."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from gateway.sip.sdp import Codec, Media, SdpError, SessionDescription

KNOWN_DESCRIPTIONS = 64
"""Session descriptions remembered: those of the calls that are being set up just now."""


@dataclass(frozen=True, slots=True)
class Described:
    """The first audio that is not refused, and its codecs in order."""

    audio: Media
    codecs: tuple[Codec, ...]


@lru_cache(KNOWN_DESCRIPTIONS)
def described(description: bytes) -> Described:
    """Parse a session description.

    Raises:
        SdpError: it has no audio, or makes no sense.

    """
    audio = SessionDescription.parse(description).audio
    if audio is None:
        raise SdpError("no audio in the session description")
    return Described(audio, tuple(audio.codecs))
