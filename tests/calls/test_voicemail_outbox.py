"""A voicemail is on disk until the API has it: across kills, restarts, and a Redis that is away."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from redis.exceptions import ConnectionError as RedisAway

from gateway.destinations import voicemail_outbox
from gateway.destinations.voicemail_outbox import VoicemailOutbox
from gateway.media.wav_file import WavFile
from routing.call_events import Event, VoicemailCreated
from tests.routing.test_event_stream import voicemail

PATIENCE = 20.0


class Writer:
    """What the outbox knows of Redis."""

    def __init__(self) -> None:
        self.away = False
        self.written: list[Event] = []
        self.arrived: set[str] = set()

    def put(self, event: Event) -> None:
        self.written.append(event)

    async def write(self, events: Sequence[Event]) -> None:
        if self.away:
            raise RedisAway("away")
        self.written += events

    async def kept(self, voicemail_ids: Sequence[str]) -> set[str]:
        if self.away:
            raise RedisAway("away")
        return self.arrived & {*voicemail_ids}


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(voicemail_outbox, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr(voicemail_outbox, "SELDOM_SECONDS", 0.01)


@asynccontextmanager
async def running(
    directory: Path, writer: Writer, errors: list[str] | None = None
) -> AsyncIterator[VoicemailOutbox]:
    outbox = VoicemailOutbox(
        directory / "outbox",
        directory / "recordings",
        writer,  # type: ignore[arg-type] # a fake, for faults to order
        min_seconds=1.0,
        on_error=(errors if errors is not None else []).append,
    )
    await outbox.recover()
    work = asyncio.create_task(outbox.run())
    try:
        yield outbox
    finally:
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)
        await outbox.close()


async def until(condition) -> None:
    async with asyncio.timeout(PATIENCE):
        while not condition():  # noqa: ASYNC110 - it may depend on anything
            await asyncio.sleep(0.01)


def files(directory: Path) -> list[str]:
    return sorted(path.name for path in (directory / "outbox").glob("*"))


async def test_a_message_is_kept_until_the_api_has_it(tmp_path: Path) -> None:
    writer = Writer()
    async with running(tmp_path, writer) as outbox:
        outbox.begun(voicemail())
        await outbox.finished(voicemail())
        await until(lambda: writer.written)
        assert files(tmp_path) == ["vm_1.json"]
        writer.arrived.add("vm_1")
        await until(lambda: not files(tmp_path))
    assert writer.written == [voicemail()]


async def test_a_message_waits_for_a_redis_that_is_away(tmp_path: Path) -> None:
    writer, errors = Writer(), list[str]()
    writer.away = True
    async with running(tmp_path, writer, errors) as outbox:
        await outbox.finished(voicemail())
        await until(lambda: errors)
        writer.away = False
        await until(lambda: writer.written)
    assert files(tmp_path) == ["vm_1.json"]


async def test_another_process_delivers_what_one_has_left(tmp_path: Path) -> None:
    writer = Writer()
    writer.away = True
    async with running(tmp_path, writer) as outbox:
        await outbox.finished(voicemail())
    second = Writer()
    async with running(tmp_path, second):
        await until(lambda: second.written)
    assert second.written == [voicemail()]


async def test_a_recording_that_a_kill_cut_off_becomes_a_message(tmp_path: Path) -> None:
    message = voicemail("vm_cut")
    path = tmp_path / "recordings" / message.recording_key
    wav = await asyncio.to_thread(WavFile, path)
    await asyncio.to_thread(wav.append, bytes(2 * 8000 * 2))
    await asyncio.to_thread(wav.close)
    async with running(tmp_path, Writer()) as outbox:
        outbox.begun(message)
        outbox.begun(voicemail("vm_without_audio"))
        await until(lambda: len(files(tmp_path)) == 2)
    writer = Writer()
    async with running(tmp_path, writer):
        await until(lambda: writer.written)
    (told,) = writer.written
    assert isinstance(told, VoicemailCreated)
    assert (told.voicemail_id, told.duration_seconds, told.too_short) == ("vm_cut", 2.0, False)
    assert files(tmp_path) == ["vm_cut.json"]


async def test_what_does_not_arrive_is_offered_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(voicemail_outbox, "AGAIN_SECONDS", 0.05)
    writer = Writer()
    async with running(tmp_path, writer) as outbox:
        outbox._offers["vm_1"] = voicemail_outbox._Offer(pause=0.05)
        await outbox.finished(voicemail())
        await until(lambda: len(writer.written) >= 3)
        assert outbox._offers["vm_1"].pause >= 0.2


async def test_a_damaged_file_is_told_and_set_aside(tmp_path: Path) -> None:
    (tmp_path / "outbox").mkdir()
    (tmp_path / "outbox" / "vm_x.json").write_text(json.dumps({"complete": 1}))
    errors: list[str] = []
    async with running(tmp_path, Writer(), errors):
        await until(lambda: errors)
    assert files(tmp_path) == ["vm_x.damaged"]


async def test_more_messages_than_memory_holds_go_one_after_the_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(voicemail_outbox, "MAX_HELD", 2)
    writer = Writer()
    writer.arrived = {f"vm_{number}" for number in range(5)}
    async with running(tmp_path, writer) as outbox:
        for number in range(5):
            await outbox.finished(voicemail(f"vm_{number}"))
        await until(lambda: not files(tmp_path))
    assert {event.id for event in writer.written} == {f"evt_vm_{number}" for number in range(5)}


async def test_a_disk_that_takes_nothing_costs_no_message(tmp_path: Path) -> None:
    (tmp_path / "outbox").write_text("in the way")
    writer, errors = Writer(), list[str]()
    async with running(tmp_path, writer, errors) as outbox:
        outbox.begun(voicemail())
        await outbox.finished(voicemail())
    assert writer.written == [voicemail()]
    assert len(errors) >= 2
