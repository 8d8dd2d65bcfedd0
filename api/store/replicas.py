"""Reading replicas of the store: which of them are fresh enough, and whose turn it is.

A replica is as fresh as the newest position of the primary's log that it has replayed: once a second the
primary is asked where it is, and each replica how far it has come. Between the two answers no clock but ours
counts. A replica that was not seen to be fresh lately — it lags, it is away, the primary is — is not asked.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import TextClause, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine

MAX_LAG: Final = 5.0
"""Seconds that what a replica shows may be old. Who has just changed something reads from the primary for as
long."""

SAMPLE_SECONDS: Final = 1.0

SAMPLE_TIMEOUT: Final = 2.0
"""Seconds for one server to tell where it is."""

FAILURES: Final = (SQLAlchemyError, OSError, TimeoutError)
"""What asking may raise."""

_PRIMARY: Final = text("SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0'), store_id FROM state")
_REPLICA: Final = text(
    "SELECT pg_wal_lsn_diff(pg_last_wal_replay_lsn(), '0/0'), store_id FROM state WHERE pg_is_in_recovery()"
)


@dataclass(slots=True, eq=False)
class Replica:
    """One of them.

    fresh_at: when, by our clock, the primary was where the replica is now; it has what was committed before.
    """

    engine: AsyncEngine
    fresh_at: float = float("-inf")


class Replicas:
    """All of them.

    Args:
        primary: asked where it is.
        engines: of the replicas, in the order of the configuration.
        on_lag: told each replica's place in that order, and how many seconds it lags at most.
        clock: seconds, monotonic.

    """

    def __init__(
        self,
        primary: AsyncEngine,
        engines: Sequence[AsyncEngine],
        *,
        on_lag: Callable[[int, float], None] = lambda index, seconds: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._primary = primary
        self._replicas = [Replica(engine) for engine in engines]
        self.on_lag = on_lag
        self._clock = clock
        self._positions: deque[tuple[float, int]] = deque(maxlen=int(MAX_LAG / SAMPLE_SECONDS) + 2)
        self._store_id = ""
        self._turn = 0
        self._sampling: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Watch them, until `close`."""
        if self._replicas and self._sampling is None:
            self._sampling = asyncio.create_task(self._run(), name="store-replicas")

    def choose(self) -> Replica | None:
        """A replica that is fresh enough, each in its turn; None if there is none."""
        oldest = self._clock() - MAX_LAG
        for offset in range(len(self._replicas)):
            index = (self._turn + offset) % len(self._replicas)
            if self._replicas[index].fresh_at >= oldest:
                self._turn = index + 1
                return self._replicas[index]
        return None

    async def _run(self) -> None:
        while True:
            await self.sample()
            await asyncio.sleep(SAMPLE_SECONDS)

    async def sample(self) -> None:
        """Find out how fresh each is. Raises nothing."""
        asked_at = self._clock()
        primary = await _place(self._primary, _PRIMARY)
        if primary is not None:
            self._positions.append((asked_at, primary[0]))
            self._store_id = primary[1]
        reached = await asyncio.gather(*(_place(each.engine, _REPLICA) for each in self._replicas))
        for index, (replica, place) in enumerate(zip(self._replicas, reached, strict=True)):
            come = place[0] if place is not None and place[1] == self._store_id else None
            known = [at for at, there in self._positions if come is not None and there <= come]
            if known:
                replica.fresh_at = max(replica.fresh_at, *known)
            elif come is None:
                replica.fresh_at = float("-inf")
            self.on_lag(index, self._clock() - replica.fresh_at)

    async def stale(self) -> list[int]:
        """Look once; places, from 1, of those that are not fresh."""
        await self.sample()
        oldest = self._clock() - MAX_LAG
        return [place for place, each in enumerate(self._replicas, 1) if each.fresh_at < oldest]

    async def close(self) -> None:
        """Stop watching, and close every connection to them."""
        sampling, self._sampling = self._sampling, None
        if sampling is not None:
            sampling.cancel()
            await asyncio.gather(sampling, return_exceptions=True)
        for replica in self._replicas:
            await replica.engine.dispose()


async def _place(engine: AsyncEngine, question: TextClause) -> tuple[int, str] | None:
    """Where a server is in its log, in bytes, and whose store it has.

    None if it does not tell in time, or is no replica any more.
    """
    try:
        async with asyncio.timeout(SAMPLE_TIMEOUT), engine.connect() as connection:
            row = (await connection.execute(question)).first()
            return None if row is None or row[0] is None else (int(row[0]), str(row[1]))
    except FAILURES:
        return None
