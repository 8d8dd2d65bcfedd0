"""Events on their way from the gateways to the API: a stream in Redis, shared by a group of consumers.

Keys (with the hash tag of the routing cache):

    {vg}:events                stream   one entry an event, JSON; deleted once it is in the API's store
    {vg}:events-of:WRITER      string   number of the last batch that this process wrote; expires
    {vg}:voicemail-kept:ID     string   the message of this id is in the API's store

Delivery is at least once: an entry is read again until it is acknowledged, by another consumer if the first
one died. A voicemail is offered again by its gateway until the API says that it has it, whatever becomes of
Redis meanwhile. Of the others a gateway keeps the newest for a minute: a Redis that does not know its last
batch has failed over to a replica that lacked it, or was the primary of nobody for a while, and gets them
again; whoever takes events knows them by their ids.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections import deque
from collections.abc import Callable, Sequence
from itertools import islice
from typing import Any, Final, NamedTuple

import msgspec
from redis.asyncio import Redis
from redis.exceptions import RedisError, ResponseError

from routing.call_events import Event, decode_event, encode_event

STREAM: Final = "{vg}:events"
KEPT: Final = "{vg}:voicemail-kept:"

GROUP: Final = b"api"
FIELD: Final = b"event"

MAX_STREAM: Final = 100_000
"""Events kept for an API that is away: half a day at a call a second, some 50 MB."""

MAX_WAITING: Final = 10_000
"""Events kept in a gateway for a Redis that is away; then the oldest go, and are counted."""

MAX_REMEMBERED: Final = 5_000
"""Events that are kept after they were written: 10 MB, a quarter of a minute at a hundred calls a second."""

REMEMBERED_SECONDS: Final = 60.0
"""For which they are: longer than Sentinels take to name a primary and to demote the one before."""

WRITER: Final = "{vg}:events-of:"

WRITER_SECONDS: Final = 3600
"""That Redis knows a writer that writes nothing."""

CHECK_SECONDS: Final = 5.0
"""Between looks, while nothing is to be written, whether Redis still has what it was given."""

BATCH: Final = 200
"""Events in one command, or in one transaction of the API's store."""

GATHER_SECONDS: Final = 0.05
"""After the first event: those of a busy gateway go to Redis twenty times a second, not one by one."""

RETRY_SECONDS: Final = 1.0
"""Before Redis is asked again after it failed."""

READ_WAIT: Final = 1.0
"""Seconds that reading waits for the first event."""

ABANDONED_SECONDS: Final = 60.0
"""After which an event that a consumer has read and not acknowledged is another's: far longer than any
transaction takes."""

KEPT_SECONDS: Final = 7 * 24 * 3600
"""That Redis remembers that a voicemail arrived; its gateway asks within a minute."""

FAILURES: Final = (RedisError, OSError, TimeoutError)
"""What Redis may raise."""


class _Batch(NamedTuple):
    """What was written at once. at: by our monotonic clock."""

    at: float
    number: int
    events: Sequence[Event]


