"""The in-process view that serves calls: loaded from the cache, then kept current by its revision log.

What can go wrong, and what a call sees of it:

    Redis away                      the view as it was; its age grows, which is a metric and an alert
    Redis away at start             the last snapshot from disk
    Redis flushed                   the view as it was, until the writer has filled and sealed it again
    log trimmed past our place      a new view is loaded beside the old one, then takes its place at once
    another data set (epoch)        likewise
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, Protocol, TypeAlias

import msgspec
from redis.exceptions import RedisError

from routing import snapshot
from routing.cache import Change, LoggedChange, RoutingCache, State
from routing.models import Agent, PhoneNumber
from routing.redis_clients import (
    BACKGROUND_TIMEOUT,
    FOLLOW_TIMEOUT,
    FOLLOW_WAIT,
    HOT_TIMEOUT,
    connect,
)
from routing.view import RouteView

SNAPSHOT_INTERVAL: Final = 60.0
"""Seconds between snapshots, when something changed."""

RETRY_SECONDS: Final = 0.5
"""Before the cache is asked again after it failed: short, since Redis comes back in seconds or not at all."""

MISS_TTL: Final = 1.0
"""Seconds that an unknown number is not asked for again: a scan of unknown numbers must not become Redis's
load."""

MAX_MISSES: Final = 10_000

FAILURES: Final = (RedisError, OSError, TimeoutError, msgspec.DecodeError, ValueError)
"""What reading the cache may raise, whatever is wrong with it."""

Loaded: TypeAlias = Callable[[Sequence[PhoneNumber], Sequence[Agent]], None]


def named_agents(number: PhoneNumber) -> set[str]:
    """Ids of the agents that a number's calls may go to."""
    routing = number.inbound_routing
    fallback = routing.fallback if routing else None
    ids = (number.agent_id, routing and routing.agent_id, fallback and fallback.agent_id)
    return {agent_id for agent_id in ids if agent_id}


class RoutingObserver(Protocol):
    """Who counts."""

    def lookup(self, source: str, result: str, seconds: float) -> None:
        """A lookup was answered by `source` with `result` (``hit``, ``miss``, ``error``)."""

    def sync_error(self) -> None:
        """Loading or following failed."""

    def numbers_known(self, count: int) -> None:
        """So many numbers are in the view."""

    def propagated(self, seconds: float) -> None:
        """A change became routable here that long after it was accepted."""


