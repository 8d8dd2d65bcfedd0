"""Brings the routing cache to what a remote API has: additions first, deletions only if they are credible."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any, Final

from routing.cache import Change, Kind, PlaceLostError, RoutingCache
from routing.remote_api import ListMovedError, NotOfferedError, RemoteApi, RemoteError
from routing.remote_place import Tenure
from routing.remote_records import NonsenseError, Told, read, rfc3339
from routing.sync import Synced

OVERLAP_SECONDS: Final = 10.0
"""Changes are asked for from so long before the newest one known: they may be committed out of order."""

ATTEMPTS: Final = 3
"""At reading a list that moves meanwhile."""

BELIEVED: Final = 10
"""Records that may vanish at once whatever their share: a few of a few are no mistake."""

MAX_OUTSIDE: Final = 10_000
"""Numbers remembered that the API has and the cache does not; with more, all are read each time."""


class HeldBackError(RemoteError):
    """Deletions that are too many to be believed were not made."""


class RemoteUpdate:
    """What one process knows of a remote API's records.

    Args:
        api: read.
        cache: compared; tenure: written by.
        deletion_limit: share of the records that may vanish from one look to the next; 1 believes anything.
        serving: how many numbers calls are routed by at this moment, whatever the cache holds.
        wall_clock: seconds since the epoch.

    """

    def __init__(
        self,
        api: RemoteApi,
        cache: RoutingCache,
        tenure: Tenure,
        *,
        deletion_limit: float,
        serving: Callable[[], int],
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._api = api
        self._cache = cache
        self._tenure = tenure
        self._deletion_limit = deletion_limit
        self._serving = serving
        self._wall_clock = wall_clock
        self._newest = 0.0
        self._tells_changes = True
        self._outside: set[str] = set()
        self._written = 0
        self._removed = 0
        self.faults: set[str] = set()
        """What is wrong with records, in words: the first of each sort."""

    async def all(self) -> Synced:
        """Everything is read and compared, and the cache is complete then.

        Raises:
            HeldBackError: all but the deletions was done.
            RemoteError: the API cannot be used now.
            PlaceLostError: the cache changed hands meanwhile.
            redis.RedisError, OSError: it cannot be read or written.

        """
        self.faults, self._outside = set(), set()
        self._written = self._removed = 0
        agents = await _again(lambda: self._put("agent"))
        numbers = await _again(lambda: self._put("number"))
        state = await self._cache.state()
        if state.epoch is None:  # an empty cache hides what would be lost
            self._check("number", self._serving() - len(numbers), self._serving())
        held_back: HeldBackError | None = None
        downwards: tuple[tuple[Kind, set[str]], ...] = (("number", numbers), ("agent", agents))
        for kind, keys in downwards:
            try:
                await self._delete(kind, keys)
            except HeldBackError as error:
                held_back = held_back or error
        await self._tenure.write()
        if await self._cache.seal(state.revision) is None:
            raise PlaceLostError("the routing cache was emptied while it was written")
        if held_back is not None:
            raise held_back
        return await self._synced()

    async def changed(self, total: int | None) -> Synced | None:
        """All agents, but only those numbers that changed since; None when that does not add up.

        total: how many numbers the API has. Raises as `all`.
        """
        since = self._newest - OVERLAP_SECONDS
        if total is None or not self._tells_changes or not self._newest:
            return None
        self._written = self._removed = 0
        agents = await _again(lambda: self._put("agent"))
        try:
            await self._put("number", since)
        except NotOfferedError:
            self._tells_changes = False
            return None
        if total != await self._cache.count("number") + len(self._outside):
            return None
        await self._delete("agent", agents)
        return await self._synced()

    async def lost(self) -> tuple[int, int]:
        """How many of the cache's numbers the API does not have, and how many there are. Raises as `all`."""
        keys: set[str] = set()
        async for page in self._numbers():
            keys.update(told.key for told in page)
        gone, held = await self._missing("number", keys)
        return len(gone), held

    def is_too_many(self, gone: int, held: int) -> bool:
        """Whether so many deletions are taken for a mistake."""
        if gone <= 0 or self._deletion_limit >= 1:
            return False
        return gone == held or (gone > BELIEVED and gone > self._deletion_limit * held)

    async def _put(self, kind: Kind, since: float | None = None) -> set[str]:
        """Write the records that are new or different; returns the keys of all that were told."""
        seen: set[str] = set()
        async for page in self._agents() if kind == "agent" else self._numbers(since):
            if since is not None and any((told.updated_at or 0) < since - 1 for told in page):
                raise NotOfferedError("the API tells numbers that did not change")
            seen.update(told.key for told in page)
            await self._put_page(kind, page, dated=since is not None)
        return seen

    async def _put_page(self, kind: Kind, page: Sequence[Told], *, dated: bool) -> None:
        latest = {told.key: told for told in page}
        held = await self._cache.held(kind, list(latest))
        changes = []
        for told, value in zip(latest.values(), held, strict=True):
            self._note(told)
            kept = value if told.fault else told.value
            if kept != value:
                # When it was accepted there, if it is known to have changed just now.
                at = min(told.updated_at, self._wall_clock()) if dated and told.updated_at else None
                changes.append(Change(kind, told.key, kept, at))
            if kind == "number":
                self._newest = max(self._newest, told.updated_at or 0.0)
                if kept is not None:
                    self._outside.discard(told.key)
                elif len(self._outside) < MAX_OUTSIDE:
                    self._outside.add(told.key)
        await self._write(changes)

    async def _delete(self, kind: Kind, keys: set[str]) -> None:
        """Delete what the API does not have. Raises HeldBackError when that is too much."""
        gone, held = await self._missing(kind, keys)
        self._check(kind, len(gone), held)
        if gone:
            await self._write([Change(kind, key, None) for key in gone])

    async def _missing(self, kind: Kind, keys: set[str]) -> tuple[list[str], int]:
        """What the cache holds beyond these keys, and how many records it holds."""
        gone: dict[str, None] = {}
        async for page in self._cache.scan(kind):
            gone |= {name: None for name in (key.decode() for key in page) if name not in keys}
        return list(gone), await self._cache.count(kind)

    def _check(self, kind: Kind, gone: int, held: int) -> None:
        if self.is_too_many(gone, held):
            raise HeldBackError(
                f"{self._api.url} does not have {gone} of the {held} {kind}s any more: taken for a mistake,"
                " and nothing is deleted; if it is none, set api.remote_deletion_limit to 1 and restart"
            )

    async def _write(self, changes: Sequence[Change]) -> None:
        await self._tenure.write(changes)
        removed = sum(change.value is None for change in changes)
        self._written += len(changes) - removed
        self._removed += removed

    async def _synced(self) -> Synced:
        numbers, agents = await self._cache.count("number"), await self._cache.count("agent")
        return Synced(numbers, agents, self._written, self._removed)

    async def _agents(self) -> AsyncIterator[list[Told]]:
        try:
            async for page in self._api.agents():
                yield _told("agent", page)
        except NotOfferedError:
            return  # an API without agents: agents.endpoint_template says how they are reached

    async def _numbers(self, since: float | None = None) -> AsyncIterator[list[Told]]:
        async for page in self._api.numbers(None if since is None else rfc3339(since)):
            yield _told("number", page)

    def _note(self, told: Told) -> None:
        if told.fault and not any(text.startswith("a record") for text in self.faults):
            self.faults.add(f"a record of {self._api.url} cannot be used: {told.fault}")
        if told.withheld and not any(text.startswith("a header") for text in self.faults):
            self.faults.add(
                f"a header of agent {told.key} is not given away by {self._api.url}: calls go there without"
                f" {told.withheld[0]}"
            )


def _told(kind: Kind, page: Sequence[Any]) -> list[Told]:
    try:
        return [read(kind, record) for record in page]
    except NonsenseError as error:
        raise RemoteError(f"the list of {kind}s cannot be used: {error}") from None


async def _again(attempt: Callable[[], Awaitable[set[str]]]) -> set[str]:
    """The keys of a list, read again while it moves under us."""
    for remaining in reversed(range(ATTEMPTS)):
        try:
            return await attempt()
        except ListMovedError:
            if not remaining:
                raise
    raise AssertionError("unreachable")
