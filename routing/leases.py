"""Places at endpoints with ``max_calls``, across all gateways: calls ask for them, the background keeps them.

A call waits at most `HOT_TIMEOUT` for Redis. From the first question on that went unanswered, no call waits:
each gateway keeps to its part of the places (`routing.share`) until the background is answered in time again.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, Protocol, TypeAlias

from redis.exceptions import RedisError

from routing.ledger import endpoint_tag
from routing.redis_clients import BACKGROUND_TIMEOUT, HOT_TIMEOUT
from routing.share import RENEWAL, Claim, Share

TICK: Final = 0.5
"""Seconds between looks at what has to be said; a Redis that was away is asked as often."""

MAX_UNDER_WAY: Final = 32
"""Claims of the background on their way at once: calls go first."""

WATCHED_SECONDS: Final = 60.0
"""After a call, for which an endpoint's places everywhere are asked for: the fair choice goes by them."""

LAST_CLAIMS_SECONDS: Final = 1.0
"""For places to be given back at the end; what is not, runs out."""

FAILURES: Final = (RedisError, OSError, TimeoutError)
"""What a claim may raise."""

Key: TypeAlias = tuple[str, str]
"""Agent id and endpoint URL."""

Answer: TypeAlias = Literal["granted", "full", "alone"]
"""To a call that asks: by the ledger, or by nobody, so that it is decided here."""


class Asked(Protocol):
    """Who answers claims. Fulfilled by `routing.ledger.Ledger`."""

    async def claim(self, tag: str, claim: Claim) -> tuple[int, int]:
        """Places that are ours now, and everybody's. Raises one of `FAILURES`."""


@dataclass(slots=True, eq=False)
class _Endpoint:
    tag: str
    share: Share
    used_at: float
    waiters: deque[asyncio.Future[Answer]] = field(default_factory=deque)
    asking: asyncio.Task[None] | None = None


class Place:
    """One call's place at an endpoint."""

    __slots__ = ("_endpoint", "_leases")

    def __init__(self, leases: Leases, endpoint: _Endpoint) -> None:
        self._leases = leases
        self._endpoint = endpoint

    def release(self) -> None:
        """Give it back, once."""
        if self._endpoint.share.give_back():
            self._leases.say(self._endpoint)


