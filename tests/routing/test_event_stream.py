"""Events from gateways to the API, over a real Redis that is stopped, flushed and restarted."""

from __future__ import annotations

import asyncio

import pytest

from routing import event_stream
from routing.call_events import CallStarted, VoicemailCreated, decode_event, encode_event, moment
from routing.event_stream import FAILURES, STREAM, EventReader, EventWriter
from tests.routing.conftest import RedisServer


def started(number: int) -> CallStarted:
    return CallStarted(
        id=f"evt_{number}",
        call_id=f"call{number}",
        created_at=moment(1_700_000_000 + number),
        agent_id="agt_sales",
        to_number="+14155550100",
        from_number="+14155550111",
        carrier="twilio",
    )


def voicemail(name: str = "vm_1") -> VoicemailCreated:
    return VoicemailCreated(
        id=f"evt_{name}",
        call_id=name[3:],
        created_at=moment(1_700_000_000),
        agent_id=None,
        to_number="+14155550100",
        from_number="",
        carrier="twilio",
        voicemail_id=name,
        recording_key=f"2026-11-27/{name}.wav",
        duration_seconds=3.2,
        speech_seconds=2.0,
        too_short=False,
    )


async def read_some(reader: EventReader) -> list[tuple[bytes, object]]:
    while True:
        entries = await reader.read()
        if entries:
            return [*entries]


def test_an_event_is_flat_json_that_names_its_kind() -> None:
    encoded = encode_event(started(1))
    assert b'"event":"call.started"' in encoded
    assert decode_event(encoded) == started(1)
    assert decode_event(encode_event(voicemail())) == voicemail()
    newer = encoded[:-1] + b',"later":"field"}'
    assert decode_event(newer) == started(1)


async def test_events_arrive_in_order_and_are_gone_when_they_are_done(redis: RedisServer) -> None:
    writer, reader = EventWriter(redis.client), EventReader(redis.client, "one")
    for number in range(3):
        writer.put(started(number))
    await writer.flush()
    entries = await read_some(reader)
    assert [event for _, event in entries] == [started(number) for number in range(3)]
    await reader.done([entry_id for entry_id, _ in entries], [])
    assert await redis.client.xlen(STREAM) == 0


async def test_consumers_share_the_work_and_take_over_from_those_that_died(
    redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_stream, "ABANDONED_SECONDS", 0.0)
    writer = EventWriter(redis.client)
    first, second = EventReader(redis.client, "one"), EventReader(redis.client, "two")
    await writer.write([started(1)])
    assert len(await read_some(first)) == 1  # and dies
    (taken,) = await read_some(second)
    assert taken[1] == started(1)


async def test_what_is_no_event_is_passed_over(redis: RedisServer) -> None:
    reader = EventReader(redis.client, "one")
    await redis.client.xadd(STREAM, {b"event": b"{"})
    await redis.client.xadd(STREAM, {b"other": b"1"})
    entries = await read_some(reader)
    assert [event for _, event in entries] == [None, None]


async def test_a_flushed_redis_is_begun_anew(redis: RedisServer) -> None:
    writer, reader = EventWriter(redis.client), EventReader(redis.client, "one")
    await writer.write([started(1)])
    assert await read_some(reader)
    await redis.client.flushall()
    await writer.write([started(2)])
    assert [event for _, event in await read_some(reader)] == [started(2), started(1)]


async def test_what_a_new_primary_lacks_is_written_again_and_nothing_else(redis: RedisServer) -> None:
    again: list[int] = []
    now = [100.0]
    writer = EventWriter(redis.client, on_again=again.append, clock=lambda: now[0])
    reader = EventReader(redis.client, "one")
    await writer.write([started(1)])
    key = writer._key
    replica = await redis.client.dump(key), await redis.client.dump(STREAM)  # that is as far as it came
    await writer.write([started(2), started(3)])
    await writer.write([started(4)])
    assert not again
    for name, value in zip((key, STREAM), replica, strict=True):
        await redis.client.restore(name, 0, value, replace=True)
    await writer.write(())
    assert again == [3]
    await writer.write([started(5)])
    assert again == [3]
    assert [event for _, event in await read_some(reader)] == [started(number) for number in range(1, 6)]
    now[0] += event_stream.REMEMBERED_SECONDS + 1
    await writer.write([started(6)])
    await redis.client.flushall()
    await writer.write(())
    assert again == [3, 1]  # what is older is in the API's store, or lost


async def test_what_is_remembered_has_an_end(redis: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_stream, "MAX_REMEMBERED", 3)
    again: list[int] = []
    writer = EventWriter(redis.client, on_again=again.append)
    for number in range(0, 8, 2):
        await writer.write([started(number), started(number + 1)])
    await redis.client.flushall()
    await writer.write(())
    assert again == [2]


async def test_a_writer_with_nothing_to_say_looks_whether_all_is_there(
    redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_stream, "CHECK_SECONDS", 0.01)
    writer, reader = EventWriter(redis.client), EventReader(redis.client, "one")
    work = asyncio.create_task(writer.run())
    writer.put(started(1))
    assert await read_some(reader)
    await redis.client.flushall()
    async with asyncio.timeout(20):
        assert [event for _, event in await read_some(reader)] == [started(1)]
    work.cancel()
    await asyncio.gather(work, return_exceptions=True)


async def test_the_queue_holds_while_redis_is_away_and_the_oldest_go_first(
    redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_stream, "MAX_WAITING", 5)
    monkeypatch.setattr(event_stream, "RETRY_SECONDS", 0.01)
    dropped: list[int] = []
    errors: list[str] = []
    writer = EventWriter(redis.client, on_dropped=dropped.append, on_error=errors.append)
    await redis.stop()
    work = asyncio.create_task(writer.run())
    for number in range(8):
        writer.put(started(number))
    with pytest.raises(FAILURES):
        await writer.flush()
    await redis.start()
    reader = EventReader(redis.client, "one")
    seen: list[object] = []
    async with asyncio.timeout(20):
        while len(seen) < 5:
            try:
                seen += [event for _, event in await reader.read()]
            except FAILURES:
                await asyncio.sleep(0.05)
    work.cancel()
    await asyncio.gather(work, return_exceptions=True)
    assert seen == [started(number) for number in range(3, 8)]
    assert sum(dropped) == 3
    assert len(errors) <= 2


async def test_the_writer_learns_which_voicemails_have_arrived(redis: RedisServer) -> None:
    writer, reader = EventWriter(redis.client), EventReader(redis.client, "one")
    await writer.write([voicemail("vm_1"), voicemail("vm_2")])
    entries = await read_some(reader)
    assert await writer.kept(["vm_1", "vm_2"]) == set()
    assert await writer.kept([]) == set()
    await reader.done([entries[0][0]], ["vm_1"])
    assert await writer.kept(["vm_1", "vm_2"]) == {"vm_1"}
