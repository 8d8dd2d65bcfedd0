"""What is to be rendered, in which order, and when to leave a failing engine alone.

A message is rendered once however often it is asked for; those that a caller waits for go before those that
are only prepared. A message that fails is tried again after a rest that doubles each time. When several
messages have failed and
none succeeded in between, the engine is taken to be down: others are not even tried, except one with each
retry, and all of them as soon as one succeeds. Nobody waits for a rest: who asks meanwhile is told at once
that there is nothing.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from enum import Enum, IntEnum, auto

from gateway.speech.errors import UnspeakableTextError
from gateway.speech.message import RenderedMessage

FIRST_REST = 1.0
LONGEST_REST = 60.0
"""Seconds until a failed message is tried again: after the first failure, and after many."""

DOWN_AFTER = 3
"""Different messages that fail in a row before the engine counts as down; one or two may be their texts'
own fault."""


class Priority(IntEnum):
    """Whose message is rendered first."""

    CALL = 0
    PREPARE = 1


class _State(Enum):
    QUEUED = auto()
    RUNNING = auto()
    RESTING = auto()


@dataclass(slots=True)
class _Job:
    text: str
    priority: Priority
    state: _State = _State.QUEUED
    failures: int = 0
    waiters: list[asyncio.Future[RenderedMessage | None]] = field(default_factory=list)


class RenderQueue:
    """Runs jobs, each known by the key of its message.

    Args:
        load: finds a message that needs no engine, by its key, or returns None.
        render: makes it, from key and text; raises what the engine raises.
        save: called with each message made, after those who wait have it.
        on_error: called with each exception of `render`.
        concurrency: jobs that run at once.

    """

    def __init__(
        self,
        load: Callable[[str], Awaitable[RenderedMessage | None]],
        render: Callable[[str, str], Awaitable[RenderedMessage]],
        save: Callable[[str, RenderedMessage], Awaitable[None]],
        *,
        on_error: Callable[[Exception], None],
        concurrency: int,
    ) -> None:
        self._load = load
        self._render = render
        self._save = save
        self._on_error = on_error
        self._concurrency = concurrency
        self._jobs: dict[str, _Job] = {}
        self._queue: list[tuple[Priority, int, str]] = []
        self._number = itertools.count()
        self._ready = asyncio.Semaphore(0)
        self._failing: set[str] = set()
        self._untried: deque[str] = deque()
        self._retries: dict[str, asyncio.TimerHandle] = {}
        self._workers: list[asyncio.Task[None]] = []
        self._saving = 0

    def __len__(self) -> int:
        """Messages that are not made, or not saved, yet."""
        return len(self._jobs) + self._saving

    def start(self) -> None:
        """Begin to work; jobs may have been queued before."""
        self._workers = [asyncio.create_task(self._work()) for _ in range(self._concurrency)]

    async def close(self) -> None:
        """Stop; all who wait get None."""
        for worker in self._workers:
            worker.cancel()
        await asyncio.gather(*self._workers, return_exceptions=True)
        for retry in self._retries.values():
            retry.cancel()
        for key in tuple(self._jobs):
            _answer(self._jobs.pop(key), None)

    def submit(self, key: str, text: str, priority: Priority) -> None:
        """Queue a message; one that is queued already moves up if this is more urgent."""
        job = self._jobs.get(key)
        if job is None:
            self._jobs[key] = _Job(text, priority)
        elif job.priority <= priority:
            return
        else:
            job.priority = priority
            if job.state is not _State.QUEUED:
                return
        self._push(key, priority)

    async def result(self, key: str, text: str) -> RenderedMessage | None:
        """Queue a message for a caller and wait for it; None if it fails, or is at rest after a failure."""
        self.submit(key, text, Priority.CALL)
        job = self._jobs[key]
        if job.state is _State.RESTING:
            return None
        waiter: asyncio.Future[RenderedMessage | None] = asyncio.get_running_loop().create_future()
        job.waiters.append(waiter)
        return await waiter

    def _push(self, key: str, priority: Priority) -> None:
        heapq.heappush(self._queue, (priority, next(self._number), key))
        self._ready.release()

    async def _work(self) -> None:
        while True:
            await self._ready.acquire()
            _, _, key = heapq.heappop(self._queue)
            job = self._jobs.get(key)
            if job is None or job.state is not _State.QUEUED:
                continue  # an entry from before it moved up
            job.state = _State.RUNNING
            message = await self._load(key)
            if message is None and len(self._failing) >= DOWN_AFTER and not job.failures:
                self._rest(job)
                self._untried.append(key)
                continue
            rendered = None if message else await self._attempt(key, job)
            self._saving += rendered is not None
            if job.state is _State.RUNNING:
                _answer(self._jobs.pop(key), message or rendered)
            if rendered is not None:
                await self._save(key, rendered)
                self._saving -= 1

    async def _attempt(self, key: str, job: _Job) -> RenderedMessage | None:
        try:
            message = await self._render(key, job.text)
        except UnspeakableTextError as error:
            self._on_error(error)
            return None
        except Exception as error:  # whatever an engine raises, the next message gets its turn
            self._on_error(error)
            self._fail(key, job)
            return None
        self._failing.clear()
        while self._untried:
            self._requeue(self._untried.popleft())
        return message

    def _fail(self, key: str, job: _Job) -> None:
        job.failures += 1
        self._failing.add(key)
        self._rest(job)
        rest = min(FIRST_REST * 2 ** (job.failures - 1), LONGEST_REST)
        self._retries[key] = asyncio.get_running_loop().call_later(rest, self._retry, key)

    def _rest(self, job: _Job) -> None:
        job.state = _State.RESTING
        _answer(job, None)

    def _retry(self, key: str) -> None:
        del self._retries[key]
        if self._untried:  # goes first: should all that failed be at fault themselves, this one shows it
            probe = self._untried.popleft()
            self._jobs[probe].failures = 1
            self._requeue(probe)
        self._requeue(key)

    def _requeue(self, key: str) -> None:
        job = self._jobs[key]
        job.state = _State.QUEUED
        self._push(key, job.priority)


def _answer(job: _Job, message: RenderedMessage | None) -> None:
    for waiter in job.waiters:
        if not waiter.done():
            waiter.set_result(message)
    job.waiters.clear()
