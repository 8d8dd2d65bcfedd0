from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gateway.speech import cache as module
from gateway.speech.cache import SpeechCache
from gateway.speech.errors import SpeechError
from gateway.speech.memory import MessageMemory
from gateway.speech.message import Encoder, RenderedMessage
from gateway.speech.store import MessageStore

Encoders = Mapping[str, Encoder]


class Reports(list[tuple[str, Exception]]):
    def __call__(self, source: str, error: Exception) -> None:
        self.append((source, error))


async def drained(cache: SpeechCache) -> None:
    async with asyncio.timeout(5):
        while cache.pending:  # noqa: ASYNC110 - it waits for threads
            await asyncio.sleep(0.001)


async def opened(engine: Any, directory: Path | None, encoders: Encoders, **kwargs: Any) -> SpeechCache:
    cache = SpeechCache(engine, directory, encoders=encoders, **kwargs)
    await cache.start()
    return cache


def spoken(text: str) -> bytes:
    return text.encode("utf-16-le") * 50


async def test_prepared_messages_are_there_without_waiting(
    engine: Any, encoders: Encoders, tmp_path: Path
) -> None:
    cache = await opened(engine, tmp_path, encoders)
    assert cache.get_nowait("Hello") is None
    cache.prerender("Hello")
    await drained(cache)
    message = cache.get_nowait("Hello")
    assert message is not None
    assert message.pcm == spoken("Hello")
    assert not message.is_default
    assert await cache.get("Hello", 0) is message
    cache.prerender("Hello")
    assert cache.pending == 0
    assert engine.rendered == ["Hello"]
    await cache.close()


async def test_what_was_prepared_before_the_start_is_rendered(engine: Any, encoders: Encoders) -> None:
    cache = SpeechCache(engine, None, encoders=encoders)
    cache.prerender("early")
    await cache.start()
    assert (await cache.get("early", 5)).pcm == spoken("early")
    await cache.close()


async def test_a_restart_finds_the_files(engine: Any, encoders: Encoders, tmp_path: Path) -> None:
    first = await opened(engine, tmp_path, encoders)
    await first.get("Hello", 5)
    async with asyncio.timeout(5):
        while not await asyncio.to_thread(lambda: list(tmp_path.glob("*.wav"))):  # noqa: ASYNC110 - disk
            await asyncio.sleep(0.001)
    await first.close()
    engine.broken = SpeechError("the engine is gone")
    second = await opened(engine, tmp_path, encoders)
    message = await second.get("Hello", 5)
    assert message.pcm == spoken("Hello")
    assert engine.rendered == ["Hello"]
    await second.close()


async def test_another_voice_is_another_message(encoders: Encoders, engine: Any, tmp_path: Path) -> None:
    first = await opened(engine, tmp_path, encoders)
    await first.get("Hello", 5)
    await drained(first)
    engine.identity = "scripted:2"
    await first.get("Hello", 5)
    assert engine.rendered == ["Hello", "Hello"]
    await first.close()


async def test_many_callers_at_once_are_one_rendering(engine: Any, encoders: Encoders) -> None:
    cache = await opened(engine, None, encoders)
    messages = await asyncio.gather(*(cache.get("Hello", 5) for _ in range(50)))
    assert len({id(message) for message in messages}) == 1
    assert engine.rendered == ["Hello"]
    await cache.close()


async def test_a_slow_engine_means_the_default_now_and_the_message_later(
    engine: Any, encoders: Encoders
) -> None:
    cache = await opened(engine, None, encoders)
    engine.open.clear()
    message = await cache.get("Hello", 0.01)
    assert message is cache.default
    assert message.is_default
    engine.open.set()
    await drained(cache)
    assert (await cache.get("Hello", 0)).pcm == spoken("Hello")
    await cache.close()


async def test_a_failing_engine_means_the_default_and_a_report(engine: Any, encoders: Encoders) -> None:
    reports = Reports()
    cache = await opened(engine, None, encoders, on_error=reports)
    engine.broken = SpeechError("no engine")
    assert await cache.get("Hello", 5) is cache.default
    assert reports == [("scripted", engine.broken)]
    assert await cache.get("Hello", 5) is cache.default  # without asking again so soon
    assert engine.rendered == ["Hello"]
    await cache.close()


