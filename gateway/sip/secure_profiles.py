"""Secure session descriptions, and the same ones in the clear, as pure functions.

They differ in two things only: the profile in the media line (``RTP/SAVP`` or ``UDP/TLS/RTP/SAVP`` against
``RTP/AVP``) and the attributes that bring the keys. So those are taken out of a description where it arrives,
and put into it where it leaves, and nothing in between knows of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from gateway.sip.session_description import MAX_MEDIA

SECURE: Final = b"/SAVP"
"""In the media line of every secure description, whatever brings the keys."""

_PROFILES: Final = frozenset({b"RTP/SAVP", b"RTP/SAVPF", b"UDP/TLS/RTP/SAVP", b"UDP/TLS/RTP/SAVPF"})
_KEYS: Final = (b"a=crypto:", b"a=fingerprint:", b"a=setup:", b"a=tls-id:")


def cleared(description: bytes) -> bytes:
    """The same description without keys, its secure profiles as plain ones."""
    out = []
    for line in lines_of(description):
        if line.startswith(_KEYS):
            continue
        if line.startswith(b"m="):
            parts = line.split(b" ")
            if len(parts) > 2 and parts[2] in _PROFILES:
                parts[2] = b"RTP/AVP"
                line = b" ".join(parts)
        out.append(line)
    return b"\r\n".join([*out, b""])


def profiles(description: bytes) -> list[bytes]:
    """The profile of each media line, in order: an answer repeats them (RFC 3264 §6)."""
    lines = (line.split(b" ") for line in lines_of(description) if line.startswith(b"m="))
    return [parts[2] if len(parts) > 2 else b"" for parts in lines][:MAX_MEDIA]


def with_keys(description: bytes, keys: Sequence[bytes], answered: Sequence[bytes], profile: bytes) -> bytes:
    """The same description with attributes in its first audio that is not refused.

    keys: whole lines, without their ends.
    answered: `profiles` of the offer that this one answers; without, every audio gets `profile`.
    """
    out: list[bytes] = []
    index = -1
    waiting = list(keys)
    inside = False
    for line in lines_of(description):
        if line.startswith(b"m="):
            if inside:
                out += waiting
                waiting = []
            index += 1
            parts = line.split(b" ")
            inside = bool(waiting) and parts[0] == b"m=audio" and len(parts) > 3 and parts[1] != b"0"
            if len(parts) > 2 and index < len(answered):
                parts[2] = answered[index]
            elif len(parts) > 2 and parts[0] == b"m=audio":
                parts[2] = profile
            line = b" ".join(parts)
        out.append(line)
    if inside:
        out += waiting
    return b"\r\n".join([*out, b""])


def lines_of(description: bytes) -> list[bytes]:
    """Its lines without their ends, whichever those are; no empty ones."""
    return [line for line in description.replace(b"\r\n", b"\n").split(b"\n") if line]
