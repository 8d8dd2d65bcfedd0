"""Keeps the routing cache as another deployment of the phone-number API has it, by looking there regularly.

    glance ──▶ unchanged: done
       └─────▶ agents, then the numbers that changed; all numbers when that does not add up, and regularly
                  └──▶ what differs goes to Redis, additions first ──▶ revision log ──▶ replicas

The API may be down, slow or wrong, and calls go on with the routes that there are: what cannot be used is
left out, a list that breaks off deletes nothing, and one that misses more than it may is not believed. Of
several gateways with one Redis one looks; when it stops, or cannot reach the API, another does.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import Callable, Iterable
from typing import Final, Literal, TypeAlias

from redis.exceptions import RedisError

from routing.cache import PlaceLostError, RoutingCache
from routing.remote_api import RemoteApi, RemoteError
from routing.remote_place import CACHE_FAILURES, Tenure
from routing.remote_update import HeldBackError, RemoteUpdate
from routing.sync import Synced

Result: TypeAlias = Literal["changed", "unchanged", "held_back", "error"]

JITTER: Final = 0.2
"""Share by which the interval varies, so that many gateways do not ask at the same moment."""

WATCH_SECONDS: Final = 1.0
"""Between looks at Redis: whether it was flushed, and whether somebody else's writer is alive."""

MAX_PAUSE: Final = 60.0
"""Seconds between attempts at an API that does not answer."""

MAX_DOUBLINGS: Final = 16
"""Of the interval, after failures."""

VERIFY_SECONDS: Final = 300.0
"""Between readings of all numbers, when what changed is enough otherwise."""

STANDSTILL_SECONDS: Final = 10.0
"""Besides three intervals: a writer that has not moved for so long is gone."""


class ForeignCacheError(RedisError):
    """Somebody else fills this cache; the message says what to do."""


