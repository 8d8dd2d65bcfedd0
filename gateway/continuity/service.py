"""The continuity of one process's calls: its keeper, who looks for orphans, and what both need."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final

import structlog

from gateway.calls.call import Call
from gateway.continuity.adopter import Result
from gateway.continuity.keeper import Keeper
from gateway.continuity.kept_call import KeptCall
from gateway.continuity.lifeline import Lifelines
from gateway.continuity.orphans import Orphans, Stray
from gateway.telemetry.metrics import Metrics
from routing.kept_calls import FAILURES, KeptCalls
from routing.redis_clients import BACKGROUND_TIMEOUT, HOT_TIMEOUT, connect
from routing.redis_place import RedisPlace

LAST_WRITE_SECONDS: Final = 2.0
"""For Redis to hear at the end that no call is left."""

log = structlog.get_logger("calls")


class CallContinuity:
    """Everything of it, in the order in which a process needs it: made, opened, run, closed.

    Args:
        redis: where it is.
        owner: who we are: the node's name, ``#``, and what no other process has.
        lease: seconds.
        directory: of locks.
        calls: those that are alive.
        metrics: count.

    """

    def __init__(
        self,
        redis: RedisPlace,
        owner: str,
        lease: float,
        directory: Path,
        calls: Iterable[Call],
        metrics: Metrics,
    ) -> None:
        self._background = connect(redis, BACKGROUND_TIMEOUT)
        self._hot = connect(redis, HOT_TIMEOUT)
        self._store = KeptCalls(self._background, owner, lease)
        self._lifelines = Lifelines(directory, owner)
        self._metrics = metrics
        self._dead: list[str] = []
        self._orphans: Orphans | None = None
        self.keeper = Keeper(
            self._store,
            calls,
            wall_clock=self.clock,
            clock=time.monotonic,
            on_failed=metrics.continuity_failures.inc,
            on_error=_told,
        )

    def clock(self) -> float:
        """Seconds since the epoch as Redis counts them: what is kept is read by others, with other clocks."""
        return self._store.clock.now()

    async def open(self) -> None:
        """Hold our lock, and learn who held one. Raises OSError."""
        await asyncio.to_thread(self._lifelines.hold)
        self._dead = await asyncio.to_thread(self._lifelines.dead)

    def adopt_with(self, adopt: Callable[[KeptCall], Result]) -> None:
        """Say who goes on with calls; before anything is run or looked for."""
        self._orphans = Orphans(
            self._store,
            KeptCalls(self._hot, self._store.owner, 0),
            self._dead,
            adopt,
            self.keeper,
            died=self._died,
            buried=self._bury,
            clock=time.monotonic,
            on_result=self._count,
            on_error=_told,
        )

    async def look_for(self, stray: Stray) -> None:
        """See `gateway.sip.endpoint.SipEndpoint`."""
        if self._orphans is not None:
            await self._orphans.look_for(stray)

    async def keep(self) -> None:
        """Keep our calls until cancelled."""
        await self.keeper.run()

    async def adopt(self) -> None:
        """Take over orphaned calls until cancelled."""
        if self._orphans is not None:
            await self._orphans.run()

    async def close(self) -> None:
        """No call is left. Bounded."""
        with suppress(*FAILURES):
            async with asyncio.timeout(LAST_WRITE_SECONDS):
                await self.keeper.flush()
                await self.keeper.leave()
        await self._background.aclose()
        await self._hot.aclose()
        await asyncio.to_thread(self._lifelines.let_go)

    def refresh(self) -> None:
        """Bring the gauges up to date; called at each scrape."""
        keeper, metrics = self.keeper, self._metrics
        metrics.continuity_calls.set(keeper.kept)
        metrics.continuity_waiting.set(keeper.waiting)
        metrics.continuity_lease_age.set(round(keeper.lease_age, 3))

    async def _died(self) -> list[str]:
        return await asyncio.to_thread(self._lifelines.dead_siblings)

    async def _bury(self, owner: str) -> None:
        await asyncio.to_thread(self._lifelines.bury, owner)

    def _count(self, result: Result) -> None:
        self._metrics.orphaned_calls.labels(result).inc()
        log.info("call of a gateway that died", result=result)


def _told(text: str) -> None:
    if text:
        log.error("calls not kept", detail=text, key="redis.url")
    else:
        log.info("calls are kept again")
