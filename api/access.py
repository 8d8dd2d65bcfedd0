"""API keys and what they may do. A key is 256 random bits; only its hash is kept."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from typing import Final, Literal, TypeAlias

from msgspec import Struct

Scope: TypeAlias = Literal["read", "write"]

PREFIX: Final = "oi_sk_"

SHOWN: Final = len(PREFIX) + 4
"""Characters of a key that are kept in clear, for people to tell their keys apart."""

MAX_KEY_LENGTH: Final = 256
"""Characters of a key that are hashed at all."""


class Principal(Struct, frozen=True):
    """Who asks.

    key_id: of the API key; scopes: what it may do.
    """

    key_id: str
    scopes: frozenset[Scope]

    def may(self, scope: Scope) -> bool:
        """Whether an operation of that scope is granted; who may write may read."""
        return scope in self.scopes or "write" in self.scopes


def new_api_key() -> str:
    """A fresh key."""
    return PREFIX + secrets.token_urlsafe(32)


def digest(key: str) -> str:
    """What is kept of a key: SHA-256, in hexadecimal. The key is random, so that no salt is needed."""
    return hashlib.sha256(key.encode()).hexdigest()


def same(one: str, other: str) -> bool:
    """Whether two digests are equal, in a time that does not tell where they differ."""
    return hmac.compare_digest(one, other)


def bearer(header: str | None) -> str | None:
    """The key in an Authorization header (RFC 6750 §2.1); None if there is none."""
    scheme, _, key = (header or "").partition(" ")
    key = key.strip()
    if scheme.lower() != "bearer" or not key or len(key) > MAX_KEY_LENGTH or not key.isascii():
        return None
    return key
