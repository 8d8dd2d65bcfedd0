"""Heads of RTP packets that went through real ports: found by port, dissected by tshark, bounded."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.media.port_pool import PortPool
from gateway.media.ports import MediaPort
from gateway.traces import rtp_heads
from gateway.traces.of_call import CallTraces
from gateway.traces.pcap import RTP_LENGTH
from gateway.traces.rtp_heads import RtpHeads
from gateway.traces.segments import Entry, Segments
from tests.api.http.test_calls import made
from tests.traces.test_pcap import INVITE, OK, tshark

AUDIO = bytes([0x80, 0]) + (7).to_bytes(2, "big") + bytes(8) + bytes(160)


@pytest.fixture
async def heads(tmp_path: Path) -> AsyncIterator[RtpHeads]:
    pool = PortPool("127.0.0.1", 28_000, 28_100)
    heads = RtpHeads(pool, Segments(tmp_path / "rtp", 10**6))
    await heads.writer.open()
    yield heads
    pool.close()


def joined(heads: RtpHeads) -> tuple[MediaPort, MediaPort]:
    one, other = heads.open(), heads.open()
    one.set_remote(*other.address)
    other.set_remote(*one.address)
    return one, other


async def test_packets_of_both_directions_are_found_by_our_port(heads: RtpHeads) -> None:
    one, other = joined(heads)
    heard = asyncio.Event()
    other.sink = lambda packet: heard.set()
    assert heads.in_use == 2
    async with asyncio.timeout(10):
        one.send(AUDIO)
        await heard.wait()
    (sent,) = await heads.read(frozenset({one.address[1]}), 0.0, 1e12)
    (came,) = await heads.read(frozenset({other.address[1]}), 0.0, 1e12)
    assert (sent.out, came.out) == (True, False)
    assert (sent.host, sent.port) == other.address
    assert sent.data == came.data == AUDIO[:12] + RTP_LENGTH.pack(172)
    assert await heads.read(frozenset(), 0.0, 1e12) == []
    for port in (one, other):
        port.close()


async def test_a_port_keeps_the_first_packets_and_no_more(
    heads: RtpHeads, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rtp_heads, "MAX_HEADS", 3)
    one, other = joined(heads)
    for _ in range(10):
        one.send(AUDIO)
    assert len(await heads.read(frozenset({one.address[1]}), 0.0, 1e12)) == 3
    one.set_remote("0.0.0.0", 0)
    for port in (one, other):
        port.close()


class Log:
    """A trace log with one call in it, whose answer of ours names a port."""

    def __init__(self, port: int, at: float) -> None:
        answer = OK.replace(b"m=audio 4000 ", b"m=audio %d " % port)
        place = ("127.0.0.1", 5062, "127.0.0.1", 5060)
        self._entries = [Entry(at, False, "udp", *place, INVITE), Entry(at, True, "udp", *place, answer)]

    async def read(self, call_ids: object, since: float, until: float) -> list[Entry]:
        return self._entries


async def test_a_calls_capture_has_its_audio(heads: RtpHeads, tmp_path: Path) -> None:
    one, other = joined(heads)
    one.send(AUDIO)
    (sent,) = await heads.read(frozenset({one.address[1]}), 0.0, 1e12)
    traces = CallTraces(Log(one.address[1], sent.at - 0.01), heads)  # type: ignore[arg-type]
    path = tmp_path / "call.pcap"
    packets = await traces.capture(made(1, began=sent.at, seconds=1.0))
    await asyncio.to_thread(path.write_bytes, packets)
    rows = await asyncio.to_thread(
        tshark, path, "sip.Method", "sip.Status-Code", "udp.length", "_ws.malformed"
    )
    assert rows == [["INVITE", "", rows[0][2], ""], ["", "200", rows[1][2], ""], ["", "", "180", ""]]
    for port in (one, other):
        port.close()
