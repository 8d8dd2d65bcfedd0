"""Session descriptions and what a user agent does with them, under one name for the rooms above."""

from __future__ import annotations

from gateway.sip.offer_answer import (
    Answer,
    answer_offer,
    make_offer,
    restrict_to,
    with_codecs,
    with_media_address,
    with_more_codecs,
)
from gateway.sip.session_description import Codec, Media, Origin, SdpError, SessionDescription

__all__ = [
    "Answer",
    "Codec",
    "Media",
    "Origin",
    "SdpError",
    "SessionDescription",
    "answer_offer",
    "make_offer",
    "restrict_to",
    "with_codecs",
    "with_media_address",
    "with_more_codecs",
]
