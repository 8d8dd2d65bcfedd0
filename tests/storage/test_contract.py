"""What every store does alike."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from storage.objects import InvalidKey, InvalidRange, ObjectNotFound, ObjectStore

KEY = "2026-11-27/101500-call.wav"


DATA = random.Random(1).randbytes(700_000)
"""Three pieces, the last not whole."""


@pytest.fixture
def source(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "source.wav"
    path.write_bytes(DATA)
    yield path
    assert path.read_bytes() == DATA, "a store took or changed its source"


async def read(store: ObjectStore, key: str, start: int = 0, end: int | None = None) -> bytes:
    return b"".join([piece async for piece in store.read(key, start, end)])


async def test_what_is_put_can_be_read_whole_and_in_part(store: ObjectStore, source: Path) -> None:
    info = await store.put(KEY, source)
    assert (info.key, info.size, info.content_type) == (KEY, len(DATA), "audio/wav")
    assert abs(info.modified_at - time.time()) < 3600
    assert await read(store, KEY) == DATA
    assert await read(store, KEY, 10, 20) == DATA[10:20]
    assert await read(store, KEY, 262_143, 262_145) == DATA[262_143:262_145]
    assert await read(store, KEY, len(DATA) - 5) == DATA[-5:]
    assert await read(store, KEY, len(DATA) - 5, 10**9) == DATA[-5:]


async def test_head_and_list_tell_the_same(store: ObjectStore, source: Path) -> None:
    put = await store.put(KEY, source)
    assert await store.head(KEY) == put
    (listed,) = [info async for info in store.list()]
    assert (listed.key, listed.size, listed.etag) == (put.key, put.size, put.etag)


async def test_other_bytes_have_another_etag(store: ObjectStore, source: Path, tmp_path: Path) -> None:
    first = await store.put(KEY, source)
    other = tmp_path / "other.wav"
    other.write_bytes(b"other")
    second = await store.put(KEY, other)
    assert first.etag != second.etag
    assert first.etag.startswith('"')
    assert await read(store, KEY) == b"other"


@pytest.mark.parametrize(("start", "end"), [(700_000, None), (-1, None), (10, 10), (20, 10)])
async def test_ranges_outside_are_told(store: ObjectStore, source: Path, start: int, end: int | None) -> None:
    await store.put(KEY, source)
    with pytest.raises(InvalidRange) as told:
        await read(store, KEY, start, end)
    assert told.value.size == 700_000


async def test_an_empty_object(store: ObjectStore, tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    assert (await store.put(KEY, tmp_path / "empty")).size == 0
    assert await read(store, KEY) == b""


async def test_what_is_not_there_is_told(store: ObjectStore) -> None:
    with pytest.raises(ObjectNotFound):
        await store.head(KEY)
    with pytest.raises(ObjectNotFound):
        await read(store, KEY)
    await store.delete(KEY)
    assert [info async for info in store.list()] == []
    assert [info async for info in store.list("2026-11-27")] == []


async def test_deleting_twice_is_no_error(store: ObjectStore, source: Path) -> None:
    await store.put(KEY, source)
    await store.delete(KEY)
    await store.delete(KEY)
    with pytest.raises(ObjectNotFound):
        await store.head(KEY)


async def test_lists_are_by_key_and_by_directory(store: ObjectStore, tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"x")
    keys = ["2026-11-26/a.json", "2026-11-26/a.wav", "2026-11-27-b/c.wav", "2026-11-27/b.wav", "z.wav"]
    for key in reversed(keys):
        await store.put(key, tmp_path / "x")
    assert [info.key async for info in store.list()] == keys
    assert [info.key async for info in store.list("2026-11-27")] == ["2026-11-27/b.wav"]


@pytest.mark.parametrize(
    "key",
    ["", "/etc/passwd", "../x", "a/../b", "a//b", "a/", ".hidden", "a/.b", "a\0b", "a\\b", "ä", "x" * 600],
)
async def test_keys_lead_nowhere_else(store: ObjectStore, source: Path, key: str) -> None:
    with pytest.raises(InvalidKey):
        await store.put(key, source)
    with pytest.raises(InvalidKey):
        await store.head(key)
    with pytest.raises(InvalidKey):
        await store.delete(key)
    with pytest.raises(InvalidKey):
        await read(store, key)


async def test_a_reader_may_leave_in_the_middle(store: ObjectStore, source: Path) -> None:
    await store.put(KEY, source)
    pieces = store.read(KEY)
    assert await anext(pieces)
    await pieces.aclose()  # type: ignore[attr-defined]  # an iterator to the outside, a generator within
    await store.delete(KEY)
