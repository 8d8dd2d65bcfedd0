from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from gateway.media.g711 import CODECS, PCMA, PCMU
from gateway.media.ports import MediaPort, MediaPorts
from gateway.media.rtp import RtpPacket, pack
from gateway.media.session import AudioSession
from gateway.media.tones import tone

Run = Callable[..., Any]


def connect(ports: Any) -> tuple[Any, Any]:
    a, b = ports.open(), ports.open()
    a.peer, b.peer = b, a
    return a, b


def test_the_memory_ports_of_these_tests_are_media_ports(ports: Any) -> None:
    checked: MediaPorts = ports
    port: MediaPort = checked.open()
    assert port.address[1] % 2 == 0


@pytest.mark.parametrize("codec", CODECS)
def test_what_one_plays_the_other_hears(run_virtual: Run, ports: Any, codec: str, level: Any) -> None:
    async def scene() -> bytes:
        a, b = connect(ports)
        speaker, listener = AudioSession(a, codec), AudioSession(b, codec)
        heard: list[bytes] = []
        listener.on_audio = heard.append
        sound = tone((1000.0,), 0.5, -12)
        assert await speaker.play(sound)
        speaker.close()
        listener.close()
        assert b"".join(heard) == CODECS[codec].decode(CODECS[codec].encode(sound))
        return b"".join(heard)

    heard = run_virtual(scene())
    assert level(heard, 1000) == pytest.approx(-12, abs=0.3)
    assert level(heard, 700) < -45


def test_frames_encoded_beforehand_go_out_as_they_are(run_virtual: Run, ports: Any) -> None:
    async def scene() -> None:
        port = ports.open()
        session = AudioSession(port, "PCMA", payload_type=96)
        frames = PCMA.frames(tone((440.0,), 0.1, -10))
        assert await session.play_frames(frames)
        sent = [RtpPacket.parse(packet) for _, packet in port.sent]
        assert [packet.payload for packet in sent] == frames
        assert {packet.payload_type for packet in sent} == {96}

    run_virtual(scene())


def test_a_part_of_a_frame_is_filled_up(run_virtual: Run, ports: Any) -> None:
    async def scene() -> None:
        port = ports.open()
        await AudioSession(port).play(b"\x10\x10" * 200)
        payloads = [RtpPacket.parse(packet).payload for _, packet in port.sent]
        assert [len(payload) for payload in payloads] == [160, 160]
        assert payloads[1][40:] == PCMU.silence * 120

    run_virtual(scene())


def test_keys_cross_the_line(run_virtual: Run, ports: Any) -> None:
    async def scene() -> list[str]:
        a, b = connect(ports)
        caller = AudioSession(a, dtmf_payload_type=101)
        callee = AudioSession(b, dtmf_payload_type=101)
        keys: list[str] = []
        callee.on_dtmf = keys.append
        caller.play(tone((440.0,), 1.0, -10))
        assert await caller.send_dtmf("0123456789*#ABCD")
        return keys

    assert "".join(run_virtual(scene())) == "0123456789*#ABCD"


def test_a_call_goes_on_when_nobody_listens(run_virtual: Run, ports: Any) -> None:
    async def scene() -> None:
        port = ports.open()
        session = AudioSession(port, dtmf_payload_type=101)
        port.sink(pack(0, 1, 0, 1, b"\x05" * 160))
        port.sink(pack(101, 2, 160, 1, b"\x05\x0a\x00\xa0"))
        port.sink(b"no packet at all")
        session.close()

    run_virtual(scene())


def test_closing_ends_everything_once(run_virtual: Run, ports: Any) -> None:
    async def scene() -> None:
        port = ports.open()
        session = AudioSession(port, continuous=True)
        heard: list[bytes] = []
        session.on_audio = heard.append
        playing = session.play(bytes(32000))
        port.sink(pack(0, 1, 0, 1, b"\x05" * 160))
        port.sink(pack(0, 3, 320, 1, b"\x07" * 160))  # held back for number 2
        session.close()
        session.close()
        assert await playing is False
        assert heard == [PCMU.decode(b"\x05" * 160), bytes(320), PCMU.decode(b"\x07" * 160)]
        sent = len(port.sent)
        port.sink(pack(0, 4, 480, 1, b"\x08" * 160))
        await asyncio.sleep(1)
        assert len(port.sent) == sent
        assert len(heard) == 3
        assert port.closed

    run_virtual(scene())


def test_a_detached_port_stays_open(run_virtual: Run, ports: Any) -> None:
    async def scene() -> None:
        port = ports.open()
        session = AudioSession(port, continuous=True)
        session.play(bytes(3200))
        assert session.detach() is port
        sent = len(port.sent)
        await asyncio.sleep(1)
        assert len(port.sent) == sent
        assert not port.closed

    run_virtual(scene())


def test_an_unknown_codec_is_refused(run_virtual: Run, ports: Any) -> None:
    async def scene() -> None:
        with pytest.raises(KeyError):
            AudioSession(ports.open(), "G729")

    run_virtual(scene())