class Leases:
    """All places of this process.

    Args:
        hot: asked by calls; background: asked otherwise.
        gateways: how many are known, this one among them.
        clock: seconds, monotonic.
        on_asked: told what became of each call that wanted a place.
        on_away: told, in words, that Redis does not answer in time; on_back: that it does again.

    """

    def __init__(
        self,
        hot: Asked,
        background: Asked,
        gateways: Callable[[], int],
        clock: Callable[[], float],
        *,
        on_asked: Callable[[Answer], None] = lambda answer: None,
        on_away: Callable[[str], None] = lambda text: None,
        on_back: Callable[[], None] = lambda: None,
    ) -> None:
        self._hot = hot
        self._background = background
        self._gateways = gateways
        self._clock = clock
        self._on_asked = on_asked
        self._on_away = on_away
        self._on_back = on_back
        self._numbers = itertools.count(1)
        self._endpoints: dict[Key, _Endpoint] = {}
        self.away = False
        """Whether calls are decided about without Redis."""

    async def take(self, key: Key, limit: int) -> Place | None:
        """Take a place for a call; None if there is none. Raises nothing; waits `HOT_TIMEOUT` at most."""
        endpoint = self._endpoint(key, limit)
        answer = self._at_once(endpoint) or await self._asked(endpoint)
        if answer == "alone":
            placed = endpoint.share.take_alone(self._gateways(), self._clock())
        else:
            placed = answer == "granted"
        self._on_asked(answer)
        return Place(self, endpoint) if placed else None

    def hold(self, key: Key, limit: int) -> Place:
        """Count a call that goes on already, whatever the limit: its gateway died, and we have it now."""
        endpoint = self._endpoint(key, limit)
        endpoint.share.hold()
        self.say(endpoint)
        return Place(self, endpoint)

    def total(self, key: Key) -> int | None:
        """Calls at an endpoint everywhere, as was heard lately; None if nothing was."""
        endpoint = self._endpoints.get(key)
        if endpoint is None or self._clock() - endpoint.share.asked_at > 2 * RENEWAL:
            return None
        return endpoint.share.total

    def totals(self) -> list[tuple[str, int]]:
        """Agent and calls everywhere, for each endpoint of which something was heard lately."""
        found = ((key[0], self.total(key)) for key in self._endpoints)
        return [(agent_id, total) for agent_id, total in found if total is not None]

    def _endpoint(self, key: Key, limit: int) -> _Endpoint:
        now = self._clock()
        endpoint = self._endpoints.get(key)
        if endpoint is None:
            share = Share(limit, self._numbers)
            endpoint = self._endpoints[key] = _Endpoint(endpoint_tag(*key), share, now)
        endpoint.share.limit = limit
        endpoint.used_at = now
        return endpoint

    def _at_once(self, endpoint: _Endpoint) -> Answer | None:
        """What is known without asking."""
        now = self._clock()
        if endpoint.share.take_spare(now):
            return "granted"
        if self.away:
            return "alone"
        return "full" if now < endpoint.share.full_until else None

    async def _asked(self, endpoint: _Endpoint) -> Answer:
        waiter: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        endpoint.waiters.append(waiter)
        endpoint.share.waiting += 1
        self.say(endpoint)
        try:
            async with asyncio.timeout(HOT_TIMEOUT):
                return await waiter
        except TimeoutError:
            return self._leave(endpoint, waiter) or "alone"
        except asyncio.CancelledError:
            if self._leave(endpoint, waiter) == "granted":
                Place(self, endpoint).release()
            raise

    def _leave(self, endpoint: _Endpoint, waiter: asyncio.Future[Answer]) -> Answer | None:
        """Stop waiting; returns the answer, if there is one after all."""
        if waiter in endpoint.waiters:
            endpoint.waiters.remove(waiter)
            endpoint.share.waiting -= 1
        return waiter.result() if waiter.done() and not waiter.cancelled() else None

    # What goes to the ledger.

    def say(self, endpoint: _Endpoint) -> None:
        """Have the ledger told what is new, soon."""
        if endpoint.asking is None and not self.away:
            endpoint.asking = asyncio.create_task(self._ask(endpoint), name="endpoint-claims")

    async def _ask(self, endpoint: _Endpoint) -> None:
        """Send claims until there is nothing to say, or nobody answers."""
        try:
            while not self.away and (claim := endpoint.share.claim(self._clock())) is not None:
                await self._send(endpoint, claim, self._hot, HOT_TIMEOUT)
        finally:
            endpoint.asking = None

    async def _send(self, endpoint: _Endpoint, claim: Claim, ledger: Asked, patience: float) -> bool:
        """Send one claim and take the answer in; tells whether there was one. Raises nothing."""
        try:
            async with asyncio.timeout(patience):
                granted, total = await ledger.claim(endpoint.tag, claim)
        except FAILURES as error:
            endpoint.share.unanswered()
            self._went_away(str(error) or type(error).__name__)
            self._answer(endpoint, "alone", len(endpoint.waiters))
            endpoint.share.waiting = 0
            return False
        except BaseException:
            endpoint.share.unanswered()
            raise
        placed, refused = endpoint.share.answered(granted, total, self._clock())
        self._answer(endpoint, "granted", placed)
        self._answer(endpoint, "full", refused)
        return True

    def _answer(self, endpoint: _Endpoint, answer: Answer, count: int) -> None:
        for _ in range(count):
            waiter = endpoint.waiters.popleft()
            if not waiter.done():
                waiter.set_result(answer)
            elif answer == "granted":  # cancelled, and not yet gone from the queue
                endpoint.share.give_back()

    def _went_away(self, text: str) -> None:
        if not self.away:
            self.away = True
            self._on_away(text)

    async def run(self) -> None:
        """Keep the ledger up to date until cancelled."""
        while True:
            await asyncio.sleep(TICK)
            await self.look()

    async def look(self) -> None:
        """Say whatever is to be said now; forget endpoints that nobody calls any more. Raises nothing."""
        now = self._clock()
        due: list[tuple[_Endpoint, Claim]] = []
        for key, endpoint in list(self._endpoints.items()):
            endpoint.share.look()
            watched = now - endpoint.used_at < WATCHED_SECONDS
            if not watched and endpoint.share.idle and len(self._endpoints) > 1:
                del self._endpoints[key]
                continue
            probe = (self.away and not due) or (watched and now - endpoint.share.asked_at >= RENEWAL)
            claim = endpoint.share.inquiry(now) if probe else endpoint.share.claim(now)
            if claim is not None:
                due.append((endpoint, claim))
        for start in range(0, len(due), MAX_UNDER_WAY):
            if not await self._keep_up(due[start : start + MAX_UNDER_WAY]):
                for endpoint, _ in due[start + MAX_UNDER_WAY :]:
                    endpoint.share.unanswered()
                return

    async def _keep_up(self, claims: Sequence[tuple[_Endpoint, Claim]]) -> bool:
        """Send these at once; tells whether any was answered."""
        began = self._clock()
        sending = [
            self._send(endpoint, claim, self._background, BACKGROUND_TIMEOUT) for endpoint, claim in claims
        ]
        answered = await asyncio.gather(*sending)
        if all(answered) and self.away and self._clock() - began < HOT_TIMEOUT:
            self.away = False
            self._on_back()
        return any(answered)

    async def stop(self) -> None:
        """Give back what is not used any more, as far as Redis takes it. Raises nothing."""
        asking = [each.asking for each in self._endpoints.values() if each.asking is not None]
        for task in asking:
            task.cancel()
        await asyncio.gather(*asking, return_exceptions=True)
        for endpoint in self._endpoints.values():
            if endpoint.share.under_way is not None:  # its sender was stopped
                endpoint.share.unanswered()
            endpoint.share.look()  # nothing is kept for later
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LAST_CLAIMS_SECONDS):
                await self.look()
