"""What other processes need to go on with established calls, in Redis: kept by owner, and claimed once.

An owner is one process of one gateway: the node's name and something that no other process has. Keys:

    {vg:OWNER}:lease    string   there while the owner lives; expires
    {vg:OWNER}:calls    hash     call id → record
    {vg:OWNER}:dialogs  hash     Call-ID of a SIP dialog → call id
    {vg:OWNER}:claims   hash     call id → milliseconds until which somebody else is taking it over
    {vg:OWNER}:taken    set      ids of calls that somebody else has taken over
    {vg}:owners         set      sorted: OWNER → when its lease runs out, milliseconds

All clocks are Redis's. The keys of an owner are in one slot, so that a claim is one step also in a cluster,
and many calls are written by a handful of commands. Every key expires, unless its owner renews it.

A claim is for `CLAIM_SECONDS`: whoever claims writes the record under its own name and then settles the
claim. If it dies in between, the record is claimed by somebody else.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple

from redis.asyncio import Redis
from redis.exceptions import RedisError

from routing.redis_clock import RedisClock

RECORD_SECONDS: Final = 3600
"""After which what nobody has renewed or claimed is gone: its calls ended long ago."""

CLAIM_SECONDS: Final = 10.0
"""For whoever claims a record to write it under its own name."""

MAX_LATE: Final = 100
"""Owners looked at in one go whose lease has run out; the rest has its turn a second later."""

OWNERS: Final = "{vg}:owners"

FAILURES: Final = (RedisError, OSError, TimeoutError)
"""What Redis may raise."""

_BEAT: Final = """
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
redis.call('ZADD', KEYS[1], string.format('%.0f', now + ARGV[2]), ARGV[1])
return clock
"""

_LATE: Final = """
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local long_ago = string.format('%.0f', now - 1000 * ARGV[2])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', long_ago)
return redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', string.format('%.0f', now), 'LIMIT', 0, ARGV[1])
"""

_CLAIM: Final = """
if ARGV[1] == '' and redis.call('EXISTS', KEYS[1]) == 1 then return false end
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local ids = {unpack(ARGV, 5)}
if #ids == 0 then ids = redis.call('HKEYS', KEYS[2]) end
local claimed = {}
for _, id in ipairs(ids) do
  if #claimed >= 2 * ARGV[4] then break end
  local until_ = redis.call('HGET', KEYS[3], id)
  if not until_ or tonumber(until_) <= now then
    local record = redis.call('HGET', KEYS[2], id)
    if record then
      redis.call('HSET', KEYS[3], id, string.format('%.0f', now + ARGV[2]))
      claimed[#claimed + 1] = id
      claimed[#claimed + 1] = record
    end
  end
end
if #claimed > 0 then
  redis.call('EXPIRE', KEYS[3], ARGV[3])
end
return claimed
"""

_AWAY: Final = """
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local mine, others = {}, redis.call('SMEMBERS', KEYS[3])
for _, id in ipairs(redis.call('HKEYS', KEYS[1])) do
  local until_ = redis.call('HGET', KEYS[2], id)
  if not until_ or tonumber(until_) <= now then mine[#mine + 1] = id else others[#others + 1] = id end
end
return {mine, others}
"""


class Kept(NamedTuple):
    """One call's record; dialogs: Call-IDs of its legs."""

    call_id: str
    record: bytes
    dialogs: tuple[str, ...]


class Away(NamedTuple):
    """What an owner finds whose lease had run out.

    mine: ids of its calls that nobody has claimed; others: of those that somebody has, or has taken over.
    """

    mine: set[str]
    others: set[str]


class KeptCalls:
    """The records of all owners. Every method may raise one of `FAILURES`.

    Args:
        redis: a client with timeouts.
        owner: who we are.
        lease: seconds for which we count as alive after each `beat`.

    Attributes:
        clock: Redis's, as of the last `beat`.

    """

    def __init__(self, redis: Redis, owner: str, lease: float) -> None:
        self.owner = owner
        self.clock = RedisClock()
        self._redis: Any = redis
        self._lease = int(lease * 1000)
        self._own = _Keys(owner)
        self._beat = self._redis.register_script(_BEAT)
        self._late = self._redis.register_script(_LATE)
        self._claim = self._redis.register_script(_CLAIM)
        self._away = self._redis.register_script(_AWAY)

    # --- what the owner does

    async def beat(self) -> bool:
        """Say that we live; False if our lease had run out: others may have claimed calls of ours."""
        own = self._own
        async with self._redis.pipeline(transaction=False) as pipe:
            pipe.get(own.lease)
            pipe.set(own.lease, b"1", px=self._lease)
            pipe.expire(own.calls, RECORD_SECONDS)
            pipe.expire(own.dialogs, RECORD_SECONDS)
            before = (await pipe.execute())[0]
        seconds, microseconds = await self._beat(keys=[OWNERS], args=[self.owner, self._lease])
        self.clock.heard(int(seconds) + int(microseconds) / 1e6)
        return before is not None

    async def write(self, kept: Sequence[Kept], gone: Sequence[Kept]) -> None:
        """Keep these calls as they are now, and drop those."""
        own = self._own
        async with self._redis.pipeline(transaction=False) as pipe:
            if kept:
                pipe.hset(own.calls, mapping={each.call_id: each.record for each in kept})
                pipe.hset(
                    own.dialogs, mapping={dialog: each.call_id for each in kept for dialog in each.dialogs}
                )
                pipe.expire(own.calls, RECORD_SECONDS)
                pipe.expire(own.dialogs, RECORD_SECONDS)
            if gone:
                pipe.hdel(own.calls, *[each.call_id for each in gone])
                pipe.hdel(own.dialogs, *[dialog for each in gone for dialog in each.dialogs])
            await pipe.execute()

    async def away(self) -> Away:
        """What became of our calls while our lease had run out."""
        own = self._own
        mine, others = await self._away(keys=[own.calls, own.claims, own.taken])
        return Away({each.decode() for each in mine}, {each.decode() for each in others})

    async def drop(self, call_ids: Iterable[str]) -> None:
        """Forget records of ours whose calls are unknown, and all dialogs: what lives is kept anew."""
        ids = list(call_ids)
        async with self._redis.pipeline(transaction=False) as pipe:
            if ids:
                pipe.hdel(self._own.calls, *ids)
            pipe.delete(self._own.dialogs)
            await pipe.execute()

    async def leave(self) -> None:
        """We end in good order, with no call left."""
        own = self._own
        await self._redis.delete(own.lease, own.calls, own.dialogs, own.claims, own.taken)
        await self._redis.zrem(OWNERS, self.owner)

    # --- what others do

    async def late(self) -> list[str]:
        """Owners whose lease has run out, the longest first."""
        found = await self._late(keys=[OWNERS], args=[MAX_LATE, RECORD_SECONDS])
        return [name for each in found if (name := each.decode()) != self.owner]

    async def find(self, dialog: str, owners: Sequence[str]) -> tuple[str, str] | None:
        """Which of these owners has the call of a SIP dialog, and the call's id."""
        if not owners:
            return None
        async with self._redis.pipeline(transaction=False) as pipe:
            for owner in owners:
                pipe.hget(_Keys(owner).dialogs, dialog)
            found = await pipe.execute()
        for owner, call_id in zip(owners, found, strict=True):
            if call_id is not None:
                return owner, call_id.decode()
        return None

    async def claim(
        self, owner: str, limit: int, call_ids: Sequence[str] = (), *, dead: bool = False
    ) -> list[tuple[str, bytes]] | None:
        """Take calls of an owner over, each given to one claimer only: ids and records.

        None if the owner's lease has not run out. An empty list: nothing is left to be claimed.

        limit: how many at most; call_ids: only these.
        dead: it is certain that the owner lives no more, whatever its lease.
        """
        keys = _Keys(owner)
        found = await self._claim(
            keys=[keys.lease, keys.calls, keys.claims],
            args=[b"1" if dead else b"", int(CLAIM_SECONDS * 1000), RECORD_SECONDS, limit, *call_ids],
        )
        if found is None:
            return None
        return [(call_id.decode(), record) for call_id, record in zip(found[::2], found[1::2], strict=True)]

    async def settle(self, owner: str, call_ids: Sequence[str]) -> bool:
        """These are ours now, and written, or are over; True if the owner has none left."""
        keys = _Keys(owner)
        async with self._redis.pipeline(transaction=False) as pipe:
            if call_ids:
                pipe.sadd(keys.taken, *call_ids)  # first, so that it is nowhere for no moment
                pipe.expire(keys.taken, RECORD_SECONDS)
                pipe.hdel(keys.calls, *call_ids)
                pipe.hdel(keys.claims, *call_ids)
            pipe.exists(keys.calls)
            return not (await pipe.execute())[-1]

    async def bury(self, owner: str) -> None:
        """An owner that lives no more has no calls left, and so no dialogs."""
        await self._redis.zrem(OWNERS, owner)
        await self._redis.delete(_Keys(owner).dialogs)


class _Keys:
    """Of one owner."""

    __slots__ = ("calls", "claims", "dialogs", "lease", "taken")

    def __init__(self, owner: str) -> None:
        tag = f"{{vg:{owner}}}"
        self.lease, self.calls, self.dialogs = f"{tag}:lease", f"{tag}:calls", f"{tag}:dialogs"
        self.claims, self.taken = f"{tag}:claims", f"{tag}:taken"
