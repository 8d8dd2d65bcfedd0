"""Messages of a call are found by its Call-IDs, cleaned, in order, and within bounds."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from gateway.sip.flow import Flow
from gateway.traces import writer as writers
from gateway.traces.log import MAX_MESSAGES, TraceLog, call_id_of
from gateway.traces.segments import Entry, Segments, decode

PEER = Flow("udp", "192.0.2.1", 5060, 1)


def message(call_id: str, name: str = "Call-ID", more: str = "") -> bytes:
    return f"BYE sip:a@b SIP/2.0\r\nVia: x\r\n{name}: {call_id}\r\n{more}\r\n".encode()


def on_disk(directory: Path) -> bytes:
    return b"".join(path.read_bytes() for path in directory.iterdir() if path.is_file())


class Clock:
    """Counts up by a second each time."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 1
        return self.now


async def opened(directory: Path, **more: object) -> TraceLog:
    log = TraceLog(Segments(directory, 10**6), lambda flow: ("10.0.0.1", 5060), clock=Clock(), **more)  # type: ignore[arg-type]
    await log.writer.open()
    return log


@pytest.mark.parametrize("name", ["Call-ID", "i", "CALL-ID", "call-id "])
def test_the_call_id_is_read_however_it_is_written(name: str) -> None:
    assert call_id_of(message("1@h", name)) == b"1@h"
    assert call_id_of(b"hello") == b""


async def test_a_calls_messages_are_found_and_no_others(tmp_path: Path) -> None:
    log = await opened(tmp_path)
    log.received(PEER, message("one"))
    log.sent(PEER, message("two"))
    log.received(PEER, message("three"))
    log.sent(PEER, message("on"))  # part of another's
    found = await log.read(["one", "two"], 0.0, 100.0)
    assert [(each.at, each.out, call_id_of(each.data)) for each in found] == [
        (1.0, False, b"one"),
        (2.0, True, b"two"),
    ]
    assert (found[0].host, found[0].port, found[0].local_host, found[0].local_port) == (
        *("192.0.2.1", 5060),
        *("10.0.0.1", 5060),
    )
    assert await log.read(["one"], 5.0, 100.0) == []
    assert await log.read([""], 0.0, 100.0) == []


async def test_secrets_are_not_on_the_disk(tmp_path: Path) -> None:
    log = await opened(tmp_path)
    log.sent(PEER, message("one", more="Authorization: Digest hunter2hunter2\r\n"))
    await log.writer.flush()
    assert b"hunter2" not in await asyncio.to_thread(on_disk, tmp_path)
    (entry,) = await log.read(["one"], 0.0, 100.0)
    assert b"Authorization: ****" in entry.data


async def test_no_more_than_the_cap_is_shown(tmp_path: Path) -> None:
    log = await opened(tmp_path)
    for _ in range(MAX_MESSAGES + 50):
        log.received(PEER, message("one"))
    assert len(await log.read(["one"], 0.0, 1e6)) == MAX_MESSAGES


async def test_a_disk_that_is_away_costs_messages_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost: list[int] = []
    errors: list[OSError] = []
    log = await opened(tmp_path, on_dropped=lost.append, on_error=errors.append)
    path = next(iter(log._segments._segments)).path
    path.mkdir()  # what is to be a file is none
    for _ in range(2):
        log.received(PEER, message("one"))
        await log.writer.flush()
    assert lost == [1, 1]
    assert len(errors) == 1
    monkeypatch.setattr(writers, "MAX_WAITING", 3)
    for _ in range(5):
        log.received(PEER, message("one"))
    assert lost == [1, 1, 1, 1]


async def test_batches_are_written_while_calls_go_on(tmp_path: Path) -> None:
    log = await opened(tmp_path)
    task = asyncio.create_task(log.writer.run())
    for _ in range(writers.BATCH):
        log.received(PEER, message("one"))
    async with asyncio.timeout(30):
        while not await asyncio.to_thread(on_disk, tmp_path):  # noqa: ASYNC110 - a thread writes
            await asyncio.sleep(0.01)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_messages_that_come_while_others_are_written_wait_for_the_next_time(tmp_path: Path) -> None:
    segments = Segments(tmp_path, 10**6)

    def finish(number: int) -> Entry:
        writer.put(number + 1)  # a busy gateway: there is always one more
        return Entry(float(number), True, "udp", "192.0.2.1", 5060, "10.0.0.1", 5060, b"BYE")

    writer = writers.TraceWriter(segments, finish)
    await writer.open()
    writer.put(1)
    async with asyncio.timeout(30):
        await writer.flush()
        await writer.flush()
    blocks = await asyncio.to_thread(lambda: list(segments.blocks(0, 10)))
    assert [entry.at for block in blocks for entry in decode(block)] == [1.0, 2.0]
