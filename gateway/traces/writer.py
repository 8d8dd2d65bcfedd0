"""Brings what was traced to disk, in batches, by a thread."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Final, Generic, TypeVar

from gateway.traces.segments import Entry, Segments, encode

BATCH: Final = 256
"""Entries in one block: of messages some 180 kB, encoded in a fraction of a millisecond."""

WRITE_SECONDS: Final = 0.5
"""After which what is there is written, though it fills no block."""

MAX_WAITING: Final = 10_000
"""Entries that wait for the disk: of messages two seconds at full load, some 10 MB. Later ones are
counted, and not kept."""

Taken = TypeVar("Taken")


class TraceWriter(Generic[Taken]):
    """One file's worth of work at a time.

    Args:
        segments: where it is written, opened by `open`.
        finish: makes an entry of what was taken, on the event loop.
        clean: what must be done to a block of entries before anybody may read it, in a thread.
        on_dropped: told how many entries could not be kept.
        on_error: told what the disk said, the same thing once.

    """

    def __init__(
        self,
        segments: Segments,
        finish: Callable[[Taken], Entry],
        *,
        clean: Callable[[list[Entry], bytes], bytes] = lambda entries, block: block,
        on_dropped: Callable[[int], None] = lambda count: None,
        on_error: Callable[[OSError], None] = lambda error: None,
    ) -> None:
        self._segments = segments
        self._finish = finish
        self._clean = clean
        self._on_dropped = on_dropped
        self._on_error = on_error
        self._waiting: list[Taken] = []
        self._full = asyncio.Event()
        self._writing = asyncio.Lock()
        self._told = ""

    def put(self, taken: Taken) -> None:
        """Take something. Never blocks, never raises."""
        waiting = self._waiting
        if len(waiting) >= MAX_WAITING:
            self._on_dropped(1)
            return
        waiting.append(taken)
        if len(waiting) == BATCH:
            self._full.set()

    async def open(self) -> None:
        """Find what earlier processes left. Raises OSError."""
        await asyncio.to_thread(self._segments.open)

    async def run(self) -> None:
        """Write until cancelled."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(WRITE_SECONDS):
                    await self._full.wait()
            await self.flush()

    async def flush(self) -> None:
        """Write what has come so far. What the disk does not take is dropped, and told."""
        async with self._writing:
            while self._waiting:
                batch, self._waiting = self._waiting[:BATCH], self._waiting[BATCH:]
                try:
                    await asyncio.to_thread(self._write, list(map(self._finish, batch)))
                    self._told = ""
                except OSError as error:
                    self._on_dropped(len(batch))
                    if str(error) != self._told:
                        self._told = str(error)
                        self._on_error(error)
            self._full.clear()

    def _write(self, entries: list[Entry]) -> None:
        block = self._clean(entries, encode(entries))
        self._segments.append(block, entries[0].at, entries[-1].at)
