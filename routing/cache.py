"""The routing cache in Redis: what it holds, and the revision log by which every node follows it.

Keys (all with one hash tag, so that Redis Cluster keeps them in one slot and a write is one script):

    {vg}:numbers   hash    E.164 → number, MessagePack
    {vg}:agents    hash    id → agent, MessagePack
    {vg}:log       stream  one entry a change; the entry's id is the revision
    {vg}:meta      hash    revision: of the last change; epoch: which data set this is;
                           place: how far a writer that keeps a log of its own has come, in its own words

A cache without an epoch is being filled, or was flushed: nobody loads it. The writer seals it when it is
complete. A Redis that died may come back with an older copy of the same data set, and reach the same revision
again by other changes: what differs then is the mark of the change, random for each write.

The place moves with the changes that lead there, in one step, and only from where the writer believes it
is: a writer that dies between any two steps finds out where to go on, and two never write over each other.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias, TypeVar

import msgspec
from redis.asyncio import Redis
from redis.exceptions import RedisError

from routing.models import Agent, PhoneNumber

Kind: TypeAlias = Literal["number", "agent"]
Record = TypeVar("Record", PhoneNumber, Agent)

NUMBERS: Final = "{vg}:numbers"
AGENTS: Final = "{vg}:agents"
LOG: Final = "{vg}:log"
META: Final = "{vg}:meta"

LOG_LENGTH: Final = 100_000
"""Changes kept in the log: a node that was away for longer loads everything anew, which takes seconds."""

BATCH: Final = 1_000
"""Changes in one script call: Redis serves nobody else meanwhile, so it must stay around a millisecond or
two."""

SCAN_COUNT: Final = 1_000
"""Entries asked for in one page of a scan: taking one over holds the event loop for a millisecond."""

_WRITE: Final = """
if ARGV[3] ~= '' and redis.call('HGET', KEYS[4], 'place') ~= ARGV[3] then return false end
if redis.call('HEXISTS', KEYS[4], 'revision') == 0 then redis.call('DEL', KEYS[3]) end
for i = 5, #ARGV, 4 do
  local revision = redis.call('HINCRBY', KEYS[4], 'revision', 1)
  local key = ARGV[i] == 'number' and KEYS[1] or KEYS[2]
  if ARGV[i + 2] == '' then redis.call('HDEL', key, ARGV[i + 1])
  else redis.call('HSET', key, ARGV[i + 1], ARGV[i + 2]) end
  redis.call('XADD', KEYS[3], 'MAXLEN', '~', ARGV[1], revision .. '-0', 'kind', ARGV[i],
             'key', ARGV[i + 1], 'value', ARGV[i + 2], 'at', ARGV[i + 3], 'mark', ARGV[2])
end
if ARGV[4] == '' then redis.call('HDEL', KEYS[4], 'place')
else redis.call('HSET', KEYS[4], 'place', ARGV[4]) end
return tonumber(redis.call('HGET', KEYS[4], 'revision') or '0')
"""

_STATE: Final = """
local epoch, revision = unpack(redis.call('HMGET', KEYS[2], 'epoch', 'revision'))
local place = (ARGV[1] ~= '' and ARGV[1] or revision or '0') .. '-0'
local entry, mark = redis.call('XRANGE', KEYS[1], place, place)[1], ''
for i = 1, entry and #entry[2] or 0, 2 do
  if entry[2][i] == 'mark' then mark = entry[2][i + 1] end