class RemoteSync:
    """Runs until cancelled.

    Args:
        api: where the routes come from.
        cache: written to; its client must have timeouts.
        interval: seconds between looks, more or less.
        deletion_limit, serving: see `RemoteUpdate`.
        on_synced: told when something was written.
        on_error: told in words what is wrong, the same thing once; an empty text when nothing is any more.
        on_looked: told how each look went.
        clock: seconds, monotonic.

    """

    def __init__(
        self,
        api: RemoteApi,
        cache: RoutingCache,
        *,
        interval: float,
        deletion_limit: float,
        serving: Callable[[], int] = lambda: 0,
        on_synced: Callable[[Synced], None] = lambda synced: None,
        on_error: Callable[[str], None] = lambda text: None,
        on_looked: Callable[[Result], None] = lambda result: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        patience = 3 * interval + STANDSTILL_SECONDS
        self._api = api
        self._cache = cache
        self._tenure = Tenure(cache, api.url, patience=patience, clock=clock)
        self._update = RemoteUpdate(api, cache, self._tenure, deletion_limit=deletion_limit, serving=serving)
        self._interval = interval
        self._on_synced = on_synced
        self._on_error = on_error
        self._on_looked = on_looked
        self._clock = clock
        self._complete = False
        self._verify_at = 0.0
        self._failures = 0
        self._complaints: frozenset[str] = frozenset()
        self._current_at = clock()
        self._asked = asyncio.Event()
        self.synced = asyncio.Event()
        """Set once the cache is known to have been complete, whoever completed it."""

    @property
    def age(self) -> float:
        """Seconds since the API was last heard, by whichever gateway looks."""
        return self._clock() - self._current_at

    def look_soon(self) -> None:
        """Read everything anew at the next occasion."""
        self._complete = False
        self._asked.set()

    async def run(self) -> None:
        """Look until cancelled."""
        try:
            while True:
                self._asked.clear()
                began = self._clock()
                pause = await self.turn()
                # An API that takes long to read is left alone as long.
                await self._wait(max(pause, self._clock() - began))
        finally:
            await self._tenure.end()
            await self._api.close()

    async def turn(self) -> float:
        """One look, if it is ours to look; returns the seconds to wait before the next."""
        try:
            result = await self._look()
        except PlaceLostError:
            self._tenure.lost()
            return WATCH_SECONDS
        except HeldBackError as error:
            self._read_all_next()
            self._complain({str(error)} | self._update.faults)
            self._on_looked("held_back")
            self.synced.set()
            return self._interval
        except (RemoteError, ForeignCacheError) as error:
            self._failures = min(self._failures + 1, MAX_DOUBLINGS)
            self._failed(str(error))
            wanted = error.retry_after if isinstance(error, RemoteError) else 0.0
            return max(wanted, min(MAX_PAUSE, self._interval * 2.0**self._failures))
        except CACHE_FAILURES as error:
            self._failed(f"redis.url: {str(error) or type(error).__name__}")
            return WATCH_SECONDS
        if result is None:
            return WATCH_SECONDS
        self._failures = 0
        self._complain(self._update.faults)
        self._on_looked(result)
        return self._interval

    async def _look(self) -> Result | None:
        """Bring the cache up to date; None when another gateway does. Raises as `RemoteUpdate.all`."""
        await self._tenure.find()
        if self._tenure.taken:
            await self._stand_by()
            return None
        leading = self._tenure.ours
        if not (leading and self._complete) or self._clock() >= self._verify_at:
            self._read_all_next()
        glance = await self._api.glance()
        if not leading:
            await self._take_over()
        synced = None
        if not glance.unchanged:
            synced = await self._update.changed(glance.total) if self._complete else None
            if synced is None:
                synced = await self._update.all()
                self._complete = True
                self._verify_at = self._clock() + VERIFY_SECONDS
        await self._tenure.write()
        self._current_at = self._clock()
        self.synced.set()
        if synced is None or not (synced.written or synced.removed):
            return "unchanged"
        self._on_synced(synced)
        return "changed"

    async def _stand_by(self) -> None:
        self._current_at = self._tenure.others_seen_at
        if not self.synced.is_set() and (await self._cache.state()).epoch is not None:
            self.synced.set()

    async def _take_over(self) -> None:
        """Write from now on, unless the cache's routes are somebody else's. Raises ForeignCacheError."""
        stranger = self._tenure.stranger
        if stranger is not None and (await self._cache.state()).epoch is not None:
            if self._tenure.served:
                fix = "give each a Redis of its own (redis.url)"
                raise ForeignCacheError(f"{stranger} fills the same Redis as api.remote_url: {fix}")
            gone, held = await self._update.lost()
            if self._update.is_too_many(gone, held):
                raise ForeignCacheError(
                    f"{gone} of the {held} numbers in Redis are not known to {self._api.url}, and would be"
                    " lost: check api.remote_url; to give them up, set api.remote_deletion_limit to 1"
                )
        await self._tenure.begin()

    def _read_all_next(self) -> None:
        self._complete = False
        self._api.forget()

    def _failed(self, text: str) -> None:
        self._read_all_next()
        self._complain({text})
        self._on_looked("error")

    def _complain(self, texts: Iterable[str]) -> None:
        """Report what is wrong, the same thing once; and once that nothing is."""
        now = frozenset(texts)
        for text in sorted(now - self._complaints):
            self._on_error(text)
        if self._complaints and not now:
            self._on_error("")
        self._complaints = now

    async def _wait(self, pause: float) -> None:
        """Wait, a little more or less, unless somebody asks or the cache is not where it was left."""
        until = self._clock() + pause * random.uniform(1 - JITTER, 1 + JITTER)  # noqa: S311 - no secret
        while (remaining := until - self._clock()) > 0:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(min(WATCH_SECONDS, remaining)):
                    await self._asked.wait()
                return
            with contextlib.suppress(*CACHE_FAILURES):  # the next look says so
                if await self._tenure.is_lost():
                    return
