"""Greetings out of the store of audio, as a speech engine has them."""

from __future__ import annotations

import asyncio
import io
import wave
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.media.g711 import CODECS
from gateway.speech.cache import SpeechCache
from gateway.speech.errors import SpeechError, UnspeakableTextError
from gateway.stored_greetings import MAX_GREETING_BYTES, StoredGreetings
from storage.greetings import greeting_key
from storage.local import LocalStore
from storage.objects import StorageError

PCM = b"\x00\x10" * 4000


def wav(pcm: bytes = PCM) -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(8000)
        out.writeframes(pcm)
    return file.getvalue()


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[LocalStore]:
    store = LocalStore(tmp_path / "store")
    yield store
    await store.close()


async def keep(store: LocalStore, tmp_path: Path, greeting_id: str, data: bytes) -> None:
    source = tmp_path / "upload"
    await asyncio.to_thread(source.write_bytes, data)
    await store.put(greeting_key(greeting_id), source)


async def test_a_greeting_is_what_was_uploaded(store: LocalStore, tmp_path: Path) -> None:
    await keep(store, tmp_path, "grt_1", wav())
    assert await StoredGreetings(store).render("grt_1") == PCM


@pytest.mark.parametrize("greeting_id", ["grt_none", "../../etc/passwd", ".hidden"])
async def test_one_that_is_not_there_is_not_asked_for_again(store: LocalStore, greeting_id: str) -> None:
    with pytest.raises(UnspeakableTextError, match="greeting"):
        await StoredGreetings(store).render(greeting_id)


@pytest.mark.parametrize("data", [b"no audio", b"RIFF", wav() + bytes(MAX_GREETING_BYTES)])
async def test_one_that_is_damaged_or_huge_is_none(store: LocalStore, tmp_path: Path, data: bytes) -> None:
    await keep(store, tmp_path, "grt_1", data)
    with pytest.raises(UnspeakableTextError):
        await StoredGreetings(store).render("grt_1")


async def test_a_store_that_is_away_is_asked_again(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def read(key: str) -> AsyncIterator[bytes]:
        raise StorageError("away")
        yield b""

    monkeypatch.setattr(store, "read", read)
    with pytest.raises(SpeechError, match="away") as caught:
        await StoredGreetings(store).render("grt_1")
    assert not isinstance(caught.value, UnspeakableTextError)


async def test_what_was_fetched_once_outlives_its_store(store: LocalStore, tmp_path: Path) -> None:
    await keep(store, tmp_path, "grt_1", wav())
    encoders = {name: codec.frames for name, codec in CODECS.items()}
    for _ in range(2):
        cache = SpeechCache(StoredGreetings(store), tmp_path / "kept", encoders=encoders)
        await cache.start()
        heard = await cache.get("grt_1", 30.0)
        assert not heard.is_default
        same = heard.pcm == PCM  # to tell where two long rows of bytes differ takes a quarter of an hour
        assert same
        while cache.pending:  # noqa: ASYNC110 - until it is on disk, too
            await asyncio.sleep(0.01)
        await store.delete(greeting_key("grt_1"))
        await cache.close()
