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

from routing.cache import Change, LoggedChange, RoutingCache, State
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
                await self._resync(await self._background.state())
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
        state = await log.state()
        if not changes and state.epoch == view.epoch and state.revision > view.revision:
            # Written between the two questions, or trimmed away: the log itself tells.
            changes = await log.changes_since(view.revision, 0)
        if _continues(view, changes, state):
            if changes:
                self._take_over(changes)
            self._is_current()
        else:
            await self._resync(state)

    def _take_over(self, changes: Sequence[LoggedChange]) -> None:
        now = self._wall_clock()
        for logged in changes:
            self.view.apply(logged.change)
            self._observer.propagated(max(0.0, now - logged.accepted_at))
        self.view.revision = changes[-1].revision
        self._observer.numbers_known(len(self.view))
        keys = {(one.change.kind, one.change.key) for one in changes if one.change.value is not None}
        numbers = [self.view.number(key) for kind, key in keys if kind == "number"]
        agents = [self.view.get(key) for kind, key in keys if kind == "agent"]
        self._on_loaded([one for one in numbers if one], [one for one in agents if one])

    async def _resync(self, state: State) -> None:
        """Load everything into a new view; the old one serves until it is complete."""
        if state.epoch is None:
            raise ValueError("the routing cache is empty: its writer has to fill it")
        fresh = RouteView(state.epoch, state.revision)
        async for page in self._background.scan("agent"):
            for key, value in page.items():
                fresh.apply(Change("agent", key.decode(), value))
        async for page in self._background.scan("number"):
            for key, value in page.items():
                fresh.apply(Change("number", key.decode(), value))
            await asyncio.sleep(0)  # calls go first
        if (await self._background.state()).epoch != state.epoch:
            raise ValueError("the routing cache was replaced while it was read")
        self.view = fresh
        self._observer.numbers_known(len(fresh))
        self._is_current()
        await self._announce_all(fresh)

    async def _announce_all(self, view: RouteView) -> None:
        """Tell the whole view in pieces: a million numbers take a second to decode, and calls go first."""
        self._on_loaded((), view.agents())
        for piece in view.pieces():
            self._on_loaded(piece, ())
            await asyncio.sleep(0)

    def _is_current(self) -> None:
        self.current_at = self._clock()
        self.source = "replica"
        self._complaint = ""

    def _failed(self, error: BaseException) -> None:
        self._observer.sync_error()
        text = str(error) or type(error).__name__
        if text != self._complaint:
            self._complaint = text
            self._on_error(f"routes are not being updated: {text}")


def _continues(view: RouteView, changes: Sequence[LoggedChange], state: State) -> bool:
    """Whether these changes, if any, bring the view to where the cache stands (or on the way there)."""
    if state.epoch is None or state.epoch != view.epoch:
        return False
    if not changes:
        return state.revision == view.revision
    return changes[0].revision == view.revision + 1 and state.revision >= changes[-1].revision
