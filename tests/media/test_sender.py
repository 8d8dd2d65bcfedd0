from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from gateway.media.rtp import RtpPacket
from gateway.media.sender import DTMF_PAUSE, AudioSender

Run = Callable[..., Any]
SILENCE = b"\xff" * 160


class Wire:
    """What a sender sent, with the loop's time of each packet."""

    def __init__(self) -> None:
        self.at: list[float] = []
        self.packets: list[RtpPacket] = []

    def send(self, data: bytes) -> None:
        self.at.append(asyncio.get_running_loop().time())
        self.packets.append(RtpPacket.parse(data))


def frames(count: int, first: int = 0) -> list[bytes]:
    return [bytes([(first + index) % 256]) * 160 for index in range(count)]


def zeros(bits: int) -> int:
    return 0


def ones(bits: int) -> int:
    return (1 << bits) - 1


def test_the_first_packet_leaves_at_once_and_the_others_every_20_ms(run_virtual: Run) -> None:
    wire = Wire()

    async def scene() -> None:
        sender = AudioSender(wire.send, 0, random_bits=zeros)
        await asyncio.sleep(3.7)  # no clock runs before there is something to say
        begun = asyncio.get_running_loop().time()
        done = sender.play(frames(50))
        assert len(wire.packets) == 1
        assert await done is True
        assert asyncio.get_running_loop().time() - begun == pytest.approx(1.0)

    run_virtual(scene())
    assert [packet.payload[0] for packet in wire.packets] == list(range(50))
    assert [packet.sequence for packet in wire.packets] == list(range(50))
    assert [packet.timestamp for packet in wire.packets] == [160 * index for index in range(50)]
    assert [packet.marker for packet in wire.packets] == [True] + [False] * 49
    assert wire.at == pytest.approx([3.7 + 0.02 * index for index in range(50)])


def test_an_hour_with_a_loop_that_is_always_late(run_virtual: Run) -> None:
    wire = Wire()

    async def scene() -> int:
        sender = AudioSender(wire.send, 0, random_bits=zeros)
        asyncio.get_running_loop().late = 0.009  # type: ignore[attr-defined]
        await sender.play(frames(1) * (3600 * 50))
        return sender.underruns

    underruns = run_virtual(scene())
    assert len(wire.packets) == 3600 * 50
    assert wire.at[-1] - wire.at[0] == pytest.approx(3600 - 0.02 + 0.009, abs=1e-6)
    assert underruns == 0


def test_sequence_numbers_and_timestamps_wrap(run_virtual: Run) -> None:
    wire = Wire()

    async def scene() -> None:
        await AudioSender(wire.send, 0, random_bits=ones).play(frames(3))

    run_virtual(scene())
    assert [packet.sequence for packet in wire.packets] == [0xFFFF, 0, 1]
    assert [packet.timestamp for packet in wire.packets] == [0xFFFFFFFF, 159, 319]
    assert {packet.ssrc for packet in wire.packets} == {0xFFFFFFFF}


def test_playbacks_follow_each_other_without_a_gap(run_virtual: Run) -> None:
    wire = Wire()

    async def scene() -> None:
        sender = AudioSender(wire.send, 0, random_bits=zeros)
        first = sender.play(frames(3))
        second = sender.play(frames(2, first=10))
        assert await first
        assert await second

    run_virtual(scene())
    assert [packet.payload[0] for packet in wire.packets] == [0, 1, 2, 10, 11]
    assert wire.at == pytest.approx([0, 0.02, 0.04, 0.06, 0.08])


def test_awaiting_one_and_then_playing_the_next_is_as_good(run_virtual: Run) -> None:
    wire = Wire()

    async def scene() -> None:
        sender = AudioSender(wire.send, 0, random_bits=zeros)
        for first in (0, 10):
            await sender.play(frames(2, first))

    run_virtual(scene())
    assert [packet.timestamp for packet in wire.packets] == [0, 160, 320, 480]
    assert wire.at == pytest.approx([0, 0.02, 0.04, 0.06])


def test_after_a_pause_the_timestamp_shows_it_and_the_marker_is_set(run_virtual: Run) -> None:
    wire = Wire()

    async def scene() -> None:
        sender = AudioSender(wire.send, 0, random_bits=zeros)
        await sender.play(frames(2))
        await asyncio.sleep(10)
        await sender.play(frames(2))

    run_virtual(scene())
    assert [packet.marker for packet in wire.packets] == [True, False, True, False]
    assert [packet.sequence for packet in wire.packets] == [0, 1, 2, 3]
    assert wire.packets[2].timestamp == pytest.approx(8000 * wire.at[2], abs=160)


