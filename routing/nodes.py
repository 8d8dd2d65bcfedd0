"""Which gateways there are: each says every other second that it lives, and how it fares.

Keys (with the hash tag of the routing cache, whose revision is told with them):

    {vg}:nodes        sorted set   node → when it counts as gone: milliseconds of Redis's clock
    {vg}:node-words   hash         node → what it last said of itself, JSON

Only Redis's clock decides who is gone: nodes' own clocks may differ by minutes, and it does not matter. A
node that ends in good order takes itself off; one that does not is shown as gone for a while, so that
somebody notices.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final, Literal

import msgspec
from msgspec import Struct
from redis.asyncio import Redis

from routing.cache import META

NODES: Final = "{vg}:nodes"
WORDS: Final = "{vg}:node-words"

GONE_AFTER: Final = 6.0
"""Seconds without a word after which a node counts as gone: three beats, since one may be lost."""

SHOWN_GONE: Final = 900.0
"""Seconds for which a node that is gone is still shown: longer than any alert waits."""

MAX_NODES: Final = 20_000
"""Nodes that are listed: some 6 MB, read in one step."""

_BEAT: Final = """
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local function at(offset) return string.format('%.0f', now + offset) end
redis.call('ZADD', KEYS[1], at(ARGV[3]), ARGV[1])
redis.call('HSET', KEYS[2], ARGV[1], ARGV[2])
for _, name in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', at(-ARGV[4]), 'LIMIT', 0, 100)) do
  redis.call('ZREM', KEYS[1], name)
  redis.call('HDEL', KEYS[2], name)
end
local up = redis.call('ZCOUNT', KEYS[1], '(' .. at(0), '+inf')
local epoch, revision = unpack(redis.call('HMGET', KEYS[3], 'epoch', 'revision'))
return {up, redis.call('ZCARD', KEYS[1]) - up, epoch or '', tonumber(revision or '0'), clock}
"""

_LEAVE: Final = """
redis.call('ZREM', KEYS[1], ARGV[1])
redis.call('HDEL', KEYS[2], ARGV[1])
"""

_LIST: Final = """
local clock = redis.call('TIME')
local listed = redis.call('ZREVRANGE', KEYS[1], 0, ARGV[1] - 1, 'WITHSCORES')
local words = {}
for i = 1, #listed, 2 do words[#words + 1] = redis.call('HGET', KEYS[2], listed[i]) or '' end
local epoch, revision = unpack(redis.call('HMGET', KEYS[3], 'epoch', 'revision'))
return {clock, listed, words, epoch or '', tonumber(revision or '0')}
"""


class NodeWords(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a node says of itself.

    incarnation: another one at each start; version: of the program.
    started_at: seconds since the epoch, by its own clock.
    address: where carriers reach it; region: as configured, may be empty.
    calls: in progress; draining: it takes no new ones.
    epoch, revision: of the routes that it serves by; sync_age: seconds since it knew that they were current,
        None if it never did.
    """

    incarnation: str
    version: str
    started_at: float
    address: str = ""
    region: str = ""
    calls: int = 0
    draining: bool = False
    epoch: str = ""
    revision: int = 0
    sync_age: float | None = None


class NodeShown(Struct, frozen=True, kw_only=True):
    """A node as it is shown.

    name: what tells it from others; state: `up`, `draining`, or `gone`: it has not been heard of, and has not
        said goodbye.
    last_seen: seconds since its last word, by Redis's clock.
    version, started_at, address, region, calls: as it last said; `started_at` in seconds since the epoch.
    revision: of the routes that it serves by; behind: how many changes it lacks, null if it serves by another
        data set than there is now.
    sync_age: seconds for which its routes may have been out of date when it last spoke; null: it never knew.
    """

    name: str
    state: Literal["up", "draining", "gone"]
    last_seen: float
    version: str
    started_at: float
    address: str
    region: str
    calls: int
    revision: int
    behind: int | None
    sync_age: float | None
    incarnation: str


@dataclass(frozen=True, slots=True)
class Neighbours:
    """What a node learns in answer to its word.

    up: nodes that live, itself among them; gone: those that ended without a goodbye, lately.
    epoch, revision: of the routes in Redis; the epoch is empty while they are not complete.
    clock: Redis's, seconds since the epoch.
    """

    up: int
    gone: int
    epoch: str
    revision: int
    clock: float = field(default=0.0, compare=False)


class NodeRegistry:
    """The list of nodes. Every method may raise redis.RedisError or OSError.

    Args:
        redis: a client with timeouts.

    """

    def __init__(self, redis: Redis) -> None:
        client: Any = redis
        self._beat = client.register_script(_BEAT)
        self._leave = client.register_script(_LEAVE)
        self._list = client.register_script(_LIST)

    async def beat(self, name: str, words: NodeWords) -> Neighbours:
        """Say that a node lives."""
        lifetime, shown = (int(seconds * 1000) for seconds in (GONE_AFTER, SHOWN_GONE))
        up, gone, epoch, revision, clock = await self._beat(
            keys=[NODES, WORDS, META], args=[name, _encoder.encode(words), lifetime, shown]
        )
        return Neighbours(up, gone, epoch.decode(), revision, int(clock[0]) + int(clock[1]) / 1e6)

    async def leave(self, name: str) -> None:
        """Say goodbye."""
        await self._leave(keys=[NODES, WORDS], args=[name])

    async def nodes(self) -> list[NodeShown]:
        """All that there are, by name; those that are gone among them for a while."""
        clock, listed, words, epoch, revision = await self._list(keys=[NODES, WORDS, META], args=[MAX_NODES])
        now = int(clock[0]) + int(clock[1]) / 1e6
        shown = [
            _shown(name, said, now - (int(until) / 1000 - GONE_AFTER), epoch.decode(), revision)
            for name, until, said in zip(listed[::2], listed[1::2], words, strict=True)
        ]
        return sorted(shown, key=lambda node: node.name)

    async def living(self) -> set[tuple[str, str]]:
        """Name and incarnation of every node that is not gone: what belongs to any other is nobody's."""
        return {(node.name, node.incarnation) for node in await self.nodes() if node.state != "gone"}


_encoder: Final = msgspec.json.Encoder()
_decoder: Final = msgspec.json.Decoder(NodeWords)
_SILENT: Final = NodeWords(incarnation="", version="", started_at=0.0)
"""What is shown of a node whose words cannot be read: a newer version's."""


def _shown(name: bytes, said: bytes, last_seen: float, epoch: str, revision: int) -> NodeShown:
    try:
        words = _decoder.decode(said)
    except msgspec.DecodeError:
        words = _SILENT
    gone = last_seen >= GONE_AFTER
    return NodeShown(
        name=name.decode(errors="replace"),
        state="gone" if gone else "draining" if words.draining else "up",
        last_seen=round(max(0.0, last_seen), 3),
        version=words.version,
        started_at=words.started_at,
        address=words.address,
        region=words.region,
        calls=words.calls,
        revision=words.revision,
        behind=max(0, revision - words.revision) if epoch and words.epoch == epoch else None,
        sync_age=words.sync_age,
        incarnation=words.incarnation,
    )