async def test_a_full_disk_is_reported_once_and_the_caller_hears_the_message(
    engine: Any, encoders: Encoders, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(store: MessageStore, key: str, pcm: bytes) -> None:
        raise OSError(28, "No space left on device")

    reports = Reports()
    cache = await opened(engine, tmp_path, encoders, on_error=reports)
    with monkeypatch.context() as disk:
        disk.setattr(MessageStore, "save", full)
        for text in ("one", "two", "three"):
            assert (await cache.get(text, 5)).pcm == spoken(text)
        await drained(cache)
    assert [(source, type(error)) for source, error in reports] == [("cache", OSError)]
    await cache.close()


async def test_a_directory_that_cannot_be_read_is_reported(
    engine: Any, encoders: Encoders, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("no directory")
    reports = Reports()
    cache = await opened(engine, tmp_path / "file", encoders, on_error=reports)
    assert (await cache.get("Hello", 5)).pcm == spoken("Hello")
    await drained(cache)
    assert [source for source, _ in reports] == ["cache"]
    await cache.close()


async def test_memory_is_bounded_and_the_disk_serves_the_rest(
    engine: Any, encoders: Encoders, tmp_path: Path
) -> None:
    size = RenderedMessage(spoken("text 0"), encoders).size
    cache = await opened(engine, tmp_path, encoders, memory_bytes=3 * size)
    for number in range(10):
        await cache.get(f"text {number}", 5)
    await drained(cache)
    in_memory = [number for number in range(10) if cache.get_nowait(f"text {number}")]
    assert in_memory == [7, 8, 9]
    assert (await cache.get("text 0", 5)).pcm == spoken("text 0")
    assert len(engine.rendered) == 10
    await cache.close()


async def test_only_so_many_wait_to_be_prepared(
    engine: Any, encoders: Encoders, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_PREPARED", 5)
    cache = await opened(engine, None, encoders)
    engine.open.clear()
    for number in range(100):
        cache.prerender(f"text {number}")
    assert cache.pending == 5
    caller = asyncio.create_task(cache.get("text 99", 5))  # who calls is served all the same
    await asyncio.sleep(0)
    engine.open.set()
    assert (await caller).pcm == spoken("text 99")
    await cache.close()


async def test_closing_gives_those_who_wait_the_default(engine: Any, encoders: Encoders) -> None:
    cache = await opened(engine, None, encoders)
    engine.open.clear()
    caller = asyncio.create_task(cache.get("Hello", 5))
    await asyncio.sleep(0.01)
    await cache.close()
    assert await caller is cache.default
    assert engine.closed == 1


async def test_the_bundled_message_is_speech(engine: Any, encoders: Encoders) -> None:
    cache = SpeechCache(engine, None, encoders=encoders)
    with pytest.raises(RuntimeError, match="start"):
        _ = cache.default
    await cache.start()
    assert 3 < cache.default.seconds < 10
    assert np.abs(np.frombuffer(cache.default.pcm, "<i2").astype(int)).max() > 5000
    assert b"".join(cache.default.encoded("L16")) == cache.default.pcm
    await cache.close()


def test_a_message_is_encoded_once_with_each_encoder() -> None:
    calls: list[bytes] = []

    def encode(pcm: bytes) -> list[bytes]:
        calls.append(pcm)
        return [pcm[:2], pcm[2:]]

    message = RenderedMessage(b"\1\2\3\4", {"PCMU": encode})
    assert message.encoded("PCMU") is message.encoded("PCMU")
    assert message.encoded("PCMU") == [b"\1\2", b"\3\4"]
    assert calls == [b"\1\2\3\4"]
    assert message.seconds == 2 / 8000
    assert message.size > 8
    with pytest.raises(KeyError):
        message.encoded("PCMA")


def test_a_message_larger_than_the_memory_is_not_kept() -> None:
    memory = MessageMemory(500)
    memory.put("small", RenderedMessage(bytes(100), {}))
    memory.put("large", RenderedMessage(bytes(1000), {}))
    assert memory.get("large") is None
    memory.put("small again", RenderedMessage(bytes(100), {}))
    assert memory.get("small again") is not None