end
return {epoch, revision, mark}
"""

_SEAL: Final = """
if tonumber(redis.call('HGET', KEYS[1], 'revision') or '0') < tonumber(ARGV[1]) then return false end
redis.call('HSETNX', KEYS[1], 'epoch', ARGV[2])
return redis.call('HGET', KEYS[1], 'epoch')
"""

_number_decoder: Final = msgspec.msgpack.Decoder(PhoneNumber)
_agent_decoder: Final = msgspec.msgpack.Decoder(Agent)
_encoder: Final = msgspec.msgpack.Encoder()


@dataclass(frozen=True, slots=True)
class Change:
    """One thing that is different now.

    key: E.164 of a number, id of an agent.
    value: as `encode` makes it; None when it is gone.
    accepted_at: seconds since the epoch; None: when it is written.
    """

    kind: Kind
    key: str
    value: bytes | None
    accepted_at: float | None = None


@dataclass(frozen=True, slots=True)
class LoggedChange:
    """A change as the log tells it.

    revision: its place; consecutive.
    mark: of the write that it came with.
    accepted_at: seconds since the epoch, of whoever wrote it.
    """

    revision: int
    mark: str
    change: Change
    accepted_at: float


class PlaceLostError(RedisError):
    """The cache is not where its writer believes it is: it was flushed, is older, or somebody else wrote."""


@dataclass(frozen=True, slots=True)
class State:
    """Where the cache stands.

    epoch: which data set; None: not complete.
    revision: how many changes it has seen.
    mark: of the change at the place that was asked about; empty if the log does not hold it.
    """

    epoch: str | None
    revision: int
    mark: str


def encode(record: PhoneNumber | Agent) -> bytes:
    """A record as it is kept."""
    return _encoder.encode(record)


def decode_number(value: bytes) -> PhoneNumber:
    """A number as it was kept. Raises msgspec.DecodeError."""
    return _number_decoder.decode(value)


def decode_agent(value: bytes) -> Agent:
    """An agent as it was kept. Raises msgspec.DecodeError."""
    return _agent_decoder.decode(value)


class RoutingCache:
    """Reads and writes the cache.

    Every method may raise redis.RedisError or OSError; none waits without bound, given a client with
    timeouts.
    """

    def __init__(self, redis: Redis) -> None:
        self._redis: Any = redis
        self._write = self._redis.register_script(_WRITE)
        self._state = self._redis.register_script(_STATE)
        self._seal = self._redis.register_script(_SEAL)

    async def state(self, place: int | None = None) -> State:
        """Where the cache stands.

        place: the revision whose mark is wanted; the newest, unless given.
        """
        asked = "" if place is None else place
        epoch, revision, mark = await self._state(keys=[LOG, META], args=[asked])
        return State(epoch.decode() if epoch else None, int(revision or 0), mark.decode())

    async def write(self, changes: Iterable[Change], accepted_at: float | None = None) -> int:
        """Apply changes in order, each batch whole or not at all; returns the revision after them.

        The place is lost with it: whoever keeps one has to look again.

        accepted_at: seconds since the epoch, of changes that do not tell; now, unless given.
        """
        pending = list(changes)
        revision = 0
        for start in range(0, len(pending), BATCH):
            revision = await self._apply(pending[start : start + BATCH], accepted_at, "", "")
        return revision if pending else (await self.state()).revision

    async def advance(self, changes: Sequence[Change], expected: str, reached: str) -> int:
        """Apply changes, `BATCH` at most, and move the place with them; returns the revision.

        Raises:
            PlaceLostError: the place is not the expected one; nothing was written.

        """
        revision: int | None = await self._apply(changes, None, expected, reached)
        if revision is None:
            raise PlaceLostError("the routing cache is not where its writer left it")
        return revision

    async def place(self) -> str | None:
        """How far the writer has come, in its own words; None if there is no telling."""
        place: bytes | None = await self._redis.hget(META, "place")
        return place.decode() if place else None

    async def claim(self, place: str) -> None:
        """Set the place, wherever the cache is: whoever believed it elsewhere cannot advance any more."""
        await self._redis.hset(META, "place", place)

    async def _apply(
        self, changes: Sequence[Change], accepted_at: float | None, expected: str, reached: str
    ) -> Any:
        now = time.time() if accepted_at is None else accepted_at
        arguments: list[str | bytes | int] = [LOG_LENGTH, secrets.token_hex(4), expected, reached]
        for change in changes:
            at = now if change.accepted_at is None else change.accepted_at
            arguments += (change.kind, change.key, change.value or b"", f"{at:.3f}")
        return await self._write(keys=[NUMBERS, AGENTS, LOG, META], args=arguments)

    async def seal(self, revision: int = 0) -> str | None:
        """Declare the cache complete, unless it is already; returns its epoch.

        revision: how far it must have come; None is returned if it has not: it was flushed meanwhile.
        """
        epoch: bytes | None = await self._seal(keys=[META], args=[revision, secrets.token_hex(8)])
        return epoch.decode() if epoch else None

    async def number(self, phone_number: str) -> PhoneNumber | None:
        """One number."""
        value = await self._redis.hget(NUMBERS, phone_number)
        return decode_number(value) if value else None

    async def agent(self, agent_id: str) -> bytes | None:
        """One agent, encoded."""
        value: bytes | None = await self._redis.hget(AGENTS, agent_id)
        return value

    async def held(self, kind: Kind, keys: Sequence[str]) -> list[bytes | None]:
        """The encoded records of these keys, in their order; None for those that it does not hold."""
        if not keys:
            return []
        values: list[bytes | None] = await self._redis.hmget(NUMBERS if kind == "number" else AGENTS, keys)
        return values

    async def count(self, kind: Kind) -> int:
        """How many records of a kind it holds."""
        return int(await self._redis.hlen(NUMBERS if kind == "number" else AGENTS))

    async def scan(self, kind: Kind) -> AsyncIterator[dict[bytes, bytes]]:
        """All records of a kind, in pages of keys and encoded values; one may come twice."""
        cursor = 0
        while True:
            cursor, page = await self._redis.hscan(
                NUMBERS if kind == "number" else AGENTS, cursor, count=SCAN_COUNT
            )
            if page:
                yield page
            if cursor == 0:
                return

    async def changes_since(self, revision: int, wait: float) -> Sequence[LoggedChange]:
        """Changes after a revision, oldest first; waits so many seconds for the first one."""
        answer = await self._redis.xread({LOG: f"{revision}-0"}, count=BATCH, block=max(1, int(wait * 1000)))
        if not answer:
            return ()
        streams = answer.values() if isinstance(answer, dict) else (entry[1] for entry in answer)
        return [_logged(*entry) for stream in streams for entry in _entries(stream)]


def _entries(stream: Any) -> Any:
    """RESP3 nests the entries of a stream in one more list than RESP2."""
    return stream[0] if stream and isinstance(stream[0], list) else stream


def _logged(entry_id: bytes, fields: dict[bytes, bytes]) -> LoggedChange:
    kind: Kind = "number" if fields[b"kind"] == b"number" else "agent"
    change = Change(kind, fields[b"key"].decode(), fields[b"value"] or None)
    mark = fields.get(b"mark", b"").decode()
    return LoggedChange(int(entry_id.partition(b"-")[0]), mark, change, float(fields[b"at"]))
