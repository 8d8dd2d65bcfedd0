"""Who calls, told by digest (RFC 7616): for trunks that have credentials instead of an address.

A nonce is made of its time and signed, so that asking costs no memory; what is remembered is how often each
nonce was used by somebody who knew the password, and who did not know it too often.
"""

from __future__ import annotations

import hashlib
import hmac
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final, TypeAlias

from gateway.sip.digest import Challenge, Credentials, read_credentials, verifies
from gateway.sip.message import Request
from gateway.sip.transaction import TRANSACTION_TIMEOUT

NONCE_SECONDS: Final = 300.0
"""For which a nonce counts; a client that uses it later is told that it is stale, and asks no human."""

MAX_NONCES: Final = 10_000
"""Nonces in use that are remembered; of the oldest ones beyond that, all are stale."""

MAX_FAILURES: Final = 10
"""Wrong answers of one address in `FAILURE_SECONDS`; then it hears nothing until they have passed. A password
of twelve random characters lasts for longer than anybody tries."""

FAILURE_SECONDS: Final = 60.0

MAX_FAILING: Final = 10_000
"""Addresses with wrong answers that are remembered, the oldest one going first."""

MAX_JUDGED_A_SECOND: Final = 200
"""Requests of strangers that are parsed and answered: a flood gets silence, and costs a percent of a core."""

MAX_KNOWN: Final = 4096
"""Addresses that have proved lately who they are; what belongs to their calls is heard without asking."""

ADDRESS_SECONDS: Final = 7200.0
"""Seconds that an address stays known without a message: longer than a call says nothing."""

Account: TypeAlias = tuple[object, str]
"""Whose credentials these are (what becomes `InboundLeg.peer`), and the password."""


class Verdict(Enum):
    """What becomes of a stranger's request, besides being admitted."""

    IGNORED = "unknown_source"
    BLOCKED = "digest_blocked"
    FLOODED = "digest_flood"


@dataclass(frozen=True, slots=True)
class Asked:
    """The request is to be answered 401 with these headers."""

    headers: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Admitted:
    """Its sender is who it says."""

    peer: object


