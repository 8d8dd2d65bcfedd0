"""What is deleted, and what never is. On a directory: `tests/storage` shows that a bucket does the same."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from gateway.recordings.retention import (
    DAY,
    FIRST_SWEEP_SECONDS,
    SWEEP_SECONDS,
    Limits,
    Swept,
    keep_swept,
    sweep,
)
from storage.local import LocalStore
from storage.objects import ObjectInfo, StorageError

NOW = 10 * DAY
"""1970-01-11, midnight."""

OLD, YOUNGER, NEWEST = "1970-01-02/000000-a", "1970-01-08/120000-b-call", "1970-01-10/235959-c"


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[LocalStore]:
    def fill() -> None:
        for name in (OLD, YOUNGER, NEWEST):
            for end, size in (("wav", 1000), ("json", 10)):
                path = tmp_path / f"{name}.{end}"
                path.parent.mkdir(exist_ok=True)
                path.write_bytes(bytes(size))
        (tmp_path / "1970-01-02" / "notes.txt").write_text("of the operator")
        (tmp_path / "important.wav").write_bytes(bytes(10_000))

    await asyncio.to_thread(fill)
    store = LocalStore(tmp_path)
    yield store
    await store.close()


async def left(store: LocalStore) -> set[str]:
    return {info.key.rpartition(".")[0] for info in [info async for info in store.list()]}


OTHERS = {"1970-01-02/notes", "important"}


async def test_without_limits_it_only_counts(store: LocalStore) -> None:
    assert await sweep(store, Limits(), NOW) == Swept(6, 3030, 0, 0)
    assert await left(store) == {OLD, YOUNGER, NEWEST, *OTHERS}


async def test_what_is_too_old_goes(store: LocalStore) -> None:
    assert await sweep(store, Limits(days=7), NOW) == Swept(4, 2020, 2, 0)
    assert await left(store) == {YOUNGER, NEWEST, *OTHERS}


async def test_the_oldest_make_room_for_the_newest(store: LocalStore) -> None:
    assert await sweep(store, Limits(total_bytes=2020), NOW) == Swept(4, 2020, 2, 0)
    assert await left(store) == {YOUNGER, NEWEST, *OTHERS}


async def test_what_may_still_be_going_on_is_never_deleted_for_room(store: LocalStore) -> None:
    swept = await sweep(store, Limits(total_bytes=1), NOW)
    assert swept == Swept(2, 1010, 4, 0)
    assert await left(store) == {NEWEST, *OTHERS}


async def test_one_that_cannot_be_deleted_does_not_stand_in_the_way(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    delete = store.delete

    async def refuse(key: str) -> None:
        if key.startswith(OLD):
            raise StorageError("no")
        await delete(key)

    monkeypatch.setattr(store, "delete", refuse)
    assert await sweep(store, Limits(days=1), NOW) == Swept(4, 2020, 2, 2)
    assert await left(store) == {OLD, NEWEST, *OTHERS}


async def test_a_store_that_is_away_is_looked_at_again_later(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    swept: list[Swept] = []
    pauses: list[float] = []
    looks = 0

    async def pause(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) > 2:
            raise asyncio.CancelledError

    walk = store._walk

    def away(directory: str) -> Iterator[ObjectInfo]:
        nonlocal looks
        looks += 1
        if looks == 1:
            raise OSError(5, "Input/output error")
        yield from walk(directory)

    monkeypatch.setattr(store, "_walk", away)
    monkeypatch.setattr("gateway.recordings.retention.asyncio.sleep", pause)
    with pytest.raises(asyncio.CancelledError):
        await keep_swept(store, Limits(), swept.append, lambda: NOW)
    assert swept == [Swept(6, 3030, 0, 0)]
    assert pauses == [FIRST_SWEEP_SECONDS, SWEEP_SECONDS, SWEEP_SECONDS]
