"""DTLS-SRTP in session descriptions, as pure functions: whose certificate it is, and who begins.

RFC 5763 §5 has the two attributes, RFC 8122 §5 says what a fingerprint is, RFC 4145 §4 what a setup is. Both
may stand in the session's part, for every media line that has none of its own.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from gateway.sip.secure_profiles import lines_of, with_keys
from gateway.sip.session_description import SdpError

PROFILES: Final = (b"UDP/TLS/RTP/SAVP", b"UDP/TLS/RTP/SAVPF")
"""Media profiles whose keys come by DTLS."""

HASHES: Final = {"sha-256": 32, "sha-384": 48, "sha-512": 64}
"""What a fingerprint may be made with, and its bytes; SHA-1 vouches for nobody any more."""

MAX_FINGERPRINTS: Final = 8
"""Fingerprints of one description that are read; peers with two certificates have two."""

NO_FINGERPRINT: Final = "no fingerprint in the session description that is sha-256, sha-384 or sha-512"

Setup: TypeAlias = Literal["active", "passive", "actpass"]
"""Which end begins: this one, the other one, or whichever the other one says."""

_FINGERPRINT: Final = re.compile(rb"a=fingerprint:([A-Za-z0-9-]{1,16})[ \t]+([0-9A-Fa-f:]{2,200})[ \t]*")
_SETUPS: Final[Mapping[bytes, Setup]] = {
    b"a=setup:active": "active",
    b"a=setup:passive": "passive",
    b"a=setup:actpass": "actpass",
}


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """The digest of a certificate. algorithm: one of `HASHES`."""

    algorithm: str
    digest: bytes

    def line(self) -> bytes:
        """The attribute, without its line end."""
        digest = ":".join(f"{byte:02X}" for byte in self.digest)
        return f"a=fingerprint:{self.algorithm} {digest}".encode()


@dataclass(frozen=True, slots=True)
class DtlsEnd:
    """What one end says of its DTLS. setup: None where it says nothing, or what we do not know."""

    fingerprints: tuple[Fingerprint, ...]
    setup: Setup | None


def by_dtls(description: bytes) -> bool:
    """Whether the keys of the first audio that is not refused come by DTLS."""
    return _parts(description)[0] in PROFILES


def read_end(description: bytes) -> DtlsEnd:
    """What stands in a description `by_dtls`. Raises SdpError (488) without a certificate to check."""
    _, general, own = _parts(description)
    fingerprints = _fingerprints(own) or _fingerprints(general)
    if not fingerprints:
        raise SdpError(NO_FINGERPRINT)
    return DtlsEnd(fingerprints, _setup(own) or _setup(general))


def with_end(
    description: bytes, fingerprint: Fingerprint, setup: Setup, answered: Sequence[bytes] = ()
) -> bytes:
    """The same description with our end in its first audio that is not refused; see `with_keys`."""
    keys = [fingerprint.line(), b"a=setup:" + setup.encode()]
    return with_keys(description, keys, answered, PROFILES[0])


def _parts(description: bytes) -> tuple[bytes, list[bytes], list[bytes]]:
    """The profile of the first audio that is not refused, the session's attributes, and its own."""
    profile = b""
    general: list[bytes] = []
    own: list[bytes] = []
    into: list[bytes] | None = general
    for line in lines_of(description):
        if line.startswith(b"m="):
            if profile:
                break
            parts = line.split()
            found = parts[0] == b"m=audio" and len(parts) > 3 and parts[1] != b"0"
            profile, into = (parts[2], own) if found else (b"", None)
        elif into is not None and line.startswith(b"a="):
            into.append(line)
    return profile, general, own


def _fingerprints(attributes: Sequence[bytes]) -> tuple[Fingerprint, ...]:
    found: list[Fingerprint] = []
    for line in attributes:
        if (match := _FINGERPRINT.fullmatch(line)) is None:
            continue
        algorithm = match[1].decode().lower()
        try:
            digest = binascii.unhexlify(match[2].replace(b":", b""))
        except binascii.Error:
            continue
        if len(digest) == HASHES.get(algorithm) and len(found) < MAX_FINGERPRINTS:
            found.append(Fingerprint(algorithm, digest))
    return tuple(found)


def _setup(attributes: Sequence[bytes]) -> Setup | None:
    return next((_SETUPS[line.rstrip()] for line in attributes if line.rstrip() in _SETUPS), None)
