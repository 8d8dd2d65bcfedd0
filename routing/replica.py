"""The in-process view that serves calls, kept current by a `Follower`.

What a call sees of what goes wrong:

    Redis away              the view as it was; its age grows, which is a metric and an alert
    Redis away at start     the last snapshot from disk
    Redis flushed           the view as it was, until the writer has filled and sealed it again
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from redis.exceptions import RedisError

from routing import snapshot
from routing.cache import Change, RoutingCache
from routing.follower import FAILURES, Follower
from routing.models import PhoneNumber
from routing.observer import Loaded, RoutingObserver
from routing.redis_clients import BACKGROUND_TIMEOUT, FOLLOW_TIMEOUT, HOT_TIMEOUT, connect
from routing.redis_place import RedisPlace
from routing.view import RouteView

LOAD_SECONDS: Final = 60.0
"""For the first load, before the snapshot serves: a million numbers take less than ten."""

SNAPSHOT_INTERVAL: Final = 60.0
"""Seconds between snapshots, when something changed."""

MISS_TTL: Final = 1.0
"""Seconds that an unknown number is not asked for again: a scan of unknown numbers must not become Redis's
load."""

MAX_MISSES: Final = 10_000
"""Unknown numbers remembered; all are forgotten when there are more, since each is old in a second."""


class Replica:
    """Serves lookups; see above for how it fares when Redis does not.

    Args:
        url: where Redis is.
        observer: counts.
        snapshot_path: where the last view is kept; None keeps none.
        saves: keep it; False reads it only: of several processes one keeps it.
        on_loaded: told numbers and agents that are new or changed, so that what they need can be prepared.
        on_error: told what went wrong, in words.
        clock: seconds, monotonic; wall_clock: seconds since the epoch.

    """

    def __init__(
        self,
        url: RedisPlace | str,
        observer: RoutingObserver,
        *,
        snapshot_path: Path | None = None,
        saves: bool = True,
        on_loaded: Loaded = lambda numbers, agents: None,
        on_error: Callable[[str], None] = lambda text: None,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._observer = observer
        self._snapshot_path = snapshot_path
        self._saves = saves and snapshot_path is not None
        self._on_error = on_error
        self._clock = clock
        hot, background, subscriber = self._clients = [
            connect(url, timeout) for timeout in (HOT_TIMEOUT, BACKGROUND_TIMEOUT, FOLLOW_TIMEOUT)
        ]
        self._cache = RoutingCache(hot)
        self._follower = Follower(
            RoutingCache(background),
            RoutingCache(subscriber),
            observer,
            on_loaded=on_loaded,
            on_error=on_error,
            clock=clock,
            wall_clock=wall_clock,
        )
        self._saved: tuple[str, int] = ("", 0)
        self._asked: dict[str, asyncio.Task[PhoneNumber | None]] = {}
        self._misses: dict[str, float] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._saving: asyncio.Task[None] | None = None

    @property
    def loaded(self) -> bool:
        """Whether there is anything to route by, from Redis or from disk."""
        return bool(self.view.epoch)

    @property
    def agents(self) -> RouteView:
        """Agents by id."""
        return self._follower.view

    @property
    def view(self) -> RouteView:
        """The view in force."""
        return self._follower.view

    @property
    def age(self) -> float:
        """Seconds since the view was last known to be current; infinite if it never was."""
        current_at = self._follower.current_at
        return float("inf") if current_at is None else self._clock() - current_at

    def get(self, phone_number: str) -> PhoneNumber | None:
        """What this node knows of an E.164 number, at once."""
        began = self._clock()
        found = self._follower.view.number(phone_number)
        if found is not None:
            self._observer.lookup(self._follower.source, "hit", self._clock() - began)
        return found

    async def lookup(self, phone_number: str) -> PhoneNumber | None:
        """Like `get`, and ask Redis for a number that this node does not know; within 200 ms.

        Calls for the same number share one question. Raises nothing: a Redis that does not answer knows
        nothing more than we do.
        """
        found = self.get(phone_number)
        if found is not None:
            return found
        began = self._clock()
        if self._misses.get(phone_number, 0.0) > began:
            self._observer.lookup("replica", "miss", self._clock() - began)
            return None
        task = self._asked.get(phone_number)
        if task is None:
            task = self._asked[phone_number] = asyncio.create_task(self._ask(phone_number))
            task.add_done_callback(lambda _: self._asked.pop(phone_number, None))
        try:
            found = await asyncio.shield(task)
        except FAILURES:
            self._observer.lookup("redis", "error", self._clock() - began)
            return None
        self._observer.lookup("redis", "miss" if found is None else "hit", self._clock() - began)
        if found is None:
            if len(self._misses) >= MAX_MISSES:
                self._misses.clear()
            self._misses[phone_number] = self._clock() + MISS_TTL
        return found

    async def _ask(self, phone_number: str) -> PhoneNumber | None:
        view = self.view
        async with asyncio.timeout(HOT_TIMEOUT):
            number = await self._cache.number(phone_number)
            for agent_id in named_agents(number) if number else ():
                # Its agents may be as new as the number; the log brings them again, unchanged.
                if view.get(agent_id) is None and (value := await self._cache.agent(agent_id)):
                    view.apply(Change("agent", agent_id, value))
        return number

    async def start(self) -> None:
        """Load the routes, from Redis or else from disk, and follow the log from then on. Raises nothing."""
        await self._follower.load(LOAD_SECONDS)
        if not self.loaded:
            await self._load_snapshot()
        self._tasks = [
            asyncio.create_task(self._follower.run(), name="routing-follow"),
            asyncio.create_task(self._save_regularly(), name="routing-snapshot"),
        ]

    async def stop(self) -> None:
        """Stop following, keep a last snapshot, close the connections. Idempotent."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, *self._asked.values(), return_exceptions=True)
        self._tasks = []
        if self._saving is not None:
            # Its thread cannot be stopped, and two must not write one file.
            await asyncio.wait({self._saving})
            self._saving = None
        await self._save()
        for client in self._clients:
            with contextlib.suppress(RedisError, OSError):
                await client.aclose()

    async def _load_snapshot(self) -> None:
        if self._snapshot_path is None:
            return
        try:
            view = await asyncio.to_thread(snapshot.load, self._snapshot_path)
        except (snapshot.SnapshotError, OSError) as error:
            self._on_error(str(error))
            return
        if view is not None:
            await self._follower.serve(view)

    async def _save_regularly(self) -> None:
        while True:
            await asyncio.sleep(SNAPSHOT_INTERVAL)
            self._saving = asyncio.create_task(self._save(), name="routing-save")
            await asyncio.shield(self._saving)

    async def _save(self) -> None:
        place = (self.view.epoch, self.view.revision)
        if not self._saves or self._snapshot_path is None or not self.loaded or self._saved == place:
            return
        try:
            await asyncio.to_thread(snapshot.save, self._snapshot_path, self.view)
            self._saved = place
        except OSError as error:
            self._on_error(f"the snapshot of the routes cannot be written: {error}")


def named_agents(number: PhoneNumber) -> set[str]:
    """Ids of the agents that a number's calls may go to."""
    routing = number.inbound_routing
    fallback = routing.fallback if routing else None
    ids = (number.agent_id, routing and routing.agent_id, fallback and fallback.agent_id)
    return {agent_id for agent_id in ids if agent_id}
