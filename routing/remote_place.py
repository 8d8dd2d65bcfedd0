"""Which remote API fills a routing cache, and which process writes: one of several, by turns."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from redis.exceptions import RedisError

from routing.cache import BATCH, Change, PlaceLostError, RoutingCache

RELEASE_SECONDS: Final = 1.0

CACHE_FAILURES: Final = (RedisError, OSError, TimeoutError)


@dataclass(frozen=True, slots=True)
class RemotePlace:
    """What stands in the cache as its writer's place.

    source: which API, by its address; writer: which process; empty: none, it has stopped in good order.
    step: grows with each look and each write, so that others see that the writer is alive.
    """

    source: str
    writer: str
    step: int = 0

    def __str__(self) -> str:
        return f"remote/{self.source}/{self.writer}/{self.step}"

    def further(self) -> RemotePlace:
        """The next step."""
        return replace(self, step=self.step + 1)


def source_of(url: str) -> str:
    """An API's address as it stands in a place."""
    return hashlib.sha256(url.encode()).hexdigest()[:12]


def parse_remote_place(text: str | None) -> RemotePlace | None:
    """The place that a text tells; None for one that is not a remote API's."""
    parts = (text or "").split("/")
    if len(parts) != 4 or parts[0] != "remote" or not (parts[3].isascii() and parts[3].isdigit()):
        return None
    return RemotePlace(parts[1], parts[2], int(parts[3]))


class Tenure:
    """One process's turn at writing to a cache.

    Args:
        cache: written to.
        url: of the API that fills it.
        patience: seconds after which another writer that has not moved is taken for gone.
        clock: seconds, monotonic.

    """

    def __init__(self, cache: RoutingCache, url: str, *, patience: float, clock: Callable[[], float]) -> None:
        self._cache = cache
        self._source = source_of(url)
        self._writer = secrets.token_hex(8)
        self._patience = patience
        self._clock = clock
        self._place: RemotePlace | None = None
        self._found: str | None = None
        self._others: str | None = None
        self.others_seen_at = 0.0
        """When another writer was last seen to move."""
        self.served = False
        """Whether this process ever wrote."""

    async def find(self) -> None:
        """Look who writes."""
        self._found = await self._cache.place()

    async def is_lost(self) -> bool:
        """Whether it was this process that wrote, and is not any more."""
        return self._place is not None and await self._cache.place() != str(self._place)

    @property
    def ours(self) -> bool:
        """Whether this process writes."""
        return self._place is not None and self._found == str(self._place)

    @property
    def taken(self) -> bool:
        """Whether another process fills the cache from the same API, and is alive."""
        place = parse_remote_place(self._found)
        if place is None or place.source != self._source or place.writer in ("", self._writer):
            return False
        if self._found != self._others:
            self._others, self.others_seen_at = self._found, self._clock()
        return self._clock() - self.others_seen_at < self._patience

    @property
    def stranger(self) -> str | None:
        """What else fills the cache, in words; None if nothing does, or the same API."""
        place = parse_remote_place(self._found)
        if place is not None and place.source == self._source:
            return None
        return f"another writer ({self._found})" if self._found else "a numbers file"

    async def begin(self) -> None:
        """Write from now on; whoever did cannot any more."""
        place = RemotePlace(self._source, self._writer)
        await self._cache.claim(str(place))
        self._place, self._found, self.served = place, str(place), True

    async def write(self, changes: Sequence[Change] = ()) -> None:
        """Write changes and move on; without any, only show that we live. Raises PlaceLostError."""
        for start in range(0, max(1, len(changes)), BATCH):
            if self._place is None:
                raise PlaceLostError("the routing cache is not ours")
            place = self._place.further()
            await self._cache.advance(changes[start : start + BATCH], str(self._place), str(place))
            self._place, self._found = place, str(place)

    def lost(self) -> None:
        """Another process was faster, or Redis was flushed."""
        self._place = None

    async def end(self) -> None:
        """Let another process go on at once."""
        if self._place is None:
            return
        released = replace(self._place.further(), writer="")
        with contextlib.suppress(*CACHE_FAILURES):
            async with asyncio.timeout(RELEASE_SECONDS):
                await self._cache.advance([], str(self._place), str(released))
        self._place = None
