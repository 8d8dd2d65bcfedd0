"""An account at a carrier that calls us only where we have registered (RFC 3261 §10.2).

One account is one task: it registers, registers again well before that runs out, goes from one of the
registrar's addresses to the next when one fails, and is more patient each time when all of them do.
"""

from __future__ import annotations

import asyncio
import random
import secrets
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final, Protocol

from gateway.sip.account import MAX_EXPIRES, MIN_EXPIRES, Account
from gateway.sip.digest_client import DigestClient
from gateway.sip.events import FailureCause
from gateway.sip.flow import Flow
from gateway.sip.grammar import SipParseError
from gateway.sip.headers import NameAddr
from gateway.sip.leg import HeaderList
from gateway.sip.message import Response
from gateway.sip.uri import SipUri, UriError, parse_uri
from gateway.sip.user_agent import Sender

REFRESH_SHARE: Final = 0.8
"""Of what was granted, after which it is asked for again: the rest is for registrars that do not answer."""

PATIENCE: Final = 8.0
"""Seconds for one answer: over UDP four transmissions, and a caller waits for none of them."""

FIRST_PAUSE: Final = 2.0
MAX_PAUSE: Final = 300.0
"""Seconds after all ways have failed, doubling from the first to the longest, give or take a half: a carrier
that comes back must not be met by all of its customers at once."""

GOODBYE_SECONDS: Final = 2.0
"""For the registrar to take note that we leave."""

FINAL_REFUSALS: Final = frozenset({401, 403, 404, 407})
"""Refusals that only somebody's correction ends: the longest pause at once."""


class Registering(Protocol):
    """The carriers' side of `SipEndpoint`."""

    async def carrier_ways(self, uri: str) -> tuple[Flow, ...]:
        """Find the ways to a carrier, best first. Raises an OSError when there is none."""

    def register(
        self,
        uri: str,
        flow: Flow,
        *,
        sender: Sender,
        headers: HeaderList,
        digest: DigestClient,
        on_result: Callable[[Response | None, FailureCause], None],
    ) -> None:
        """Send a REGISTER."""

    def account(self, username: str, password: str) -> DigestClient:
        """See `SipEndpoint.account`."""


class Registration:
    """Keeps one account registered.

    Args:
        on_state: told whether we are registered, and why not, whenever an attempt has ended.
        random_bits: names the registration.

    Attributes:
        up: whether the registrar sends calls here, as far as we know.
        hosts: addresses from which these calls come: those that the registrar's name leads to.

    """

    def __init__(
        self,
        sip: Registering,
        account: Account,
        on_state: Callable[[bool, str], None],
        random_bits: Callable[[int], int] = secrets.randbits,
    ) -> None:
        self._sip = sip
        self._account = account
        self._on_state = on_state
        self._digest = sip.account(account.username, account.password)
        self._call_id = f"{random_bits(128):032x}"
        self._cseq = 0
        self._expires = account.expires
        self._flow: Flow | None = None
        self._failures = 0
        self.up = False
        self.hosts: frozenset[str] = frozenset()

    async def run(self) -> None:
        """Stay registered for as long as the task lives, then take it back."""
        try:
            while True:
                pause = await self._once()
                await asyncio.sleep(pause)
        finally:
            if self.up and self._flow is not None:
                with suppress(TimeoutError, asyncio.CancelledError):
                    async with asyncio.timeout(GOODBYE_SECONDS):
                        await self._register(self._flow, 0)
            self.up = False

    async def query(self) -> str | None:
        """Why the registrar would not take us; None if it would. Changes nothing there (§10.2.3)."""
        try:
            ways = await self._sip.carrier_ways(self._account.registrar)
        except OSError as error:
            return str(error)
        why: str | None = None
        for flow in ways:
            response = await self._register(flow, None)
            if response is not None and response.status == 200:
                return None
            why = _reason(response)
        return why

    async def _once(self) -> float:
        """Register by one way or another; seconds until the next time."""
        try:
            ways = await self._sip.carrier_ways(self._account.registrar)
        except OSError as error:
            return self._failed(str(error), final=False)
        self.hosts = frozenset(flow.host for flow in ways)
        why, final = "", False
        for flow in self._in_order(ways):
            response = await self._register(flow, self._expires)
            if response is not None and response.status == 423 and self._longer(response):
                response = await self._register(flow, self._expires)
            if response is not None and 200 <= response.status < 300:
                return self._registered(flow, response)
            why = f"{flow.host}: {_reason(response)}"
            final = response is not None and response.status in FINAL_REFUSALS
        return self._failed(why, final=final)

    def _in_order(self, ways: Sequence[Flow]) -> Sequence[Flow]:
        """The one that worked last goes first."""
        if self._flow is None:
            return ways
        return sorted(ways, key=lambda flow: flow != self._flow)

    async def _register(self, flow: Flow, expires: int | None) -> Response | None:
        """The answer to one REGISTER; None if there was none.

        expires: seconds; 0 takes the registration back, None only asks.
        """
        answered: asyncio.Future[Response | None] = asyncio.get_running_loop().create_future()

        def on_result(response: Response | None, cause: FailureCause) -> None:
            if not answered.done():
                answered.set_result(response)

        self._cseq += 10  # a challenge takes numbers between
        account = self._account
        user = account.username if expires is not None else None
        self._sip.register(
            account.registrar,
            flow,
            sender=Sender(account.address, self._call_id, self._cseq, user),
            headers=(("Expires", str(expires)),) if expires is not None else (),
            digest=self._digest,
            on_result=on_result,
        )
        try:
            async with asyncio.timeout(PATIENCE):
                return await answered
        except TimeoutError:
            return None

    def _registered(self, flow: Flow, response: Response) -> float:
        self._flow, self._failures = flow, 0
        self.up = True
        self._on_state(True, "")
        return max(_granted(response, self._account.username, self._expires), MIN_EXPIRES) * REFRESH_SHARE

    def _failed(self, why: str, *, final: bool) -> float:
        self._failures += 1
        self.up = False
        self._on_state(False, why)
        pause = MAX_PAUSE if final else min(MAX_PAUSE, FIRST_PAUSE * 2 ** min(self._failures - 1, 16))
        return pause * random.uniform(0.5, 1.0)  # noqa: S311 - nobody gains by guessing it

    def _longer(self, response: Response) -> bool:
        """Take the registrar's least time (§10.2.8)."""
        text = response.headers.get("Min-Expires") or ""
        if not (text.isascii() and text.isdigit() and self._expires < int(text[:9]) <= MAX_EXPIRES):
            return False
        self._expires = int(text[:9])
        return True


def _reason(response: Response | None) -> str:
    if response is None:
        return "no answer"
    if response.status in {401, 407}:
        return f"{response.status} {response.reason}: username or password is wrong"
    return f"{response.status} {response.reason}"


def _granted(response: Response, user: str, asked: int) -> float:
    """For how many seconds we are registered: what our Contact says, else the Expires header (§10.2.4)."""
    texts = [response.headers.get("Expires")]
    for value in response.headers.values("Contact"):
        try:
            contact = NameAddr.parse(value)
            target = parse_uri(contact.uri)
        except (SipParseError, UriError):
            continue
        if isinstance(target, SipUri) and target.user == user:
            texts.insert(0, contact.param("expires"))
    for text in texts:
        if text and text.isascii() and text.isdigit():
            return min(float(text[:9]), MAX_EXPIRES)
    return float(asked)