class Replica:
    """Serves lookups; see above for how it stays current.

    Args:
        url: of Redis.
        observer: counts.
        snapshot_path: where the last view is kept; None keeps none.
        on_loaded: told numbers and agents that are new or changed, so that what they need can be prepared.
        on_error: told what went wrong, in words.
        clock: seconds, monotonic; wall_clock: seconds since the epoch.

    """

    def __init__(
        self,
        url: str,
        observer: RoutingObserver,
        *,
        snapshot_path: Path | None = None,
        on_loaded: Loaded = lambda numbers, agents: None,
        on_error: Callable[[str], None] = lambda text: None,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._observer = observer
        self._snapshot_path = snapshot_path
        self._on_loaded = on_loaded
        self._on_error = on_error
        self._clock = clock
        self._wall_clock = wall_clock
        self._hot = connect(url, HOT_TIMEOUT)
        self._background = connect(url, BACKGROUND_TIMEOUT)
        self._subscriber = connect(url, FOLLOW_TIMEOUT)
        self._view = RouteView()
        self._source = "replica"
        self._current_at: float | None = None
        self._saved: tuple[str, int] = ("", 0)
        self._asked: dict[str, asyncio.Task[PhoneNumber | None]] = {}
        self._misses: dict[str, float] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._complaint = ""

    # What calls ask.

    @property
    def loaded(self) -> bool:
        """Whether there is anything to route by, from Redis or from disk."""
        return bool(self._view.epoch)

    @property
    def agents(self) -> RouteView:
        """Agents by id."""
        return self._view

    @property
    def view(self) -> RouteView:
        """The view in force."""
        return self._view

    @property
    def age(self) -> float:
        """Seconds since the view was last known to be current; infinite if it never was."""
        return float("inf") if self._current_at is None else self._clock() - self._current_at

    def get(self, phone_number: str) -> PhoneNumber | None:
        """What this node knows of an E.164 number, at once."""
        began = self._clock()
        found = self._view.number(phone_number)
        if found is not None:
            self._observer.lookup(self._source, "hit", self._clock() - began)
        return found

    async def lookup(self, phone_number: str) -> PhoneNumber | None:
        """Ask Redis for a number that this node does not know; within 200 ms, a number once at a time.

        Raises nothing: a Redis that does not answer knows nothing more than we do.
        """
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
        cache, view = RoutingCache(self._hot), self._view
        async with asyncio.timeout(HOT_TIMEOUT):
            number = await cache.number(phone_number)
            for agent_id in named_agents(number) if number else ():
                # Its agents may be as new as the number; the log brings them again, unchanged.
                if view.get(agent_id) is None and (value := await cache.agent(agent_id)):
                    view.apply(Change("agent", agent_id, value))
        return number

    # Staying current.

    async def start(self) -> None:
        """Load the routes, from Redis or else from disk, and follow the log from then on. Raises nothing."""
        try:
            async with asyncio.timeout(BACKGROUND_TIMEOUT * 12):
                await self._resync(RoutingCache(self._background))
        except FAILURES as error:
            self._failed(error)
        if not self.loaded:
            await self._load_snapshot()
        self._tasks = [
            asyncio.create_task(self._follow(), name="routing-follow"),
            asyncio.create_task(self._save_regularly(), name="routing-snapshot"),
        ]

    async def stop(self) -> None:
        """Stop following, keep a last snapshot, close the connections. Idempotent."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, *self._asked.values(), return_exceptions=True)
        self._tasks = []
        await self._save()
        for client in (self._hot, self._background, self._subscriber):
            with contextlib.suppress(RedisError, OSError):
                await client.aclose()

    async def _follow(self) -> None:
        cache = RoutingCache(self._subscriber)
        while True:
            try:
                await self._follow_once(cache)
            except FAILURES as error:
                self._failed(error)
                await asyncio.sleep(RETRY_SECONDS)

    async def _follow_once(self, cache: RoutingCache) -> None:
        """One look at the log: take over what is new, and notice when it is not our log any more."""
        view = self._view
        changes = await cache.changes_since(view.revision, FOLLOW_WAIT) if view.epoch else ()
        state = await cache.state()
        if not changes and state.epoch == view.epoch and state.revision > view.revision:
            # Written between the two questions, or trimmed away: the log itself tells.
            changes = await cache.changes_since(view.revision, 0)
        if state.epoch is None:
            raise ValueError("the routing cache is empty: its writer has to fill it again")
        last = changes[-1].revision if changes else view.revision
        gap = bool(changes) and changes[0].revision != view.revision + 1
        if (
            state.epoch != view.epoch
            or gap
            or state.revision < last
            or (not changes and state.revision > last)
        ):
            await self._resync(RoutingCache(self._background), state)
            return
        if changes:
            self._take_over(changes)
        self._is_current()

    def _take_over(self, changes: Sequence[LoggedChange]) -> None:
        now = self._wall_clock()
        for logged in changes:
            self._view.apply(logged.change)
            self._misses.pop(logged.change.key, None)
            self._observer.propagated(max(0.0, now - logged.accepted_at))
        self._view.revision = changes[-1].revision
        self._observer.numbers_known(len(self._view))
        self._announce([logged.change for logged in changes])

    def _announce(self, changes: Sequence[Change]) -> None:
        keys = {(change.kind, change.key) for change in changes if change.value is not None}
        numbers = [self._view.number(key) for kind, key in keys if kind == "number"]
        agents = [self._view.get(key) for kind, key in keys if kind == "agent"]
        self._on_loaded([one for one in numbers if one], [one for one in agents if one])

    async def _announce_all(self, view: RouteView) -> None:
        """Tell the whole view in pieces: a million numbers take a second to decode, and calls go first."""
        self._on_loaded((), view.agents())
        for piece in view.pieces():
            self._on_loaded(piece, ())
            await asyncio.sleep(0)

    async def _resync(self, cache: RoutingCache, state: State | None = None) -> None:
        """Load everything into a new view; the old one serves until it is complete."""
        state = state or await cache.state()
        if state.epoch is None:
            raise ValueError("the routing cache is empty: its writer has to fill it")
        fresh = RouteView(state.epoch, state.revision)
        async for page in cache.scan("agent"):
            for key, value in page.items():
                fresh.apply(Change("agent", key.decode(), value))
        async for page in cache.scan("number"):
            for key, value in page.items():
                fresh.apply(Change("number", key.decode(), value))
            await asyncio.sleep(0)  # calls go first
        if (await cache.state()).epoch != state.epoch:
            raise ValueError("the routing cache was replaced while it was read")
        self._view = fresh
        self._misses.clear()
        self._observer.numbers_known(len(fresh))
        self._is_current()
        await self._announce_all(fresh)

    def _is_current(self) -> None:
        self._current_at = self._clock()
        self._source = "replica"
        self._complaint = ""

    def _failed(self, error: BaseException) -> None:
        self._observer.sync_error()
        text = str(error) or type(error).__name__
        if text != self._complaint:  # said once, not twice a second
            self._complaint = text
            self._on_error(f"routes are not being updated: {text}")

    # On disk.

    async def _load_snapshot(self) -> None:
        if self._snapshot_path is None:
            return
        try:
            view = await asyncio.to_thread(snapshot.load, self._snapshot_path)
        except (snapshot.SnapshotError, OSError) as error:
            self._on_error(str(error))
            return
        if view is not None:
            self._view, self._source = view, "snapshot"
            self._observer.numbers_known(len(view))
            await self._announce_all(view)

    async def _save_regularly(self) -> None:
        while True:
            await asyncio.sleep(SNAPSHOT_INTERVAL)
            await self._save()

    async def _save(self) -> None:
        view = self._view
        if self._snapshot_path is None or not view.epoch or self._saved == (view.epoch, view.revision):
            return
        try:
            await asyncio.to_thread(snapshot.save, self._snapshot_path, view)
            self._saved = (view.epoch, view.revision)
        except OSError as error:
            self._on_error(f"the snapshot of the routes cannot be written: {error}")