class Authenticator:
    """Judges requests of strangers. Without I/O.

    Args:
        realm: as clients are told.
        algorithms: of `gateway.sip.digest.ALGORITHMS`, in the order in which clients are told (RFC 8760).
        secret: signs nonces; random, and another one in each process.
        account: the account of a username; None if there is none.
        wanted: whether anybody has credentials; else strangers are nobody.
        clock: seconds, monotonic.
        tokens: random hex digits.

    """

    __slots__ = (
        "_account",
        "_algorithms",
        "_clock",
        "_failures",
        "_judged",
        "_known",
        "_oldest",
        "_realm",
        "_second",
        "_secret",
        "_tokens",
        "_used",
        "wanted",
    )

    def __init__(
        self,
        realm: str,
        algorithms: Sequence[str],
        secret: bytes,
        account: Callable[[str], Account | None],
        wanted: Callable[[], bool],
        clock: Callable[[], float],
        tokens: Callable[[], str],
    ) -> None:
        self._realm = realm
        self._algorithms = algorithms
        self._secret = secret
        self._account = account
        self._clock = clock
        self._tokens = tokens
        self.wanted = wanted
        # By nonce: how often it was used, by which transaction, and when.
        self._used: OrderedDict[str, tuple[int, str, float]] = OrderedDict()
        self._oldest = float("-inf")
        self._failures: OrderedDict[str, tuple[int, float]] = OrderedDict()
        self._known: OrderedDict[str, tuple[str, float]] = OrderedDict()
        self._second, self._judged = 0, 0

    def known(self, host: str) -> object | None:
        """Who has lately proved who it is from this address."""
        found = self._known.get(host)
        if found is None:
            return None
        username, heard = found
        account = self._account(username)
        if account is None or self._clock() - heard > ADDRESS_SECONDS:
            del self._known[host]
            return None
        self._known[host] = username, self._clock()
        return account[0]

    def judge(self, request: Request, host: str) -> Admitted | Asked | Verdict:
        """What becomes of a request outside of any dialog."""
        now = self._clock()
        count, since = self._failures.get(host, (0, now))
        if now - since > FAILURE_SECONDS:
            self._failures.pop(host, None)
        elif count >= MAX_FAILURES:
            return Verdict.BLOCKED
        header = request.headers.get("Authorization")
        if header is None:
            # Only whoever wants to call is told that there is something to call.
            return self._ask() if request.method == "INVITE" else Verdict.IGNORED
        credentials = read_credentials(header)
        if (
            credentials is None
            or credentials.realm != self._realm
            or credentials.algorithm not in self._algorithms
        ):
            return self._ask()
        return self._judge(request, credentials, host, now)

    def may_judge(self) -> bool:
        """Whether one more stranger's request may be looked at in this second."""
        second = int(self._clock())
        if second != self._second:
            self._second, self._judged = second, 0
        self._judged += 1
        return self._judged <= MAX_JUDGED_A_SECOND

    def _judge(
        self, request: Request, credentials: Credentials, host: str, now: float
    ) -> Admitted | Asked | Verdict:
        made_at = self._made_at(credentials.nonce)
        if made_at is None:
            return self._ask()  # of another process, or made up: it proves nothing either way
        account = self._account(credentials.username)
        # An unknown name takes as long as a wrong password, and is told the same.
        password = account[1] if account is not None else self._realm
        right = verifies(credentials, request.method, password) and credentials.uri == request.uri
        if not right or account is None:
            self._fail(host, now)
            return self._ask()
        if now - made_at > NONCE_SECONDS or made_at <= self._oldest:
            return self._ask(stale=True)
        if not self._first_use(credentials, request, now):
            return self._ask(stale=True)
        self._remember(host, credentials.username, now)
        return Admitted(account[0])

    def _first_use(self, credentials: Credentials, request: Request, now: float) -> bool:
        """Whether this count of the nonce is new, or the very same request once more."""
        count = int(credentials.count, 16)
        last, branch, at = self._used.get(credentials.nonce, (0, "", now))
        if count == last and branch == request.branch and now - at <= TRANSACTION_TIMEOUT:
            return True  # retransmitted
        if count <= last:
            return False
        self._used[credentials.nonce] = count, request.branch or "", now
        if len(self._used) > MAX_NONCES:
            nonce, _ = self._used.popitem(last=False)
            self._oldest = max(self._oldest, self._made_at(nonce) or now)
        return True

    def _remember(self, host: str, username: str, now: float) -> None:
        self._failures.pop(host, None)
        self._known.pop(host, None)
        self._known[host] = username, now
        if len(self._known) > MAX_KNOWN:
            self._known.popitem(last=False)

    def _fail(self, host: str, now: float) -> None:
        count, since = self._failures.get(host, (0, now))
        self._failures[host] = count + 1, since
        if len(self._failures) > MAX_FAILING:
            self._failures.popitem(last=False)

    def _ask(self, *, stale: bool = False) -> Asked:
        nonce = self._nonce()
        return Asked(
            tuple(
                ("WWW-Authenticate", str(Challenge(self._realm, nonce, algorithm, stale=stale)))
                for algorithm in self._algorithms
            )
        )

    def _nonce(self) -> str:
        made = f"{round(self._clock() * 1000):x}.{self._tokens()}"
        return f"{made}.{self._signature(made)}"

    def _made_at(self, nonce: str) -> float | None:
        """When a nonce was made; None if not by us."""
        made, _, signature = nonce.rpartition(".")
        wanted = self._signature(made)
        if not hmac.compare_digest(signature.encode("utf-8", "surrogateescape"), wanted.encode()):
            return None
        return int(made.partition(".")[0], 16) / 1000

    def _signature(self, made: str) -> str:
        digest = hmac.new(self._secret, made.encode("utf-8", "surrogateescape"), hashlib.sha256)
        return digest.hexdigest()[:32]
