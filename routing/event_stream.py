"""Events on their way from the gateways to the API: a stream in Redis, shared by a group of consumers.

Keys (with the hash tag of the routing cache):

    {vg}:events                stream   one entry an event, JSON; deleted once it is in the API's store
    {vg}:voicemail-kept:ID     string   the message of this id is in the API's store

Delivery is at least once: an entry is read again until it is acknowledged, by another consumer if the first
one died. A voicemail is offered again by its gateway until the API says that it has it, whatever becomes of
Redis meanwhile; the other events may be lost with a Redis that dies.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from itertools import islice
from typing import Any, Final

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


class EventWriter:
    """Takes events on the call path, and brings them to Redis in the background.

    Args:
        redis: a client with timeouts.
        on_dropped: told how many events were given up, because Redis was away for too long.
        on_error: told what went wrong, in words, the same thing once.

    """

    def __init__(
        self,
        redis: Redis,
        *,
        on_dropped: Callable[[int], None] = lambda count: None,
        on_error: Callable[[str], None] = lambda text: None,
    ) -> None:
        self._redis: Any = redis
        self._on_dropped = on_dropped
        self._on_error = on_error
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
            await self._filled.wait()
            await asyncio.sleep(GATHER_SECONDS)
            try:
                await self.flush()
            except FAILURES as error:
                self._complain(str(error))
                await asyncio.sleep(RETRY_SECONDS)

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
        """Append events now. Raises one of `FAILURES`."""
        async with self._redis.pipeline(transaction=False) as pipe:
            for event in events:
                pipe.xadd(STREAM, {FIELD: encode_event(event)}, maxlen=MAX_STREAM, approximate=True)
            await pipe.execute()

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
