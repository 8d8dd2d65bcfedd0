"""Redis on virtual time: one thread that serves one command after the other, at the end of a way that takes
time.

What it answers is what `routing`'s scripts answer, for a log without trimming; the ledger is the model that
the tests hold against the real script. What each command takes of the server is measured: `python -m
loadtests.fleet --measure`.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from routing.cache import Change, LoggedChange, State
from routing.nodes import GONE_AFTER, Neighbours, NodeWords
from routing.share import Claim
from tests.routing.ledger_model import LedgerModel

BATCH: Final = 500
"""Changes in one answer, as `routing.cache` reads them."""

MICROSECONDS: Final = {"claim": 130.0, "state": 65.0, "changes": 35.0, "beat": 150.0, "scan": 400.0}
"""Of the server's one thread for each command, its share of reading and writing sockets included: measured
with 7.0 on the machine of docs/scale.md, rounded up."""


@dataclass(slots=True)
class RegistryModel:
    """When each node was heard last; the living are counted as they come and go, not anew at every beat."""

    heard: dict[str, float] = field(default_factory=dict)
    up: int = 0
    _beats: deque[tuple[float, str]] = field(default_factory=deque)

    def beat(self, name: str, now: float) -> tuple[int, int]:
        """A node lives; how many others do, itself among them, and how many do not any more."""
        while self._beats and now - self._beats[0][0] >= GONE_AFTER:
            at, silent = self._beats.popleft()
            self.up -= self.heard[silent] == at
        before = self.heard.get(name)
        self.up += before is None or now - before >= GONE_AFTER
        self.heard[name] = now
        self._beats.append((now, name))
        return self.up, len(self.heard) - self.up


@dataclass(slots=True)
class RedisModel:
    """The server. One that a region cannot reach answers nobody there until the cut is over."""

    served: Counter[str] = field(default_factory=Counter)
    busy: float = 0.0
    longest_wait: float = 0.0
    ledgers: dict[str, LedgerModel] = field(default_factory=dict)
    log: list[LoggedChange] = field(default_factory=list)
    registry: RegistryModel = field(default_factory=RegistryModel)
    records: dict[str, dict[str, bytes]] = field(default_factory=lambda: {"agent": {}, "number": {}})
    _free_at: float = 0.0
    _news: dict[asyncio.Future[None], None] = field(default_factory=dict)

    @property
    def now(self) -> float:
        return asyncio.get_running_loop().time()

    def take(self, command: str) -> float:
        """Serve a command; seconds until its answer leaves."""
        seconds = MICROSECONDS[command] / 1e6
        begins = max(self.now, self._free_at)
        self._free_at = begins + seconds
        self.served[command] += 1
        self.busy += seconds
        self.longest_wait = max(self.longest_wait, begins - self.now)
        return self._free_at - self.now

    def write(self, changes: Iterable[Change]) -> None:
        """What the publisher does, all with one mark, as one batch."""
        for change in changes:
            table = self.records[change.kind]
            if change.value is None:
                table.pop(change.key, None)
            else:
                table[change.key] = change.value
            self.log.append(LoggedChange(len(self.log) + 1, f"m{len(self.log)}", change, self.now))
        news, self._news = self._news, {}
        for each in news:
            if not each.done():
                each.set_result(None)

    async def news(self, seconds: float) -> None:
        """Until something is written, or that long."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._news[future] = None
        try:
            async with asyncio.timeout(seconds):
                await future
        except TimeoutError:
            self._news.pop(future, None)

    @property
    def places(self) -> int:
        """Places that all ledgers count."""
        return sum(each.total for each in self.ledgers.values())


@dataclass(slots=True)
class Way:
    """From one region to Redis: seconds one way; cut: nothing gets through."""

    redis: RedisModel
    seconds: float
    cut: bool = False

    async def ask(self, command: str, patience: float) -> None:
        """Have a command served. Raises TimeoutError after `patience` seconds without an answer."""
        await self.travel(patience)
        await self.served(command, patience)
        await self.travel(patience)

    async def served(self, command: str, patience: float) -> None:
        """The server's part of it."""
        wait = self.redis.take(command)
        await asyncio.sleep(min(wait, patience))
        if wait > patience:
            raise TimeoutError

    async def travel(self, patience: float) -> None:
        """One way of it."""
        if self.cut:
            await asyncio.sleep(patience)
            raise TimeoutError
        await asyncio.sleep(self.seconds)


class CacheOverWay:
    """`routing.cache.RoutingCache` as `routing.follower.Follower` uses it."""

    def __init__(self, way: Way, patience: float) -> None:
        self._way = way
        self._patience = patience

    async def state(self, place: int | None = None) -> State:
        await self._way.ask("state", self._patience)
        log = self._way.redis.log
        at = len(log) if place is None else place
        mark = log[at - 1].mark if 0 < at <= len(log) else ""
        return State("epoch", len(log), mark)

    async def scan(self, kind: str) -> AsyncIterator[dict[bytes, bytes]]:
        await self._way.ask("scan", self._patience)
        yield {key.encode(): value for key, value in self._way.redis.records[kind].items()}

    async def changes_since(self, revision: int, wait: float) -> Sequence[LoggedChange]:
        redis = self._way.redis
        await self._way.travel(self._patience)
        if wait and len(redis.log) <= revision:
            await redis.news(wait)  # there, so that what is written begins its way here at once
        await self._way.served("changes", self._patience)
        await self._way.travel(self._patience)
        return redis.log[revision : revision + BATCH]


class LedgerOverWay:
    """`routing.ledger.Ledger` as `routing.leases.Leases` uses it."""

    def __init__(self, way: Way, owner: str, patience: float) -> None:
        self._way = way
        self._owner = owner
        self._patience = patience

    async def claim(self, tag: str, claim: Claim) -> tuple[int, int]:
        await self._way.ask("claim", self._patience)
        ledger = self._way.redis.ledgers.setdefault(tag, LedgerModel())
        ledger.now = self._way.redis.now
        return ledger.claim(self._owner, claim)


class RegistryOverWay:
    """`routing.nodes.NodeRegistry` as `routing.heartbeat.Heartbeat` uses it."""

    def __init__(self, way: Way, patience: float) -> None:
        self._way = way
        self._patience = patience

    async def beat(self, name: str, words: NodeWords) -> Neighbours:
        await self._way.ask("beat", self._patience)
        redis = self._way.redis
        up, gone = redis.registry.beat(name, redis.now)
        return Neighbours(up, gone, "epoch", len(redis.log))
