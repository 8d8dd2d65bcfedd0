"""Deleting recordings whose time is over, or that take too much room: the oldest first, and only ours."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Final

import structlog

from gateway.recordings.names import recorded_at
from storage.objects import ObjectInfo, ObjectStore, StorageError

DAY: Final = 86_400.0

SWEEP_SECONDS: Final = 3_600.0
"""Between two looks through the store."""

FIRST_SWEEP_SECONDS: Final = 60.0
"""After the start, when there is other work."""

YOUNG_SECONDS: Final = 6 * 3_600.0
"""What is younger is not deleted for want of room: its call may still go on, or the store not have it yet."""

log = structlog.get_logger("recordings")


@dataclass(frozen=True, slots=True)
class Limits:
    """How long recordings are kept, and how much of them.

    days: 0 for ever; total_bytes: 0 without limit.
    """

    days: float = 0.0
    total_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Swept:
    """What one look found and did.

    files, total_bytes: of ours, that are left; deleted: files; failed: deletions that the store refused.
    """

    files: int
    total_bytes: int
    deleted: int
    failed: int


async def sweep(store: ObjectStore, limits: Limits, now: float) -> Swept:
    """Look through the store once, and delete. Keys are dates, so the list has the oldest first.

    now: seconds since the epoch.

    Raises:
        StorageError: the store cannot be listed.

    """
    files = total = deleted = failed = 0
    async for info, _ in _ours(store):
        files += 1
        total += info.size
    if limits.days or limits.total_bytes:
        async for info, began in _ours(store):
            expired = bool(limits.days) and now - began > limits.days * DAY
            too_much = 0 < limits.total_bytes < total and now - began > YOUNG_SECONDS
            if not expired and not too_much:
                break  # what comes now is younger still
            try:
                await store.delete(info.key)
            except StorageError as error:
                failed += 1
                log.warning("recording not deleted", key=info.key, error=str(error))
                continue
            deleted += 1
            files -= 1
            total -= info.size
    if 0 < limits.total_bytes < total:
        log.warning("recordings take more room than allowed", bytes=total, key="recording.max_total_bytes")
    return Swept(files, total, deleted, failed)


async def keep_swept(
    store: ObjectStore,
    limits: Limits,
    on_swept: Callable[[Swept], None],
    wall_clock: Callable[[], float] = time.time,
) -> None:
    """Sweep for ever; cancel it."""
    pause = FIRST_SWEEP_SECONDS
    while True:
        await asyncio.sleep(pause)
        pause = SWEEP_SECONDS
        try:
            on_swept(await sweep(store, limits, wall_clock()))
        except StorageError as error:
            log.warning("recordings not looked through", error=str(error), place=store.place)


async def _ours(store: ObjectStore) -> AsyncIterator[tuple[ObjectInfo, float]]:
    """Recordings and their records, with the time when each began."""
    async for info in store.list():
        began = recorded_at(info.key)
        if began is not None:
            yield info, began
