"""Brings the cache up to date from the numbers file: only what differs is written, so the log stays short."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias

from redis.exceptions import RedisError

from routing.cache import Change, Kind, RoutingCache, State, encode
from routing.numbers_file import NumbersFileError, Routes, load

Records: TypeAlias = dict[tuple[Kind, str], bytes]
"""Encoded records by kind and key."""

RELOAD_SECONDS: Final = 1.0


class CacheLostError(RedisError):
    """What was written is not all there; it has to be written again."""


@dataclass(frozen=True, slots=True)
class Synced:
    """What one synchronisation did."""

    numbers: int
    agents: int
    written: int
    removed: int


class FileSync:
    """Writes a file's routes into the cache, again whenever the file or the cache is not what it was.

    Args:
        path: the numbers file.
        cache: written to.
        on_synced: told after each time something was looked at because of a change.
        on_error: told in words when the file cannot be used or the cache not be written; the old routes stay.

    """

    def __init__(
        self,
        path: Path,
        cache: RoutingCache,
        *,
        on_synced: Callable[[Synced], None] = lambda synced: None,
        on_error: Callable[[str], None] = lambda text: None,
    ) -> None:
        self._path = path
        self._cache = cache
        self._on_synced = on_synced
        self._on_error = on_error
        self._routes: Routes | None = None
        self._left: State | None = None
        self._seen: tuple[int, int] | None = None
        self._complaint = ""
        self._one_at_a_time = asyncio.Lock()

    async def reload(self) -> Synced:
        """Read the file and bring the cache to what it says.

        Raises:
            NumbersFileError: the file cannot be used; nothing was written.
            CacheLostError: Redis was flushed meanwhile; `watch` writes again.
            redis.RedisError, OSError: the cache cannot be written.

        """
        async with self._one_at_a_time:
            self._seen = await asyncio.to_thread(_fingerprint, self._path)
            self._routes = await asyncio.to_thread(load, self._path)
            synced = await self._write(self._routes)
        self._on_synced(synced)
        return synced

    async def watch(self, interval: float = RELOAD_SECONDS) -> None:
        """Reload whenever the file changes, and when the cache lost what was written to it."""
        while True:
            await asyncio.sleep(interval)
            try:
                if await asyncio.to_thread(_fingerprint, self._path) != self._seen:
                    await self.reload()
                elif self._routes is not None and await self._is_lost():
                    await self._repair(self._routes)
            except (NumbersFileError, RedisError, OSError, TimeoutError) as error:
                self.complain(error)

    def complain(self, error: Exception) -> None:
        """Report an error, the same one only once."""
        text = str(error) or type(error).__name__
        if text != self._complaint:
            self._complaint = text
            self._on_error(text)

    async def _is_lost(self) -> bool:
        """Whether the cache is not the one we wrote to, or an older copy of it.

        A higher revision is another writer's work: two nodes whose files differ for a moment must not
        overwrite each other in turn.
        """
        left = self._left
        state = await self._cache.state(left.revision if left else None)
        if left is None or state.epoch != left.epoch or state.revision < left.revision:
            return True
        return bool(state.mark) and state.mark != left.mark  # no mark: long ago, and trimmed from the log

    async def _repair(self, routes: Routes) -> None:
        """Write again what the file said when it was last good."""
        async with self._one_at_a_time:
            synced = await self._write(routes)
        self._on_synced(synced)

    async def _write(self, routes: Routes) -> Synced:
        wanted: Records = {("agent", agent.id): encode(agent) for agent in routes.agents}
        wanted |= {("number", number.phone_number): encode(number) for number in routes.numbers}
        self._left = None  # if Redis goes away half-way, the watch writes again
        before = await self._cache.state()
        changes = differences(await self._held(), wanted)
        await self._cache.write(changes)
        epoch = await self._cache.seal(before.revision + len(changes))
        if epoch is None or before.epoch not in (None, epoch):
            raise CacheLostError("the routing cache was emptied while it was written")
        self._left = await self._cache.state()
        self._complaint = ""
        removed = sum(change.value is None for change in changes)
        return Synced(len(routes.numbers), len(routes.agents), len(changes) - removed, removed)

    async def _held(self) -> Records:
        held: Records = {}
        kinds: tuple[Kind, ...] = ("agent", "number")
        for kind in kinds:
            async for page in self._cache.scan(kind):
                for key, value in page.items():
                    held[kind, key.decode()] = value
        return held


def differences(held: Records, wanted: Records) -> list[Change]:
    """The fewest changes that turn what is held into what is wanted.

    Calls may meet any state in between: agents come before the numbers that name them, and go after them.
    """
    changed = [key for key, value in wanted.items() if held.get(key) != value]
    changed.sort(key=_is_number)
    gone = sorted(held.keys() - wanted.keys(), key=_is_number, reverse=True)
    return [Change(*key, wanted.get(key)) for key in (*changed, *gone)]


def _is_number(key: tuple[Kind, str]) -> bool:
    return key[0] == "number"


def _fingerprint(path: Path) -> tuple[int, int] | None:
    """What changes when the file does; None while there is no file."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size
