"""SRTP keys in session descriptions: SDES (RFC 4568, RFC 7714 §12), as pure functions.

See `gateway.sip.secure_profiles` for how they get into a description, and out of it again.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from gateway.sip.secure_profiles import lines_of, with_keys
from gateway.sip.session_description import SdpError

SUITES: Final = {
    "AES_CM_128_HMAC_SHA1_80": 30,
    "AEAD_AES_256_GCM": 44,
    "AEAD_AES_128_GCM": 28,
    "AES_CM_128_HMAC_SHA1_32": 30,
}
"""What we speak, in the order in which we offer it, each with the bytes of its master key and salt. First
what everybody has; last what authenticates each packet with 32 bits only."""

MAX_CRYPTO_LINES: Final = 32
"""Crypto lines of one description that are read; offers have up to eight."""

PROFILES: Final = ("RTP/SAVP", "RTP/SAVPF")
"""Media profiles whose keys stand in the description."""

_CRYPTO: Final = re.compile(
    r"(\d{1,9})[ \t]+([A-Za-z0-9_]{1,64})[ \t]+inline:(\S{1,200})(?:[ \t]+(.*))?", re.ASCII
)
_LINE: Final = b"a=crypto:"

_HINT: Final = re.compile(r"WSH=\d+|-\S+", re.ASCII)
"""Session parameters that one may ignore: a hint for the replay window (§6.3.7), and what an offerer marks as
unimportant (§6.3). All others change what goes over the wire."""

_LIFETIME: Final = re.compile(r"(2\^)?(\d{1,20})", re.ASCII)


@dataclass(frozen=True, slots=True)
class Crypto:
    """One crypto attribute.

    tag: its number in the description, which an answer repeats.
    suite: one of `SUITES`.
    key: master key and salt, as many bytes as the suite has.
    """

    tag: int
    suite: str
    key: bytes = field(repr=False)

    def line(self) -> bytes:
        """The attribute, without its line end."""
        return f"a=crypto:{self.tag} {self.suite} inline:{base64.b64encode(self.key).decode()}".encode()


def read_crypto(value: str) -> Crypto | None:
    """Read a crypto attribute's value; None where it asks for anything that we do not speak (§5.1.2, §6.3).

    That is another suite, several keys or a master key identifier (which would be in each packet), another
    derivation rate, or a stream that is not encrypted or not authenticated.
    """
    match = _CRYPTO.fullmatch(value.strip())
    if match is None:
        return None
    tag, suite, inline, parameters = match.groups()
    length = SUITES.get(suite)
    key_text, *rest = inline.split("|")
    if length is None or len(rest) > 1 or (rest and _LIFETIME.fullmatch(rest[0]) is None):
        return None
    if parameters and not all(_HINT.fullmatch(each) for each in parameters.split()):
        return None
    try:
        key = base64.b64decode(key_text + "=" * (-len(key_text) % 4), validate=True)
    except (binascii.Error, ValueError):
        return None
    return Crypto(int(tag), suite, key) if len(key) == length else None


def offered_keys(description: bytes) -> list[Crypto]:
    """The crypto attributes of the first audio that is not refused, as far as we speak them, in order.

    Empty for one whose keys do not come this way. Raises SdpError (400) for a media line without its parts.
    """
    found: list[Crypto] = []
    inside = False
    read = 0
    for line in lines_of(description):
        if line.startswith(b"m="):
            if inside:
                break
            parts = line.split()
            if len(parts) < 4:
                raise SdpError("Bad media line in the session description", 400)
            wanted = parts[0] == b"m=audio" and parts[1] != b"0"
            inside = wanted and parts[2].decode("ascii", "replace") in PROFILES
            if wanted and not inside:
                break
        elif inside and line.startswith(_LINE) and read < MAX_CRYPTO_LINES:
            read += 1
            crypto = read_crypto(line[len(_LINE) :].decode("ascii", "replace"))
            if crypto is not None:
                found.append(crypto)
    return found


def secured(description: bytes, keys: Sequence[Crypto], answered: Sequence[bytes] = ()) -> bytes:
    """The same description with keys in its first audio that is not refused; see `with_keys`."""
    return with_keys(description, [crypto.line() for crypto in keys], answered, b"RTP/SAVP")
