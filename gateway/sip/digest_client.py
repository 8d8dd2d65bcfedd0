"""Our credentials towards a peer that asks for them (RFC 3261 §22.2, §22.3)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from gateway.sip.digest import Challenge, Credentials, expected_response, read_challenge

if TYPE_CHECKING:
    from gateway.sip.core import Core
    from gateway.sip.events import FailureCause
    from gateway.sip.flow import Flow
    from gateway.sip.message import Response
    from gateway.sip.request_writer import RequestWriter

CHALLENGED: Final = {
    401: ("WWW-Authenticate", "Authorization"),
    407: ("Proxy-Authenticate", "Proxy-Authorization"),
}
"""By status: the header that asks, and the one that answers."""

MAX_ANSWERS: Final = 4
"""Challenges answered for one request: of a proxy and of the agent, each perhaps with a nonce too old."""


class _Asked:
    """A challenge, and how often it was answered."""

    __slots__ = ("challenge", "count")

    def __init__(self, challenge: Challenge) -> None:
        self.challenge = challenge
        self.count = 0


class DigestClient:
    """One account. Once it was asked, it says who it is without being asked again.

    Args:
        random: hex digits, fresh each time.

    """

    __slots__ = ("_asked", "_password", "_random", "_username")

    def __init__(self, username: str, password: str, random: Callable[[], str]) -> None:
        self._username = username
        self._password = password
        self._random = random
        self._asked: dict[str, _Asked] = {}

    def __repr__(self) -> str:
        return f"DigestClient({self._username!r})"

    def challenged(self, response: Response) -> bool:
        """Take a 401 or 407; False if asking again with `headers` is no use: the answer was wrong."""
        asking = CHALLENGED.get(response.status)
        if asking is None:
            return False
        challenge = read_challenge(response.headers.get_all(asking[0]))
        if challenge is None:
            return False
        before = self._asked.get(asking[1])
        if before is not None and before.count == 1 and not challenge.stale:
            return False  # it knew our answer to its own question
        self._asked[asking[1]] = _Asked(challenge)
        return True

    def headers(self, method: str, uri: str) -> tuple[tuple[str, str], ...]:
        """What a request says of us; nothing before we were asked."""
        return tuple((name, str(self._answer(asked, method, uri))) for name, asked in self._asked.items())

    def _answer(self, asked: _Asked, method: str, uri: str) -> Credentials:
        asked.count += 1
        challenge = asked.challenge
        credentials = Credentials(
            self._username,
            challenge.realm,
            challenge.nonce,
            uri,
            "",
            challenge.algorithm,
            challenge.qop,
            f"{asked.count:08x}" if challenge.qop else "",
            self._random() if challenge.qop else "",
            challenge.opaque,
        )
        return replace(credentials, response=expected_response(credentials, method, self._password))


def request_with_digest(
    core: Core,
    digest: DigestClient,
    request: RequestWriter,
    flow: Flow,
    on_response: Callable[[Response], None],
    on_failure: Callable[[FailureCause], None],
    on_renewed: Callable[[int], None] = lambda cseq: None,
    answers: int = 0,
) -> None:
    """Send a request that is no INVITE, and again with credentials if it is challenged.

    on_renewed: told the CSeq number of each further request.
    """

    def responded(response: Response) -> None:
        if response.status in CHALLENGED and answers < MAX_ANSWERS and digest.challenged(response):
            headers = digest.headers(request.method, request.uri)
            renewed = request.renewed(core.transactions.branch(), headers)
            on_renewed(renewed.cseq)
            request_with_digest(core, digest, renewed, flow, on_response, on_failure, on_renewed, answers + 1)
        else:
            on_response(response)

    core.transactions.request(request, flow, responded, on_failure)
