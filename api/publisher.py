"""Brings every change of the store into the routing cache, in order, once.

    store ── commit ──▶ outbox ── advance ──▶ Redis ── revision log ──▶ replicas

Redis itself says how far it has come (`api.place`), and moves on in the same step as it takes changes. So a
crash between any two steps loses nothing, and several publishers never write over each other: whoever is
behind finds the place moved, and looks again.

    place of another store, or none      all of the cache is compared with the store: differences are written
    place not in the outbox any more     likewise; Redis was away for long, or store or Redis are restored
    cache flushed                        likewise, and declared complete when it is
    cache damaged by somebody            found by the regular comparison

Comparing goes page by page, and changes go first: it never holds up what is new.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Final

from redis.exceptions import RedisError

from api.metrics import ApiMetrics
from api.outbox import Outbox
from api.place import Place, parse_place
from api.store.database import Database, StoreUnavailable
from routing.cache import BATCH, Change, Kind, PlaceLostError, RoutingCache

POLL_SECONDS: Final = 0.25
"""Between looks for what other processes committed; what this one commits is told."""

RETRY_SECONDS: Final = 0.5
"""After a failure: Redis comes back in seconds or not at all."""

TRIM_EVERY: Final = 10_000
"""Changes between clearing the outbox."""

TAKEOVER_LIMIT: Final = 10
"""Numbers that a store may remove from a cache that another one filled, besides `TAKEOVER_SHARE`."""

TAKEOVER_SHARE: Final = 0.2

FAILURES: Final = (RedisError, OSError, TimeoutError, StoreUnavailable)


class ForeignCacheError(RedisError):
    """Another store fills this cache; the message says what to do."""


class Publisher:
    """Runs until cancelled.

    Args:
        database: the store.
        outbox: how it is read.
        cache: written to; its client must have timeouts.
        verify_interval: seconds between comparisons of all there is.
        on_error: told what is wrong, in words, the same thing once; on_repaired: how many records were.
        metrics: counts.
        clock: seconds, monotonic.

    """

    def __init__(
        self,
        database: Database,
        outbox: Outbox,
        cache: RoutingCache,
        *,
        verify_interval: float,
        metrics: ApiMetrics,
        on_error: Callable[[str], None] = lambda text: None,
        on_repaired: Callable[[int], None] = lambda count: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._database = database
        self._outbox = outbox
        self._cache = cache
        self._verify_interval = verify_interval
        self._metrics = metrics
        self._on_error = on_error
        self._on_repaired = on_repaired
        self._clock = clock
        self._committed = asyncio.Event()
        self._verify_at = 0.0
        self._owned = False
        self._reached: Place | None = None
        self._untrimmed = 0
        self._complaint = ""
        self.synced = asyncio.Event()
        """Set once the cache is known to have been complete."""

    def wake(self) -> None:
        """Something was committed. From the event loop only."""
        self._committed.set()

    def verify_soon(self) -> None:
        """Compare all there is at the next occasion."""
        self._verify_at = 0.0
        self._committed.set()

    async def run(self) -> None:
        """Publish until cancelled."""
        while True:
            told = self._committed.is_set()
            self._committed.clear()
            try:
                if (await self.publish(told=told)).verified:
                    self.synced.set()
                if self._clock() >= self._verify_at:
                    await self.verify()
                    self.synced.set()
                self._complaint = ""
            except PlaceLostError:
                self._reached = None
                continue  # another publisher was faster, or Redis was flushed: look again
            except FAILURES as error:
                self._failed(error)
                await asyncio.sleep(RETRY_SECONDS)
            try:
                async with asyncio.timeout(POLL_SECONDS):
                    await self._committed.wait()
            except TimeoutError:
                pass

    async def publish(self, *, told: bool = False) -> Place:
        """Bring every change that is committed to Redis; returns the place reached.

        told: somebody waits for a change: Redis is taken to be where it was left, and says so if it is not.

        Raises:
            PlaceLostError: the cache changed hands meanwhile; ask again.
            StoreUnavailable, redis.RedisError, OSError: store or Redis cannot be reached.

        """
        known = self._reached if told else None
        place = known if known is not None and known.verified else await self._place()
        while True:
            here = place
            rows = await self._database.read(lambda session: self._outbox.after(session, here))  # noqa: B023
            if rows is None:
                place = await self._claim()
                continue
            self._metrics.outbox.set(len(rows))
            if not rows:
                self._reached = place
                return place
            reached = place.at(rows[-1].revision, rows[-1].mark)
            await self._cache.advance(self._outbox.changes(rows), str(place), str(reached))
            place = reached
            await self._trim(len(rows), place)

    async def verify(self) -> int:
        """Compare the whole cache with the store and write what differs; returns how much did.

        Raises:
            PlaceLostError, StoreUnavailable, redis.RedisError, OSError: as `publish`.

        """
        repaired = 0
        upwards: tuple[Kind, ...] = ("agent", "number")
        for kind in upwards:
            after = 0
            while True:
                start = after
                after, keys = await self._database.read(
                    lambda session: self._outbox.page(session, kind, start)  # noqa: B023
                )
                if after == start:
                    break
                repaired += await self._repair(kind, keys)
        for kind in reversed(upwards):
            async for page in self._cache.scan(kind):
                keys = [key.decode() for key in page]
                present = await self._database.read(
                    lambda session: self._outbox.present(session, kind, keys)  # noqa: B023
                )
                repaired += await self._repair(kind, [key for key in keys if key not in present])
        place = await self.publish()
        state = await self._cache.state()
        if not place.verified:
            await self._cache.advance([], str(place), str(Place(place.store_id, place.revision, place.mark)))
        if await self._cache.seal(state.revision) is None:
            raise PlaceLostError("the routing cache was emptied while it was compared")
        self._verify_at = self._clock() + self._verify_interval
        if repaired:
            self._on_repaired(repaired)
        return repaired

    async def _repair(self, kind: Kind, keys: Sequence[str]) -> int:
        """Write those of these records that are not as the store has them, when nothing is on its way."""
        if not keys:
            return 0
        before = self._reached
        changes = await self._differing(kind, keys)
        if not changes:
            return 0
        place = await self.publish()
        if place != before:  # most differences are changes that were not published yet
            changes = await self._differing(kind, keys)
        for start in range(0, len(changes), BATCH):
            await self._cache.advance(changes[start : start + BATCH], str(place), str(place))
        return len(changes)

    async def _differing(self, kind: Kind, keys: Sequence[str]) -> list[Change]:
        wanted = await self._database.read(lambda session: self._outbox.records(session, kind, keys))
        held = await self._cache.held(kind, keys)
        return [
            Change(kind, key, wanted.get(key))
            for key, value in zip(keys, held, strict=True)
            if value != wanted.get(key)
        ]

    async def _place(self) -> Place:
        """Where the cache is, in this store's outbox."""
        place = parse_place(await self._cache.place())
        head = await self._database.read(self._outbox.head)
        if place is None or place.store_id != head.store_id or place.revision > head.revision:
            return await self._claim()
        if not place.verified:
            self._verify_at = 0.0
        self._owned = True
        return place

    async def _claim(self) -> Place:
        """Go on from where the store is now; all that came before has to be compared."""
        head = await self._database.read(self._outbox.head)
        text = await self._cache.place()
        before = parse_place(text)
        if before is None or before.store_id != head.store_id:
            await self._refuse_foreign(text)
        place = Place(head.store_id, head.revision, head.mark, verified=False)
        await self._cache.claim(str(place))
        self._owned = True
        self._verify_at = 0.0
        return place

    async def _refuse_foreign(self, text: str | None) -> None:
        """Leave a cache alone that another writer fills, or whose routes would nearly all be lost."""
        if (await self._cache.state()).epoch is None:
            return  # empty, or not complete: nobody serves by it
        if text is not None and self._owned:
            raise ForeignCacheError(
                f"another writer ({text}) fills the same Redis as this store: give each its own (redis.url)"
            )
        held = lost = 0
        async for page in self._cache.scan("number"):
            keys = [key.decode() for key in page]
            present = await self._database.read(
                lambda session: self._outbox.present(session, "number", keys)  # noqa: B023
            )
            held += len(keys)
            lost += len(keys) - len(present)
        if lost > TAKEOVER_LIMIT and lost > TAKEOVER_SHARE * held:
            raise ForeignCacheError(
                f"{lost} of the {held} numbers in Redis are not in this store, and would be lost: check"
                " api.database_url and data.dir, or import them,"
                " or give them up with: redis-cli DEL '{vg}:meta'"
            )

    async def _trim(self, published: int, place: Place) -> None:
        self._untrimmed += published
        if self._untrimmed >= TRIM_EVERY:
            self._untrimmed = 0
            await self._database.write(lambda tx: self._outbox.trim(tx, place.revision))

    def _failed(self, error: Exception) -> None:
        self._metrics.publish_errors.inc()
        text = str(error) or type(error).__name__
        if text != self._complaint:
            self._complaint = text
            self._on_error(text)
