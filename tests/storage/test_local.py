"""Files below a directory."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

import storage.local
from storage.local import LocalStore
from storage.objects import InvalidKey, ObjectNotFound, StorageError


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


async def test_a_file_in_its_place_is_kept_there(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    path = tmp_path / "day" / "a.wav"
    path.parent.mkdir()
    path.write_bytes(b"audio")
    before = path.stat()
    assert (await store.put("day/a.wav", path)).size == 5
    assert path.stat() == before
    assert names(path.parent) == ["a.wav"]
    await store.close()


async def test_without_links_it_is_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Path, target: Path) -> None:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(Path, "hardlink_to", refuse)
    store = LocalStore(tmp_path / "store")
    (tmp_path / "a.wav").write_bytes(b"audio")
    await store.put("a.wav", tmp_path / "a.wav")
    assert (tmp_path / "store" / "a.wav").read_bytes() == b"audio"
    assert names(tmp_path / "store") == ["a.wav"]
    await store.close()


async def test_links_out_of_the_directory_are_not_followed(tmp_path: Path) -> None:
    (tmp_path / "secret.wav").write_bytes(b"secret")
    directory = tmp_path / "store"
    directory.mkdir()
    (directory / "a.wav").symlink_to(tmp_path / "secret.wav")
    (directory / "up").symlink_to(tmp_path)
    store = LocalStore(directory)
    for key in ("a.wav", "up/secret.wav"):
        with pytest.raises(InvalidKey):
            await store.head(key)
        with pytest.raises(InvalidKey):
            await anext(store.read(key))
    assert [info async for info in store.list()] == []
    await store.close()


async def test_directories_and_drafts_are_no_objects(tmp_path: Path) -> None:
    (tmp_path / "day").mkdir()
    (tmp_path / ".1234.draft").touch()
    (tmp_path / "name with spaces").touch()
    store = LocalStore(tmp_path)
    with pytest.raises(ObjectNotFound):
        await store.head("day")
    with pytest.raises(ObjectNotFound):
        await anext(store.read("day"))
    assert [info async for info in store.list()] == []
    await store.close()


async def test_a_file_that_is_replaced_while_it_is_read_is_told(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(bytes(600_000))
    store = LocalStore(tmp_path)
    pieces = store.read("a.wav")
    await anext(pieces)
    path.write_bytes(bytes(500_000))
    with pytest.raises(StorageError, match="changed"):
        await anext(pieces)
    await store.close()


async def test_the_last_object_takes_its_directory_along(tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "store")
    (tmp_path / "x").touch()
    await store.put("day/a.wav", tmp_path / "x")
    await store.put("day/b.wav", tmp_path / "x")
    await store.delete("day/a.wav")
    assert (tmp_path / "store" / "day").exists()
    await store.delete("day/b.wav")
    assert not (tmp_path / "store" / "day").exists()
    assert (tmp_path / "store").exists()
    await store.close()


async def test_a_full_disk_is_told_and_leaves_no_draft(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(source: Path, target: Path) -> None:
        target.write_bytes(b"half")
        raise OSError(28, "No space left on device", str(target))

    monkeypatch.setattr(storage.local, "_link_or_copy", full)
    store = LocalStore(tmp_path / "store")
    (tmp_path / "x").touch()
    with pytest.raises(StorageError, match="No space left") as told:
        await store.put("a.wav", tmp_path / "x")
    assert told.value.retryable
    assert names(tmp_path / "store") == []
    await store.close()


async def test_a_stalled_disk_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage.local, "OPERATION_SECONDS", 0.01)
    store = LocalStore(tmp_path)
    never = asyncio.get_running_loop().create_future()
    monkeypatch.setattr(asyncio.get_running_loop(), "run_in_executor", lambda *_: never, raising=False)
    with pytest.raises(StorageError, match="has not answered"):
        await store._run(lambda: None, 0.01)
    monkeypatch.undo()
    await store.close()


async def test_a_closed_store_says_so(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    await store.close()
    await store.close()
    with pytest.raises(StorageError, match="closed"):
        await store.head("a.wav")
