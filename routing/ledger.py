"""The ledger of places in Redis: how many calls each gateway has at an endpoint that takes only so many.

Keys, with a hash tag for each endpoint, so that Redis Cluster spreads endpoints and keeps each of them whole:

    {vg:ENDPOINT}:calls   hash         total; n:OWNER places, s:OWNER number of the last claim
    {vg:ENDPOINT}:owners  sorted set   owner → when its claim runs out, milliseconds of Redis's clock

Whoever comes first after a claim ran out takes it off. Nothing else ends it: no gateway's clock matters.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import Any, Final

from redis.asyncio import Redis

from routing.share import LIFETIME, Claim

MAX_SWEPT: Final = 100
"""Claims that have run out and are taken off in one step: the others are when somebody comes next."""

_CLAIM: Final = """
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local function at(offset) return string.format('%.0f', now + offset) end
local calls, owners, owner = KEYS[1], KEYS[2], ARGV[1]
local number, held, wanted = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local limit, lifetime = tonumber(ARGV[5]), tonumber(ARGV[6])
for _, gone in ipairs(redis.call('ZRANGEBYSCORE', owners, '-inf', at(0), 'LIMIT', 0, ARGV[7])) do
  redis.call('HINCRBY', calls, 'total', -(redis.call('HGET', calls, 'n:' .. gone) or 0))
  redis.call('HDEL', calls, 'n:' .. gone, 's:' .. gone)
  redis.call('ZREM', owners, gone)
end
local told = redis.call('HMGET', calls, 'n:' .. owner, 's:' .. owner, 'total')
local mine, last, total = tonumber(told[1] or '0'), tonumber(told[2] or '0'), tonumber(told[3] or '0')
if number <= last then return {mine, total} end
local granted = math.max(held, math.min(wanted, limit - (total - mine)))
total = total - mine + granted
redis.call('HSET', calls, 'n:' .. owner, granted, 's:' .. owner, number, 'total', total)
redis.call('ZADD', owners, at(lifetime), owner)
redis.call('PEXPIRE', calls, 2 * lifetime)
redis.call('PEXPIRE', owners, 2 * lifetime)
return {granted, total}
"""


def endpoint_tag(agent_id: str, url: str) -> str:
    """Of an endpoint, in its keys: a URL may hold a password, and braces."""
    return blake2b(f"{agent_id}\0{url}".encode(), digest_size=8).hexdigest()


class Ledger:
    """Asks the ledger, as one owner.

    Args:
        redis: a client with timeouts; every method may raise redis.RedisError or OSError.
        owner: what tells this process from every other, and from those that had its name before.

    """

    def __init__(self, redis: Redis, owner: str) -> None:
        self._owner = owner
        client: Any = redis
        self._claim = client.register_script(_CLAIM)

    async def claim(self, tag: str, claim: Claim) -> tuple[int, int]:
        """Make a claim on an endpoint; returns places that are ours now, and everybody's."""
        granted, total = await self._claim(
            keys=[f"{{vg:{tag}}}:calls", f"{{vg:{tag}}}:owners"],
            args=[
                *(self._owner, claim.number, claim.held, claim.wanted, claim.limit),
                *(int(LIFETIME * 1000), MAX_SWEPT),
            ],
        )
        return granted, total
