"""Digest authentication (RFC 7616, RFC 8760, RFC 3261 §22): challenges and credentials as values.

Of the algorithms MD5 and SHA-256, of the qualities of protection ``auth`` and, for servers of RFC 2069, none.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

ALGORITHMS: Final = {"SHA-256": hashlib.sha256, "MD5": hashlib.md5}
"""By their names in headers, the better one first. MD5 is what carriers' and PBXs' trunks speak."""

MAX_PARAMETERS: Final = 32
"""Parameters of one header that are read; there are a dozen."""

MAX_CHALLENGES: Final = 8
"""Challenges of one response that are looked at: one an algorithm."""

_SCHEME: Final = re.compile(r"[ \t]*digest[ \t]+", re.IGNORECASE)
_PARAMETER: Final = re.compile(
    r'[ \t,]*([A-Za-z0-9_-]{1,32})[ \t]*=[ \t]*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+))[ \t]*', re.ASCII
)
_ESCAPED: Final = re.compile(r"\\(.)")
_COUNT: Final = re.compile(r"[0-9a-f]{8}", re.IGNORECASE | re.ASCII)


def parameters(value: str) -> dict[str, str] | None:
    """A header's parameters by name in lower case, unescaped; None if it is no Digest or makes no sense."""
    scheme = _SCHEME.match(value)
    if scheme is None:
        return None
    found: dict[str, str] = {}
    position = scheme.end()
    while position < len(value):
        match = _PARAMETER.match(value, position)
        if match is None or len(found) >= MAX_PARAMETERS:
            return None
        name, quoted, token = match.groups()
        if name.lower() in found:
            return None  # two readers would believe different ones
        found[name.lower()] = _ESCAPED.sub(r"\1", quoted) if quoted is not None else token
        position = match.end()
        if position < len(value) and value[position] != ",":
            return None
    return found


def quoted(text: str) -> str:
    """A text as a quoted string (RFC 3261 §25.1)."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


@dataclass(frozen=True, slots=True)
class Challenge:
    """What a server asks to be told.

    qop: ``auth``, or empty for a server of RFC 2069.
    stale: what it was told was right, only the nonce was too old.
    """

    realm: str
    nonce: str
    algorithm: str = "MD5"
    qop: str = "auth"
    opaque: str | None = None
    stale: bool = False

    def __str__(self) -> str:
        text = f"Digest realm={quoted(self.realm)}, nonce={quoted(self.nonce)}, algorithm={self.algorithm}"
        text += f", qop={quoted(self.qop)}"
        return text + ", stale=true" if self.stale else text


def read_challenge(values: Iterable[str]) -> Challenge | None:
    """The first challenge that can be answered (RFC 8760 §2.4: the server's order decides); None if none."""
    for value, _ in zip(values, range(MAX_CHALLENGES), strict=False):
        found = parameters(value)
        if found is None or "realm" not in found or "nonce" not in found:
            continue
        algorithm = found.get("algorithm", "MD5").upper()
        offered = [each.strip().lower() for each in found["qop"].split(",")] if found.get("qop") else []
        if algorithm not in ALGORITHMS or (offered and "auth" not in offered):
            continue
        stale = found.get("stale", "").lower() == "true"
        qop = "auth" if offered else ""
        return Challenge(found["realm"], found["nonce"], algorithm, qop, found.get("opaque"), stale)
    return None


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a client tells.

    count: how often it has used this nonce, as eight hex digits.
    """

    username: str
    realm: str
    nonce: str
    uri: str
    response: str = field(repr=False)
    algorithm: str = "MD5"
    qop: str = ""
    count: str = ""
    cnonce: str = ""
    opaque: str | None = None

    def __str__(self) -> str:
        parts = [
            f"username={quoted(self.username)}",
            f"realm={quoted(self.realm)}",
            f"nonce={quoted(self.nonce)}",
            f"uri={quoted(self.uri)}",
            f'response="{self.response}"',
            f"algorithm={self.algorithm}",
        ]
        if self.qop:
            parts += [f"qop={self.qop}", f"nc={self.count}", f"cnonce={quoted(self.cnonce)}"]
        if self.opaque is not None:
            parts.append(f"opaque={quoted(self.opaque)}")
        return f"Digest {', '.join(parts)}"


def read_credentials(value: str) -> Credentials | None:
    """Read an Authorization header; None where anything is missing, or not of a kind that we asked for."""
    found = parameters(value)
    if found is None:
        return None
    algorithm = found.get("algorithm", "MD5").upper()
    count = found.get("nc", "")
    if algorithm not in ALGORITHMS or found.get("qop", "").lower() != "auth" or not _COUNT.fullmatch(count):
        return None
    try:
        return Credentials(
            found["username"],
            found["realm"],
            found["nonce"],
            found["uri"],
            found["response"].lower(),
            algorithm,
            "auth",
            count.lower(),
            found["cnonce"],
        )
    except KeyError:
        return None


def expected_response(credentials: Credentials, method: str, password: str) -> str:
    """What the response has to be (RFC 7616 §3.4.1)."""
    make = ALGORITHMS[credentials.algorithm]

    def digest(text: str) -> str:
        return make(text.encode("utf-8", "surrogateescape")).hexdigest()

    secret = digest(f"{credentials.username}:{credentials.realm}:{password}")
    request = digest(f"{method}:{credentials.uri}")
    if not credentials.qop:
        return digest(f"{secret}:{credentials.nonce}:{request}")
    use = f"{credentials.nonce}:{credentials.count}:{credentials.cnonce}:{credentials.qop}"
    return digest(f"{secret}:{use}:{request}")


def verifies(credentials: Credentials, method: str, password: str) -> bool:
    """Whether whoever made these credentials has the password."""
    wanted = expected_response(credentials, method, password)
    return hmac.compare_digest(wanted.encode(), credentials.response.encode("utf-8", "surrogateescape"))
