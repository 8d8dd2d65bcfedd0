"""Brings what was traced to disk, in batches, by a thread."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Final, Generic, TypeVar

from gateway.traces.segments import Block, Entry, Segments, encode

BATCH: Final = 256
"""Entries in one block: of messages some 180 kB, encoded in a fraction of a millisecond."""

ROUND: Final = 2_048
"""Entries for which a thread is sent to the disk before its time: to begin one and to open a file costs as
much as to write a block."""

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
        finish: makes an entry of what was taken, in a thread, one at a time.
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
        if len(waiting) >= ROUND:
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
        """Write what has come so far. What the disk does not take is dropped, and told.

        What comes meanwhile waits for the next time: on a busy gateway there is always something.
        """
        async with self._writing:
            self._full.clear()
            taken, self._waiting = self._waiting, []
            if not taken:
                return
            try:
                await asyncio.to_thread(self._write, taken)
                self._told = ""
            except OSError as error:
                self._on_dropped(len(taken))
                if str(error) != self._told:
                    self._told = str(error)
                    self._on_error(error)

    def _write(self, taken: list[Taken]) -> None:
        blocks = [self._block(taken[at : at + BATCH]) for at in range(0, len(taken), BATCH)]
        self._segments.append(blocks)

    def _block(self, taken: list[Taken]) -> Block:
        entries = list(map(self._finish, taken))
        return Block(self._clean(entries, encode(entries)), entries[0].at, entries[-1].at)
