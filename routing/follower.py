"""Keeps a view current: loads it from the cache, then follows the revision log.

log trimmed past our place      a new view is loaded beside the old one, then takes its place at once
another data set (epoch)        likewise
an older copy of the data       likewise: Redis died, and came back with its last dump
Redis away, or flushed          the view stays as it is
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

import msgspec
from redis.exceptions import RedisError

from routing.cache import Change, Kind, LoggedChange, RoutingCache, State
from routing.observer import Loaded, RoutingObserver
from routing.redis_clients import FOLLOW_WAIT
from routing.view import RouteView

RETRY_SECONDS: Final = 0.5
"""Before the cache is asked again after it failed: short, since Redis comes back in seconds or not at all."""

FAILURES: Final = (RedisError, OSError, TimeoutError, msgspec.DecodeError, ValueError)
"""What reading the cache may raise, whatever is wrong with it."""


class Follower:
    """Holds the view in force.

    Args:
        background: the cache, by a client for loading.
        subscriber: the same, by a client that may wait for changes.
        observer: counts.
        on_loaded: see `Loaded`.
        on_error: told what went wrong, in words, the same thing once.
        clock: seconds, monotonic; wall_clock: seconds since the epoch.

    """

    def __init__(
        self,
        background: RoutingCache,
        subscriber: RoutingCache,
        observer: RoutingObserver,
        *,
        on_loaded: Loaded,
        on_error: Callable[[str], None],
        clock: Callable[[], float],
        wall_clock: Callable[[], float],
    ) -> None:
        self._background = background
        self._subscriber = subscriber
        self._observer = observer
        self._on_loaded = on_loaded
        self._on_error = on_error
        self._clock = clock
        self._wall_clock = wall_clock
        self._complaint = ""
        self.view = RouteView()
        self.source = "replica"
        self.current_at: float | None = None

    async def load(self, within: float) -> None:
        """Load everything, if that can be done in so many seconds. Raises nothing."""
        try:
            async with asyncio.timeout(within):
                await self._resync()
        except FAILURES as error:
            self._failed(error)

    async def serve(self, view: RouteView) -> None:
        """Put a view from disk in force, until Redis has something to say."""
        self.view, self.source = view, "snapshot"
        self._observer.numbers_known(len(view))
        await self._announce_all(view)

    async def run(self) -> None:
        """Follow until cancelled."""
        while True:
            try:
                await self._follow_once()
            except FAILURES as error:
                self._failed(error)
                await asyncio.sleep(RETRY_SECONDS)

    async def _follow_once(self) -> None:
        """One look at the log: take over what is new, and notice when it is not our log any more."""
        view, log = self.view, self._subscriber
        changes = await log.changes_since(view.revision, FOLLOW_WAIT) if view.epoch else ()
        state = await log.state(view.revision)
        if not changes and state.epoch == view.epoch and state.revision > view.revision:
            # Written between the two questions, or trimmed away: the log itself tells.
            changes = await log.changes_since(view.revision, 0)
        if _continues(view, changes, state):
            if changes:
                self._take_over(changes)
            self._is_current()
        else:
            await self._resync()

    def _take_over(self, changes: Sequence[LoggedChange]) -> None:
        view, now = self.view, self._wall_clock()
        latest: dict[tuple[Kind, str], Change] = {}
        for logged in changes:
            view.apply(logged.change)
            latest[logged.change.kind, logged.change.key] = logged.change
            self._observer.propagated(max(0.0, now - logged.accepted_at))
        view.revision, view.mark = changes[-1].revision, changes[-1].mark
        self._observer.numbers_known(len(view))
        present = [key for key, change in latest.items() if change.value is not None]
        numbers = [number for kind, key in present if kind == "number" and (number := view.number(key))]
        agents = [agent for kind, key in present if kind == "agent" and (agent := view.get(key))]
        self._on_loaded(numbers, agents)
        self._unreadable(len(present) - len(numbers) - len(agents))

    async def _resync(self) -> None:
        """Load everything into a new view; the old one serves until it is complete."""
        state = await self._background.state()
        if state.epoch is None:
            raise ValueError("the routing cache is empty: its writer has to fill it")
        fresh = RouteView(state.epoch, state.revision, state.mark)
        async for page in self._background.scan("agent"):
            for key, value in page.items():
                fresh.apply(Change("agent", key.decode(), value))
        async for page in self._background.scan("number"):
            for key, value in page.items():
                fresh.apply(Change("number", key.decode(), value))
            await asyncio.sleep(0)  # calls go first
        after = await self._background.state(state.revision)
        if (after.epoch, after.mark) != (state.epoch, state.mark):
            raise ValueError("the routing cache was replaced while it was read")
        self.view = fresh
        self._observer.numbers_known(len(fresh))
        self._is_current()
        await self._announce_all(fresh)

    async def _announce_all(self, view: RouteView) -> None:
        """Tell the whole view in pieces: a million numbers take a second to decode, and calls go first."""
        total, agents = view.count(), view.agents()
        readable = len(agents)
        self._on_loaded((), agents)
        for piece in view.pieces():
            self._on_loaded(piece, ())
            readable += len(piece)
            await asyncio.sleep(0)
        self._unreadable(total - readable)

    def _is_current(self) -> None:
        self.current_at = self._clock()
        self.source = "replica"
        self._complaint = ""

    def _unreadable(self, count: int) -> None:
        if count > 0:
            self._observer.sync_error()
            self._on_error(f"{count} records of the routes cannot be read: did a newer version write them?")

    def _failed(self, error: BaseException) -> None:
        self._observer.sync_error()
        text = str(error) or type(error).__name__
        if text != self._complaint:
            self._complaint = text
            self._on_error(f"routes are not being updated: {text}")


def _continues(view: RouteView, changes: Sequence[LoggedChange], state: State) -> bool:
    """Whether these changes, if any, bring the view to where the cache stands (or on the way there)."""
    if state.epoch is None or (state.epoch, state.mark) != (view.epoch, view.mark):
        return False
    if not changes:
        return state.revision == view.revision
    return changes[0].revision == view.revision + 1 and state.revision >= changes[-1].revision
