"""From a gateway's events to the box, through a real Redis, on each sort of store."""

from __future__ import annotations

import asyncio
from pathlib import Path

from sqlalchemy import select

from api.event_intake import EventIntake
from api.store.tables import VoicemailRow
from routing.event_stream import STREAM, EventReader, EventWriter
from tests.api.conftest import until
from tests.api.sync.conftest import Source
from tests.routing.conftest import RedisServer
from tests.routing.test_event_stream import started, voicemail


async def box(source: Source) -> list[str]:
    return await source.service.database.read(lambda session: list(session.scalars(select(VoicemailRow.id))))


async def test_a_voicemail_gets_into_the_box_once_and_its_gateway_hears_of_it(
    source: Source, redis: RedisServer
) -> None:
    writer, intake = EventWriter(redis.client), source.service.intake(redis.client)
    await writer.write([voicemail("vm_1"), started(1), voicemail("vm_1")])
    await intake.take_some()
    assert await box(source) == ["vm_1"]
    assert await writer.kept(["vm_1"]) == {"vm_1"}
    assert await redis.client.xlen(STREAM) == 0
    await writer.write([voicemail("vm_1")])
    await intake.take_some()
    assert await box(source) == ["vm_1"]


async def test_what_a_dying_api_has_stored_and_not_acknowledged_is_not_stored_twice(
    source: Source, redis: RedisServer
) -> None:
    writer, intake = EventWriter(redis.client), source.service.intake(redis.client)
    await writer.write([voicemail("vm_1")])
    entries = await EventReader(redis.client, "dead").read()
    events = [event for _, event in entries if event is not None]
    await source.service.database.write(lambda tx: intake.take(tx, events))
    await writer.write(events)  # its gateway offers it again
    await intake.take_some()
    assert await box(source) == ["vm_1"]
    assert await writer.kept(["vm_1"]) == {"vm_1"}


async def test_taking_goes_on_after_redis_was_away(
    source: Source, redis: RedisServer, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.setattr("api.event_intake.RETRY_SECONDS", 0.01)
    intake: EventIntake = source.service.intake(redis.client)
    work = asyncio.create_task(intake.run())
    await redis.stop()
    await asyncio.sleep(0.05)
    await redis.start()
    await EventWriter(redis.client).write([voicemail("vm_1")])
    seen: list[str] = []

    async def look() -> None:
        while not seen:
            seen.extend(await box(source))
            await asyncio.sleep(0.02)

    looking = asyncio.create_task(look())
    await until(lambda: seen)
    for task in (looking, work):
        task.cancel()
    await asyncio.gather(looking, work, return_exceptions=True)
    assert seen == ["vm_1"]
