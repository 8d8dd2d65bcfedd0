"""From a finished file to the store; S3 is a real server."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import time
import wave
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Literal

import pytest
import soundfile

from gateway.recordings import shelf as module
from gateway.recordings.shelf import Shelf
from storage.local import LocalStore
from storage.objects import ObjectStore, StorageError
from storage.opening import Credentials, from_url
from tests.storage.conftest import bucket, s3_server

__all__ = ["bucket", "s3_server"]

KEY = "2026-11-27/101500-0123456789abcdef-call.wav"


@pytest.fixture(params=["stays", "local", "s3"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[ObjectStore]:
    opened: ObjectStore
    match request.param:
        case "stays":
            opened = LocalStore(tmp_path / "here")
        case "local":
            opened = LocalStore(tmp_path / "there")
        case _:
            opened = from_url(request.getfixturevalue("bucket"), tmp_path, Credentials("key", "secret"))
    yield opened
    await opened.close()


def record(directory: Path, key: str = KEY, *, told: bool = True, seconds: float = 1.0) -> Path:
    path = directory / key
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as file:
        file.setparams((2, 2, 8000, 0, "NONE", ""))
        file.writeframes(bytes(range(200)) * round(seconds * 160))
    if told:
        path.with_suffix(".json").write_text(json.dumps({"call_id": "1", "recording": path.name}))
    return path


class Running:
    """A shelf that works until the block ends."""

    def __init__(self, directory: Path, store: ObjectStore, form: Literal["wav", "ogg"] = "wav") -> None:
        self.available: asyncio.Queue[tuple[str, dict[str, Any]]] = asyncio.Queue()
        self.failures = 0
        self.waiting: list[int] = []
        self.shelf = Shelf(
            directory,
            store,
            form=form,
            on_available=lambda key, told: self.available.put_nowait((key, told)),
            on_waiting=self.waiting.append,
            on_failure=self._failed,
        )

    def _failed(self) -> None:
        self.failures += 1

    async def __aenter__(self) -> Running:
        self._task = asyncio.create_task(self.shelf.run())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task
        await self.shelf.close()

    async def next(self) -> tuple[str, dict[str, Any]]:
        async with asyncio.timeout(30):
            return await self.available.get()


async def keys(store: ObjectStore) -> list[str]:
    return [info.key async for info in store.list()]


def files(directory: Path) -> list[str]:
    return sorted(path.relative_to(directory).as_posix() for path in directory.rglob("*.*"))


BOTH = [KEY.replace(".wav", ".json"), KEY]


async def test_a_finished_recording_comes_to_its_place_with_its_record(
    store: ObjectStore, tmp_path: Path
) -> None:
    here = tmp_path / "here"
    path = await asyncio.to_thread(record, here)
    data = await asyncio.to_thread(path.read_bytes)
    async with Running(here, store) as running:
        running.shelf.take(path)
        key, told = await running.next()
    assert (key, told["call_id"]) == (KEY, "1")
    assert await keys(store) == BOTH
    assert b"".join([piece async for piece in store.read(key)]) == data
    stays = isinstance(store, LocalStore) and store.directory == here
    assert files(here) == (BOTH if stays else [])
    assert running.waiting[-1] == 0


async def test_as_ogg_it_is_smaller_and_its_record_says_so(store: ObjectStore, tmp_path: Path) -> None:
    here = tmp_path / "here"
    path = await asyncio.to_thread(record, here, KEY, seconds=5)
    async with Running(here, store, "ogg") as running:
        running.shelf.take(path)
        key, told = await running.next()
    assert key == KEY.replace(".wav", ".ogg")
    assert told["recording"] == Path(key).name
    assert await keys(store) == [BOTH[0], key]
    (tmp_path / "fetched.ogg").write_bytes(b"".join([piece async for piece in store.read(key)]))
    with soundfile.SoundFile(tmp_path / "fetched.ogg") as file:
        assert (file.channels, file.format, file.subtype) == (2, "OGG", "OPUS")
        assert abs(file.frames / file.samplerate - 5) < 0.05


async def test_what_a_killed_process_left_is_given_a_record(store: ObjectStore, tmp_path: Path) -> None:
    here = tmp_path / "here"
    path = await asyncio.to_thread(record, here, KEY, told=False)
    alive = await asyncio.to_thread(record, here, KEY.replace("101500", "101600"), told=False)
    os.utime(path, (time.time() - 3600,) * 2)
    async with Running(here, store) as running:
        key, told = await running.next()
        await asyncio.sleep(0.05)
        assert running.available.empty(), "one that still grows is left alone"
    assert key == KEY
    assert (told["call_id"], told["kind"], told["recorded_seconds"]) == ("0123456789abcdef", "call", 1.0)
    assert "ended while it recorded" in told["recording_error"]
    assert alive.exists()
    assert not alive.with_suffix(".json").exists()


async def test_what_waited_when_the_process_ended_goes_at_the_next_start(bucket: str, tmp_path: Path) -> None:
    here = tmp_path / "here"
    await asyncio.to_thread(record, here)
    await asyncio.to_thread(record, here, "2026-11-27/101500-fedcba9876543210.wav")
    store = from_url(bucket, tmp_path, Credentials("key", "secret"))
    async with Running(here, store) as running:
        await running.next()
        await running.next()
    assert len(await keys(store)) == 4
    assert files(here) == []


async def test_a_store_that_is_away_is_tried_again_and_nothing_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "FIRST_PAUSE", 0.01)
    here = tmp_path / "here"
    store = LocalStore(tmp_path / "there")
    put, tries = store.put, 0

    async def away(key: str, source: Path) -> Any:
        nonlocal tries
        tries += 1
        if tries <= 3:
            raise StorageError("away")
        return await put(key, source)

    monkeypatch.setattr(store, "put", away)
    path = await asyncio.to_thread(record, here)
    async with Running(here, store) as running:
        running.shelf.take(path)
        assert (await running.next())[0] == KEY
    assert running.failures == 3
    assert await keys(store) == BOTH
    await store.close()


async def test_the_same_one_twice_is_one(tmp_path: Path) -> None:
    here = tmp_path / "here"
    store = LocalStore(tmp_path / "there")
    path = await asyncio.to_thread(record, here)
    async with Running(here, store) as running:
        running.shelf.take(path)
        running.shelf.take(path)
        await running.next()
        running.shelf.take(path)
        await asyncio.sleep(0.1)
        assert running.available.empty()
    await store.close()


async def test_what_waits_has_a_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_WAITING", 3)
    running = Running(tmp_path, LocalStore(tmp_path))
    for number in range(10):
        running.shelf.take(tmp_path / f"{number}.wav")
    assert max(running.waiting) == 3
    await running.shelf.close()


async def test_what_is_no_audio_is_kept_as_it_is(tmp_path: Path) -> None:
    here = tmp_path / "here"
    store = LocalStore(here)
    path = here / KEY

    def damage() -> None:
        path.parent.mkdir(parents=True)
        path.write_bytes(b"not a WAV file")

    await asyncio.to_thread(damage)
    async with Running(here, store, "ogg") as running:
        running.shelf.take(path)
        assert (await running.next())[0] == KEY
    assert files(here) == BOTH
    await store.close()


async def test_one_that_cannot_be_stored_does_not_hold_the_others_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "FIRST_PAUSE", 0.01)
    here = tmp_path / "here"
    store = LocalStore(tmp_path / "there")
    put = store.put

    async def picky(key: str, source: Path) -> Any:
        if "101500" in key:
            raise StorageError("not this one")
        return await put(key, source)

    monkeypatch.setattr(store, "put", picky)
    bad = await asyncio.to_thread(record, here)
    good = await asyncio.to_thread(record, here, KEY.replace("101500", "101600"))
    async with Running(here, store) as running:
        running.shelf.take(bad)
        running.shelf.take(good)
        assert (await running.next())[0] == KEY.replace("101500", "101600")
    assert await asyncio.to_thread(bad.exists)
    await store.close()