class EventWriter:
    """Takes events on the call path, and brings them to Redis in the background.

    Args:
        redis: a client with timeouts.
        on_dropped: told how many events were given up, because Redis was away for too long.
        on_error: told what went wrong, in words, the same thing once.
        on_again: told how many events Redis had lost, and has again.
        clock: seconds, monotonic.

    """

    def __init__(
        self,
        redis: Redis,
        *,
        on_dropped: Callable[[int], None] = lambda count: None,
        on_error: Callable[[str], None] = lambda text: None,
        on_again: Callable[[int], None] = lambda count: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._redis: Any = redis
        self._on_dropped = on_dropped
        self._on_error = on_error
        self._on_again = on_again
        self._clock = clock
        self._key = WRITER + secrets.token_hex(8)
        self._number = 0
        self._writing = asyncio.Lock()
        self._remembered: deque[_Batch] = deque()
        self._lost: deque[_Batch] = deque()
        self._waiting: deque[Event] = deque()
        self._filled = asyncio.Event()
        self._told = ""

    def put(self, event: Event) -> None:
        """Take an event. Never blocks, never raises."""
        if len(self._waiting) >= MAX_WAITING:
            self._waiting.popleft()
            self._on_dropped(1)
        self._waiting.append(event)
        self._filled.set()

    async def run(self) -> None:
        """Write until cancelled."""
        while True:
            filled = await self._something()
            if filled:
                await asyncio.sleep(GATHER_SECONDS)
            try:
                await (self.flush() if filled else self.write(()))
            except FAILURES as error:
                self._complain(str(error))
                await asyncio.sleep(RETRY_SECONDS)

    async def _something(self) -> bool:
        """Wait for events, or until it is time to look whether Redis has those before; tells which."""
        try:
            async with asyncio.timeout(CHECK_SECONDS if self._remembered else None):
                return await self._filled.wait()
        except TimeoutError:
            return False

    async def flush(self) -> None:
        """Write what is waiting. Raises one of `FAILURES`."""
        while self._waiting:
            batch = list(islice(self._waiting, BATCH))
            await self.write(batch)
            written = set(map(id, batch))
            while self._waiting and id(self._waiting[0]) in written:  # put() may have dropped some of them
                self._waiting.popleft()
            self._told = ""
        self._filled.clear()

    async def write(self, events: Sequence[Event]) -> None:
        """Append events now, and once more what Redis has lost. Raises one of `FAILURES`."""
        async with self._writing:
            await self._append(events)
            again = sum(len(batch.events) for batch in self._lost)
            while self._lost:
                await self._append(self._lost[0].events)
                self._lost.popleft()
            if again:
                self._on_again(again)

    async def _append(self, events: Sequence[Event]) -> None:
        async with self._redis.pipeline(transaction=False) as pipe:
            pipe.get(self._key)
            for event in events:
                pipe.xadd(STREAM, {FIELD: encode_event(event)}, maxlen=MAX_STREAM, approximate=True)
            pipe.set(self._key, self._number + 1, ex=WRITER_SECONDS)
            known = int((await pipe.execute())[0] or 0)
        self._number += 1
        while self._remembered and self._remembered[-1].number > known:
            self._lost.appendleft(self._remembered.pop())
        if events:
            self._remembered.append(_Batch(self._clock(), self._number, events))
        self._forget()

    def _forget(self) -> None:
        """Keep no more than may be lost yet."""
        count = sum(len(batch.events) for batch in self._remembered)
        long_ago = self._clock() - REMEMBERED_SECONDS
        while self._remembered and (count > MAX_REMEMBERED or self._remembered[0].at < long_ago):
            count -= len(self._remembered.popleft().events)

    async def kept(self, voicemail_ids: Sequence[str]) -> set[str]:
        """Which of these voicemails the API has in its store. Raises one of `FAILURES`."""
        if not voicemail_ids:
            return set()
        values = await self._redis.mget([KEPT + each for each in voicemail_ids])
        return {each for each, value in zip(voicemail_ids, values, strict=True) if value is not None}

    def _complain(self, text: str) -> None:
        if text != self._told:
            self._told = text
            self._on_error(text)


class EventReader:
    """One consumer of the group.

    Every method raises one of `FAILURES`; none waits without bound, given a client with timeouts.

    Args:
        redis: a client whose timeout is longer than `READ_WAIT`.
        consumer: a name of its own.

    """

    def __init__(self, redis: Redis, consumer: str) -> None:
        self._redis: Any = redis
        self._consumer = consumer
        self._ready = False
        self._look_for_abandoned = True

    async def read(self) -> list[tuple[bytes, Event | None]]:
        """The next entries with their events, None for what is no event; empty if there was none for a while.

        What consumers that died have left comes first.
        """
        try:
            await self._prepare()
            entries = await self._abandoned() if self._look_for_abandoned else []
            if not entries:
                answer = await self._redis.xreadgroup(
                    GROUP, self._consumer, {STREAM: ">"}, count=BATCH, block=int(READ_WAIT * 1000)
                )
                entries = answer[0][1] if answer else []
                self._look_for_abandoned = not entries  # a quiet moment
        except ResponseError as error:
            if not str(error).startswith("NOGROUP"):
                raise
            self._ready = False  # Redis was flushed, or came back without it
            return []
        return [(entry_id, _decoded(fields)) for entry_id, fields in entries]

    async def done(self, entry_ids: Sequence[bytes], voicemail_ids: Sequence[str]) -> None:
        """These entries and voicemails are in the store."""
        async with self._redis.pipeline(transaction=False) as pipe:
            for voicemail_id in voicemail_ids:
                pipe.set(KEPT + voicemail_id, b"1", ex=KEPT_SECONDS)
            pipe.xack(STREAM, GROUP, *entry_ids)
            pipe.xdel(STREAM, *entry_ids)
            await pipe.execute()

    async def _prepare(self) -> None:
        if self._ready:
            return
        try:
            await self._redis.xgroup_create(STREAM, GROUP, id="0", mkstream=True)
        except ResponseError as error:
            if not str(error).startswith("BUSYGROUP"):
                raise
        self._ready = True

    async def _abandoned(self) -> list[Any]:
        answer = await self._redis.xautoclaim(
            STREAM, GROUP, self._consumer, min_idle_time=int(ABANDONED_SECONDS * 1000), count=BATCH
        )
        return [entry for entry in answer[1] if entry[1] is not None]


def _decoded(fields: dict[bytes, bytes]) -> Event | None:
    try:
        return decode_event(fields[FIELD])
    except (KeyError, msgspec.DecodeError):
        return None