def test_a_continuous_sender_fills_with_silence(run_virtual: Run) -> None:
    wire = Wire()

    async def scene() -> None:
        sender = AudioSender(wire.send, 0, silence=SILENCE, random_bits=zeros)
        await sender.play(frames(2))
        await asyncio.sleep(1)
        await sender.play(frames(1, first=7))
        sender.close()
        count = len(wire.packets)
        await asyncio.sleep(1)
        assert len(wire.packets) == count

    run_virtual(scene())
    assert [packet.timestamp for packet in wire.packets] == [
        160 * index for index in range(len(wire.packets))
    ]
    assert wire.packets[2].payload == SILENCE
    assert [packet.payload[0] for packet in wire.packets].count(7) == 1
    assert [packet.marker for packet in wire.packets] == [True] + [False] * (len(wire.packets) - 1)
    assert 51 <= len(wire.packets) <= 55


def test_stop_ends_what_plays_and_what_waits(run_virtual: Run) -> None:
    wire = Wire()

    async def scene() -> None:
        sender = AudioSender(wire.send, 0)
        first, second = sender.play(frames(100)), sender.play(frames(100))
        await asyncio.sleep(0.09)
        sender.stop()
        assert (await first, await second) == (False, False)
        await asyncio.sleep(1)
        assert len(wire.packets) == 5

    run_virtual(scene())


def test_cancelling_who_waits_ends_its_playback(run_virtual: Run) -> None:
    wire = Wire()

    async def scene() -> None:
        sender = AudioSender(wire.send, 0)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.09):
                await sender.play(frames(100))
        assert await sender.play(frames(1, first=77))

    run_virtual(scene())
    assert [packet.payload[0] for packet in wire.packets] == [0, 1, 2, 3, 4, 77]


def test_a_long_stall_delays_the_rest_and_is_counted(run_virtual: Run) -> None:
    wire = Wire()

    async def scene() -> int:
        loop = asyncio.get_running_loop()
        sender = AudioSender(wire.send, 0, random_bits=zeros)
        done = sender.play(frames(20))
        await asyncio.sleep(0.05)
        loop.clock.now += 2  # type: ignore[attr-defined] # something blocked the loop for two seconds
        await done
        return sender.underruns

    assert run_virtual(scene()) >= 95
    assert [packet.payload[0] for packet in wire.packets] == list(range(20))  # nothing is lost, it is later
    gaps = [
        after.timestamp - before.timestamp
        for before, after in zip(wire.packets, wire.packets[1:], strict=False)
    ]
    assert sum(gap > 160 for gap in gaps) == 1
    assert max(wire.at.count(at) for at in set(wire.at)) <= 6  # and not as a flood


def test_nothing_to_play_is_played_at_once(run_virtual: Run) -> None:
    async def scene() -> None:
        assert await AudioSender(Wire().send, 0).play([])

    run_virtual(scene())


def test_keys_have_one_timestamp_a_press_and_a_pause_between(run_virtual: Run) -> None:
    wire = Wire()

    async def scene() -> None:
        sender = AudioSender(wire.send, 0, 101, random_bits=zeros)
        await sender.play(frames(1))
        assert await sender.play_digits("12")
        await sender.play(frames(1))

    run_virtual(scene())
    events = [packet for packet in wire.packets if packet.payload_type == 101]
    assert [packet.payload[0] for packet in events] == [1] * 7 + [2] * 7
    assert [packet.marker for packet in events] == ([True] + [False] * 6) * 2
    assert {packet.timestamp for packet in events[:7]} == {160}
    assert {packet.timestamp for packet in events[7:]} == {160 * (1 + 7 + DTMF_PAUSE)}
    assert [packet.sequence for packet in wire.packets] == list(range(16))
    assert wire.packets[-1].marker
    assert wire.packets[-1].timestamp == 160 * (1 + 2 * (7 + DTMF_PAUSE))


def test_keys_need_telephone_event_and_must_be_keys(run_virtual: Run) -> None:
    async def scene() -> None:
        with pytest.raises(ValueError, match="negotiate"):
            AudioSender(Wire().send, 0).play_digits("1")
        wire = Wire()
        with pytest.raises(ValueError, match="no key"):
            AudioSender(wire.send, 0, 101).play_digits("1x")
        assert wire.packets == []

    run_virtual(scene())
