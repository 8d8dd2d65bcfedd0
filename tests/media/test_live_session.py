from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from gateway.media.codecs import LINEAR, PCMA, PCMU, AudioCodec
from gateway.media.g711 import PCMU as LAW
from gateway.media.rtp import RtpPacket
from gateway.media.session import AudioSession

Run = Callable[..., Any]


def zeros(bits: int) -> int:
    return 0


def sent(port: Any) -> list[RtpPacket]:
    return [RtpPacket.parse(packet) for _, packet in port.sent]


def test_it_sends_in_every_beat_from_its_beginning(run_virtual: Run, ports: Any) -> None:
    async def scene() -> None:
        port = ports.open()
        session = AudioSession(port, live=True, random_bits=zeros, clock=asyncio.get_running_loop().time)
        await asyncio.sleep(0.99)
        session.close()

    run_virtual(scene())
    packets = sent(ports.opened[0])
    assert [packet.timestamp for packet in packets] == [160 * number for number in range(50)]
    assert {packet.payload for packet in packets} == {LAW.silence * 160}
    assert [at for at, _ in ports.opened[0].sent] == pytest.approx([0.02 * number for number in range(50)])


def test_sessions_that_begin_together_do_not_share_their_deadlines(run_virtual: Run, ports: Any) -> None:
    async def scene() -> None:
        for share in (0, 0x4000, 0x8000):
            AudioSession(ports.open(), live=True, random_bits=lambda bits, at=share: at)
        await asyncio.sleep(0.1)

    run_virtual(scene())
    assert [port.sent[0][0] for port in ports.opened] == pytest.approx([0, 0.005, 0.01])


@pytest.mark.parametrize(
    "form", [PCMU, PCMA, LINEAR[8000], LINEAR[24000]], ids=lambda codec: f"{codec.name}-{codec.clock_rate}"
)
def test_what_is_pushed_is_sent_in_the_peer_s_codec(run_virtual: Run, ports: Any, form: AudioCodec) -> None:
    said = form.encoder(8000).encode((b"\x00\x10" * 80 + b"\x00\xf0" * 80) * 25)

    async def scene() -> None:
        port = ports.open()
        session = AudioSession(port, live=True, form=form, clock=asyncio.get_running_loop().time)
        marks: list[str] = []
        session.on_mark = marks.append
        for at in range(0, len(said), 758):
            assert session.push(said[at : at + 758]) == 0
        session.mark("end")
        await asyncio.sleep(0.4)
        assert marks == []
        await asyncio.sleep(0.2)
        assert marks == ["end"]
        session.close()

    run_virtual(scene())
    voiced = [packet for packet in sent(ports.opened[0]) if packet.payload != PCMU.silence]
    assert len(voiced) in (25, 26)  # resampled audio rings on
    if form is PCMU:
        assert b"".join(packet.payload for packet in voiced) == said


def test_clear_takes_effect_with_the_next_frame(run_virtual: Run, ports: Any) -> None:
    async def scene() -> None:
        port = ports.open()
        session = AudioSession(port, live=True, form=PCMU, clock=asyncio.get_running_loop().time)
        session.push(b"\x05" * 16000)
        session.mark("unreached")
        await asyncio.sleep(0.5)
        before = len([packet for packet in sent(port) if packet.payload[0] == 5])
        cleared = session.clear()
        assert cleared.marks == ("unreached",)
        assert cleared.played == 160 * before == 16000 - cleared.dropped
        await asyncio.sleep(0.5)
        assert len([packet for packet in sent(port) if packet.payload[0] == 5]) == before
        session.close()

    run_virtual(scene())


def test_what_plays_goes_before_what_was_pushed(run_virtual: Run, ports: Any) -> None:
    async def scene() -> None:
        port = ports.open()
        session = AudioSession(port, live=True, form=PCMU, clock=asyncio.get_running_loop().time)
        session.push(b"\x05" * 320)
        assert await session.play_frames([b"\x06" * 160] * 20)
        await asyncio.sleep(0.2)
        session.close()
        assert [packet.payload[0] for packet in sent(port) if packet.payload != PCMU.silence] == [6] * 20 + [
            5
        ] * 2

    run_virtual(scene())


@pytest.mark.parametrize("form", [PCMU, LINEAR[16000]], ids=lambda codec: f"{codec.name}-{codec.clock_rate}")
def test_what_the_peer_says_comes_in_the_form_asked_for(
    run_virtual: Run, ports: Any, form: AudioCodec
) -> None:
    async def scene() -> list[bytes]:
        a, b = ports.open(), ports.open()
        a.peer = b
        clock = asyncio.get_running_loop().time
        speaker = AudioSession(a, "PCMA", clock=clock)
        listener = AudioSession(b, "PCMA", live=True, form=form, rate=form.sample_rate, clock=clock)
        heard: list[bytes] = []
        listener.on_audio = heard.append
        await speaker.play(b"\x00\x10" * 8000)
        await asyncio.sleep(0.5)
        speaker.close()
        listener.close()
        return heard

    heard = run_virtual(scene())
    assert len(heard) >= 50
    assert {len(frame) for frame in heard} == {form.frame_bytes}
