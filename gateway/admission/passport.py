"""PASSporTs: what an originating provider signs about a call (RFC 8225, SHAKEN RFC 8588), read and verified.

Pure: the certificate is given by whoever has fetched it, the time by whoever knows it.
"""

from __future__ import annotations

import binascii
import json
from base64 import urlsafe_b64decode
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256

from gateway.admission.tn_auth_list import speaks_for

MAX_IDENTITY: Final = 8192
"""Characters of one Identity header: a SHAKEN PASSporT takes about 700."""

MAX_CHAIN: Final = 6
"""Certificates of one chain: a provider's, one or two of its authority's, the root."""

FRESHNESS: Final = 60.0
"""Seconds that a PASSporT's time may differ from ours (RFC 8224 §6.2.2 as SHAKEN sets it)."""

COORDINATE: Final = 32
"""Bytes of each half of an ES256 signature (RFC 7518 §3.4)."""


class IdentityError(Exception):
    """A PASSporT is not to be believed.

    status, reason: what the caller's side is told where that matters (RFC 8224 §6.2.2).
    """

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(f"{status} {reason}")
        self.status = status
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Passport:
    """One Identity header, read and not yet believed.

    signed: what the signature covers; signature: 64 bytes.
    info: where the signer's certificate is.
    origin: the calling number or URI; destinations: the called ones, numbers as digits only.
    issued_at: seconds since the epoch.
    attestation: SHAKEN's ``A``, ``B`` or ``C``; empty if it says none.
    """

    signed: bytes
    signature: bytes
    info: str
    origin: str
    destinations: tuple[str, ...]
    issued_at: float
    attestation: str

    @classmethod
    def parse(cls, value: str) -> Passport:
        """Read an Identity header's value, in full form. Raises IdentityError (436, 437, 438)."""
        token, *params = value.split(";")
        told = {
            name.strip().lower(): text.strip() for name, _, text in (each.partition("=") for each in params)
        }
        info = told.get("info", "").strip("<>")
        if not info.lower().startswith("https://"):
            raise IdentityError(436, "Bad Identity Info")
        if told.get("alg", "ES256").strip('"') != "ES256":
            raise IdentityError(437, "Unsupported Credential")
        parts = token.strip().split(".")
        if len(value) > MAX_IDENTITY or len(parts) != 3 or not all(parts):
            raise IdentityError(438, "Invalid Identity Header")
        header, claims, signature = _object(parts[0]), _object(parts[1]), _decoded(parts[2])
        if header.get("alg") != "ES256" or header.get("typ") != "passport":
            raise IdentityError(437, "Unsupported Credential")
        if header.get("x5u", info) != info or len(signature) != 2 * COORDINATE:
            raise IdentityError(438, "Invalid Identity Header")
        issued = claims.get("iat")
        origin, destinations = _parties(claims)
        if isinstance(issued, bool) or not isinstance(issued, int | float) or not origin or not destinations:
            raise IdentityError(438, "Invalid Identity Header")
        attestation = claims.get("attest")
        return cls(
            f"{parts[0]}.{parts[1]}".encode("ascii", "replace"),
            signature,
            info,
            origin,
            destinations,
            float(issued),
            attestation if attestation in ("A", "B", "C") else "",
        )

    def check(self, caller: str, called: str, now: float) -> None:
        """Hold it against the call that it came with. Raises IdentityError (403, 438).

        caller, called: numbers, E.164 or digits.
        now: seconds since the epoch.
        """
        if abs(now - self.issued_at) > FRESHNESS:
            raise IdentityError(403, "Stale Date")
        if digits(caller) != self.origin or digits(called) not in self.destinations:
            raise IdentityError(438, "Invalid Identity Header")

    def verify(
        self, chain: Sequence[x509.Certificate], roots: Sequence[x509.Certificate], now: datetime
    ) -> None:
        """Verify the signature, whose it is, and that its owner may sign for this number (RFC 8226).

        Raises IdentityError (437, 438).

        chain: the signer's certificate first, then those that vouch for it.
        """
        _trusted(chain, roots, now)
        if not speaks_for(chain[0], self.origin):
            raise IdentityError(437, "Unsupported Credential")
        key = chain[0].public_key()
        if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
            raise IdentityError(437, "Unsupported Credential")
        halves = (self.signature[:COORDINATE], self.signature[COORDINATE:])
        r, s = (int.from_bytes(half) for half in halves)
        try:
            key.verify(encode_dss_signature(r, s), self.signed, ec.ECDSA(SHA256()))
        except InvalidSignature:
            raise IdentityError(438, "Invalid Identity Header") from None


def read_chain(pem: bytes) -> list[x509.Certificate]:
    """The certificates of a PEM file, in order. Raises IdentityError (436)."""
    try:
        chain = x509.load_pem_x509_certificates(pem)
    except ValueError:
        raise IdentityError(436, "Bad Identity Info") from None
    if len(chain) > MAX_CHAIN:
        raise IdentityError(436, "Bad Identity Info")
    return chain


def digits(number: str) -> str:
    """A telephone number as PASSporTs have it (RFC 8224 §8.3); anything else in lower case."""
    bare = number.removeprefix("+").replace("-", "").replace(".", "").replace(" ", "")
    return bare if bare.isdigit() else number.lower()


def _trusted(chain: Sequence[x509.Certificate], roots: Sequence[x509.Certificate], now: datetime) -> None:
    """Follow the chain to one of the roots. Raises IdentityError (437)."""
    for position, certificate in enumerate(chain):
        if not certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc:
            break
        if position and not _may_sign(certificate):
            break
        if any(root == certificate or _issued(certificate, root) for root in roots):
            return
        if position + 1 == len(chain) or not _issued(certificate, chain[position + 1]):
            break
    raise IdentityError(437, "Unsupported Credential")


def _issued(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def _may_sign(certificate: x509.Certificate) -> bool:
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except (x509.ExtensionNotFound, ValueError):
        return False


def _parties(claims: dict[str, Any]) -> tuple[str, tuple[str, ...]]:
    origin, destination = claims.get("orig"), claims.get("dest")
    if not isinstance(origin, dict) or not isinstance(destination, dict):
        return "", ()
    called: list[str] = []
    for kind in ("tn", "uri"):
        values = destination.get(kind, [])
        if isinstance(values, list):
            called += [digits(value) for value in values if isinstance(value, str)]
    caller = origin.get("tn", origin.get("uri"))
    return (digits(caller) if isinstance(caller, str) else ""), tuple(called)


def _object(text: str) -> dict[str, Any]:
    try:
        found = json.loads(_decoded(text))
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise IdentityError(438, "Invalid Identity Header")
    return found


def _decoded(text: str) -> bytes:
    try:
        return urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except (binascii.Error, ValueError):
        raise IdentityError(438, "Invalid Identity Header") from None
