"""Which of the codecs in a session description this gateway speaks: where SDP's names meet our coders."""

from __future__ import annotations

from functools import cache, lru_cache

from gateway.media.codecs import AudioCodec, available, find
from gateway.sip.sdp import Codec

KNOWN_CODECS = 256
"""Lines of session descriptions of which is remembered whether we speak them; peers write a few dozen."""


@lru_cache(KNOWN_CODECS)
def spoken(codec: Codec) -> AudioCodec | None:
    """Our coders for a codec of a session description; None if we have none, or it is stereo."""
    found = find(codec.name, codec.clock_rate)
    return found if found is not None and found.channels == codec.channels else None


def key_of(codec: AudioCodec) -> str:
    """What a session description has to say for it, as `gateway.sip.sdp.Codec.key`."""
    channels = f"/{codec.channels}" if codec.channels > 1 else ""
    return f"{codec.name.upper()}/{codec.clock_rate}{channels}"


@cache
def spoken_keys() -> tuple[str, ...]:
    """`key_of` of every codec that this installation speaks."""
    return tuple(key_of(codec) for codec in available())
