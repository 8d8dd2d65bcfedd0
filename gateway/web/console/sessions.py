"""Who is logged in: sessions in memory, each bound to an API key that is looked up again at every request."""

from __future__ import annotations

import hmac
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from gateway.admission.token_bucket import TokenBuckets
from gateway.web.console.desk import Keys

MAX_SESSIONS: Final = 512
"""People logged in at once; the longest ago goes first."""

SESSION_SECONDS: Final = 12 * 3600.0
"""A shift: then the key is asked for again."""

ATTEMPTS_A_SECOND: Final = 0.5
"""Logins that one address may try; keys are 256 random bits, so this only keeps the noise down."""

MAX_KEY: Final = 256
"""Characters of a key that are looked at."""


@dataclass(slots=True)
class Session:
    """One login.

    key: the API key; csrf: what every form must bring; writes: whether it may change anything.
    """

    key: str = field(repr=False)
    csrf: str = field(repr=False)
    until: float
    writes: bool


class Sessions:
    """All of them.

    Args:
        keys: who may log in.
        clock: seconds, monotonic.

    """

    def __init__(self, keys: Keys, clock: Callable[[], float] = time.monotonic) -> None:
        self._keys = keys
        self._clock = clock
        self._sessions: dict[str, Session] = {}
        self._attempts = TokenBuckets(ATTEMPTS_A_SECOND)

    async def log_in(self, key: str, address: str) -> str | None:
        """A new session's token; None if the key is nobody's, or that address tries too often."""
        if not self._attempts.take(address, self._clock()) or not 0 < len(key) <= MAX_KEY:
            return None
        principal = await self._keys.find(key)
        if principal is None:
            return None
        if len(self._sessions) >= MAX_SESSIONS:
            del self._sessions[next(iter(self._sessions))]
        token = secrets.token_urlsafe(32)
        writes = "write" in principal.scopes
        until = self._clock() + SESSION_SECONDS
        self._sessions[token] = Session(key, secrets.token_urlsafe(32), until, writes)
        return token

    async def find(self, token: str) -> Session | None:
        """The session of a token; None if it is over, or its key was revoked."""
        session = self._sessions.get(token)
        if session is None:
            return None
        principal = await self._keys.find(session.key) if self._clock() < session.until else None
        if principal is None:
            self._sessions.pop(token, None)
            return None
        session.writes = "write" in principal.scopes
        return session

    def log_out(self, token: str) -> None:
        """End a session."""
        self._sessions.pop(token, None)


def genuine(session: Session, given: str) -> bool:
    """Whether a form came from a page of this session."""
    return hmac.compare_digest(session.csrf.encode(), given.encode("utf-8", "surrogateescape"))
