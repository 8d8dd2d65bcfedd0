"""Records of calls, and places at agents, in virtual time: what `routing.kept_calls` and `routing.ledger` do in
Redis, and no more than that.

Each answer takes a moment, drawn from the seed, so that claimers overtake each other; while it is away,
nothing is answered at all.
"""

from __future__ import annotations

import asyncio
import random
from collections import defaultdict
from collections.abc import Sequence

from redis.exceptions import ConnectionError as RedisAway

from routing.kept_calls import CLAIM_SECONDS, Away, Kept
from routing.share import Claim
from tests.routing.ledger_model import LedgerModel


class SimulatedRedis:
    """What all nodes share."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.away = False
        self.leases: dict[str, float] = {}
        self.owners: dict[str, float] = {}
        self.calls: dict[str, dict[str, bytes]] = defaultdict(dict)
        self.claims: dict[str, dict[str, float]] = defaultdict(dict)
        self.dialogs: dict[str, dict[str, str]] = defaultdict(dict)
        self.taken: dict[str, set[str]] = defaultdict(set)
        self.ledgers: dict[str, LedgerModel] = defaultdict(LedgerModel)

    @property
    def now(self) -> float:
        return asyncio.get_running_loop().time()

    async def answer(self) -> None:
        """Take the time of one question."""
        await asyncio.sleep(self.rng.uniform(0.0002, 0.02))
        if self.away:
            raise RedisAway("simulated")

    def flush(self) -> None:
        """Lose everything."""
        for each in (self.leases, self.owners, self.calls, self.dialogs, self.claims, self.taken):
            each.clear()

    @property
    def records(self) -> int:
        """How many there are."""
        return sum(map(len, self.calls.values()))


class SimulatedLedger:
    """Fulfils `routing.leases.Asked`."""

    def __init__(self, redis: SimulatedRedis, owner: str) -> None:
        self._redis = redis
        self._owner = owner

    async def claim(self, tag: str, claim: Claim) -> tuple[int, int]:
        await self._redis.answer()
        ledger = self._redis.ledgers[tag]
        ledger.now = self._redis.now
        return ledger.claim(self._owner, claim)


class SimulatedKeptCalls:
    """Fulfils what `gateway.continuity` asks of `KeptCalls`."""

    def __init__(self, redis: SimulatedRedis, owner: str, lease: float) -> None:
        self.owner = owner
        self._redis = redis
        self._lease = lease

    async def beat(self) -> bool:
        redis = self._redis
        await redis.answer()
        lived = redis.leases.get(self.owner, -1.0) > redis.now
        redis.leases[self.owner] = redis.owners[self.owner] = redis.now + self._lease
        return lived

    async def write(self, kept: Sequence[Kept], gone: Sequence[Kept]) -> None:
        redis = self._redis
        await redis.answer()
        for each in kept:
            redis.calls[self.owner][each.call_id] = each.record
            for dialog in each.dialogs:
                redis.dialogs[self.owner][dialog] = each.call_id
        for each in gone:
            redis.calls[self.owner].pop(each.call_id, None)
            for dialog in each.dialogs:
                redis.dialogs[self.owner].pop(dialog, None)

    async def away(self) -> Away:
        redis = self._redis
        await redis.answer()
        claims = redis.claims[self.owner]
        mine = {each for each in redis.calls[self.owner] if claims.get(each, -1.0) <= redis.now}
        return Away(mine, redis.taken[self.owner] | (redis.calls[self.owner].keys() - mine))

    async def drop(self, call_ids: set[str]) -> None:
        await self._redis.answer()
        for call_id in call_ids:
            self._redis.calls[self.owner].pop(call_id, None)
        self._redis.dialogs[self.owner].clear()

    async def leave(self) -> None:
        await self._redis.answer()
        redis = self._redis
        for each in (redis.leases, redis.calls, redis.dialogs, redis.claims, redis.taken, redis.owners):
            each.pop(self.owner, None)

    async def late(self) -> list[str]:
        redis = self._redis
        await redis.answer()
        return [owner for owner, until in redis.owners.items() if until <= redis.now and owner != self.owner]

    async def find(self, dialog: str, owners: Sequence[str]) -> tuple[str, str] | None:
        await self._redis.answer()
        for owner in owners:
            if dialog in self._redis.dialogs[owner]:
                return owner, self._redis.dialogs[owner][dialog]
        return None

    async def claim(
        self, owner: str, limit: int, call_ids: Sequence[str] = (), *, dead: bool = False
    ) -> list[tuple[str, bytes]] | None:
        redis = self._redis
        await redis.answer()
        if not dead and redis.leases.get(owner, -1.0) > redis.now:
            return None
        calls, claims = redis.calls[owner], redis.claims[owner]
        free = [each for each in call_ids or calls if each in calls and claims.get(each, -1.0) <= redis.now]
        for call_id in free[:limit]:
            claims[call_id] = redis.now + CLAIM_SECONDS
        return [(call_id, calls[call_id]) for call_id in free[:limit]]

    async def settle(self, owner: str, call_ids: Sequence[str]) -> bool:
        await self._redis.answer()
        for call_id in call_ids:
            self._redis.taken[owner].add(call_id)
            self._redis.calls[owner].pop(call_id, None)
            self._redis.claims[owner].pop(call_id, None)
        return not self._redis.calls[owner]

    async def bury(self, owner: str) -> None:
        await self._redis.answer()
        self._redis.owners.pop(owner, None)
        self._redis.dialogs.pop(owner, None)
