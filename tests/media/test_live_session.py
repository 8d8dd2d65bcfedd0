from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import Any

import pytest

from gateway.media.codecs import LINEAR, PCMA, PCMU, AudioCodec
from gateway.media.g711 import PCMU as LAW
from gateway.media.rtp import RtpPacket, pack
from gateway.media.session import AudioSession
from gateway.media.tones import silence, tone

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


def test_somebody_who_hears_nothing_still_gets_a_frame_in_every_beat(run_virtual: Run, ports: Any) -> None:
    async def scene() -> list[float]:
        clock = asyncio.get_running_loop().time
        session = AudioSession(ports.open(), live=True, form=PCMU, random_bits=zeros, clock=clock)
        heard: list[tuple[float, bytes]] = []
        session.on_audio = lambda frame: heard.append((clock(), frame))
        await asyncio.sleep(0.99)
        session.close()
        assert {frame for _, frame in heard} == {PCMU.silence}
        return [at for at, _ in heard]

    assert run_virtual(scene()) == pytest.approx([0.02 * number for number in range(50)])


@pytest.mark.parametrize("stall", [0.03, 0.07, 0.095])
def test_a_stall_of_ours_costs_no_audio(run_virtual: Run, ports: Any, stall: float) -> None:
    """What came while the loop was busy is read before the beats that are late hear anything."""

    async def scene() -> None:
        loop: Any = asyncio.get_running_loop()
        port = ports.open()
        session = AudioSession(port, live=True, form=PCMU, random_bits=zeros, clock=loop.time)
        for sequence, number in enumerate([*range(120), *range(150, 300)]):  # the pause makes the buffer lean
            packet = pack(0, sequence, 160 * number, 3, bytes([number % 100]) * 160)
            loop.call_at(number * 0.02 + 0.005, port.sink, packet)
        await asyncio.sleep(4.001)
        loop.clock.now += stall
        await asyncio.sleep(2)
        session.close()
        assert session.reception is not None
        assert session.reception.underruns == session.reception.concealed == session.reception.late == 0
        assert session.reception.played >= 260

    run_virtual(scene())


def test_little_is_added_to_what_the_jitter_buffer_waits(run_virtual: Run, ports: Any) -> None:
    """From a packet's arrival to the listener: the buffer's target, and at most one beat."""

    async def scene() -> list[float]:
        loop: Any = asyncio.get_running_loop()
        port = ports.open()
        session = AudioSession(port, live=True, form=PCMU, random_bits=zeros, clock=loop.time)
        added: list[float] = []
        arrived: dict[int, float] = {}

        def arrive(number: int) -> None:
            arrived[number] = loop.time()
            port.sink(pack(0, len(arrived), 160 * number, 3, bytes([number % 100]) * 160))

        def hear(frame: bytes) -> None:
            if len(set(frame)) == 1 and frame[0] < 100:
                number = max(number for number in arrived if number % 100 == frame[0])
                added.append(loop.time() - arrived[number] - session.delay)

        session.on_audio = hear
        for number in range(100):
            loop.call_at(number * 0.02 + 0.013, arrive, number)
        await asyncio.sleep(2.2)
        for number in range(150, 200):  # after a pause it is the target that was learned
            loop.call_at(number * 0.02 + 0.013, arrive, number)
        await asyncio.sleep(2)
        session.close()
        assert session.delay == pytest.approx(0.02)
        return added

    added = run_virtual(scene())
    assert len(added) == 150
    assert max(added[:50]) <= 0.02 + 0.001
    assert max(added[-50:]) <= 0.02 + 0.001


def keys_of(run_virtual: Run, ports: Any, *, event: bool, tone_too: bool, info: bool) -> list[str]:
    async def scene() -> list[str]:
        port = ports.open()
        clock = asyncio.get_running_loop().time
        session = AudioSession(
            port, dtmf_payload_type=101, live=True, form=PCMU, random_bits=zeros, clock=clock
        )
        keys: list[str] = []
        session.on_dtmf = keys.append
        tones = PCMU.frames(tone((770.0, 1336.0), 0.1, -10))
        for number in range(60):
            voiced = tone_too and 20 <= number < 25
            packet = pack(0, number * 2, 160 * number, 3, tones[number - 20] if voiced else PCMU.silence)
            port.sink(packet)
            if event and 20 <= number < 25:
                port.sink(pack(101, number * 2 + 1, 160 * 20, 3, bytes([5, 10, 0, 160])))
            await asyncio.sleep(0.02)
        if info:
            session.take_info_key("5")
        session.close()
        return keys

    return run_virtual(scene())


@pytest.mark.parametrize("event", [False, True])
@pytest.mark.parametrize("tone_too", [False, True])
@pytest.mark.parametrize("info", [False, True])
def test_a_key_counts_once_whichever_ways_it_comes(
    run_virtual: Run, ports: Any, event: bool, tone_too: bool, info: bool
) -> None:
    keys = keys_of(run_virtual, ports, event=event, tone_too=tone_too, info=info)
    assert keys == (["5"] if event or tone_too or info else [])


def test_a_session_without_events_hears_tones_whoever_it_serves(run_virtual: Run, ports: Any) -> None:
    async def scene() -> list[str]:
        a, b = ports.open(), ports.open()
        a.peer = b
        clock = asyncio.get_running_loop().time
        speaker, listener = AudioSession(a, clock=clock), AudioSession(b, clock=clock)
        keys: list[str] = []
        listener.on_dtmf = keys.append
        await speaker.play(tone((697.0, 1209.0), 0.1, -10) + silence(0.1) + tone((941.0, 1477.0), 0.1, -10))
        speaker.close()
        listener.close()
        return keys

    assert run_virtual(scene()) == ["1", "#"]


def test_a_mark_may_end_the_session(run_virtual: Run, ports: Any) -> None:
    async def scene() -> None:
        session = AudioSession(ports.open(), live=True, form=PCMU, clock=asyncio.get_running_loop().time)
        session.on_mark = lambda name: session.close()
        session.push(bytes(320))
        session.mark("goodbye")
        await asyncio.sleep(1)
        assert ports.opened[0].closed
        assert len(ports.opened[0].sent) < 20

    run_virtual(scene())


@pytest.mark.parametrize(("loss", "least", "most"), [(0, 0, 0), (5, 8, 30), (20, 60, 130)])
def test_loss_and_jitter_are_told(run_virtual: Run, ports: Any, loss: int, least: int, most: int) -> None:
    async def scene() -> AudioSession:
        port = ports.open()
        loop = asyncio.get_running_loop()
        session = AudioSession(port, live=True, form=PCMU, random_bits=zeros, clock=loop.time)
        dice = random.Random(loss)
        for number in range(500):
            if dice.randrange(100) >= loss:
                packet = pack(0, number, 160 * number, 3, bytes([number % 250]) * 160)
                loop.call_at(number * 0.02 + dice.random() * 0.06, port.sink, packet)
        await asyncio.sleep(10.2)
        session.close()
        return session

    session = run_virtual(scene())
    assert session.reception is not None
    assert session.reception.underruns == 0
    assert least <= session.reception.concealed <= most
    assert session.reception.late == 0
    assert session.underruns == 0
    assert 0.06 <= session.delay <= 0.07


def test_ten_minutes_of_beats_are_ten_minutes(run_virtual: Run, ports: Any) -> None:
    """No drift in either direction, with a loop that is always late (an hour of it: test_pacer, test_sender)."""

    async def scene() -> tuple[list[float], Any]:
        loop: Any = asyncio.get_running_loop()
        port = ports.open()
        session = AudioSession(port, live=True, form=PCMU, random_bits=zeros, clock=loop.time)
        heard: list[float] = []
        session.on_audio = lambda frame: heard.append(loop.time())
        loop.late = 0.004
        await asyncio.sleep(600.5)
        session.close()
        return heard, port

    heard, port = run_virtual(scene())
    beats = 600 * 50
    assert heard[beats] - heard[0] == pytest.approx(600, abs=0.001 + 0.004)
    assert heard[beats] - heard[1] == pytest.approx(600 - 0.02, abs=0.001)
    assert port.sent[beats][0] - port.sent[1][0] == pytest.approx(600 - 0.02, abs=0.001)


def test_a_listener_s_fault_does_not_end_the_beat(run_virtual: Run, ports: Any) -> None:
    async def scene() -> None:
        loop = asyncio.get_running_loop()
        faults: list[object] = []
        loop.set_exception_handler(lambda loop, context: faults.append(context["exception"]))
        session = AudioSession(ports.open(), live=True, form=PCMU, random_bits=zeros, clock=loop.time)

        def stumble(frame: bytes) -> None:
            raise LookupError

        session.on_audio = stumble
        await asyncio.sleep(0.99)
        session.close()
        assert len(faults) >= 49

    run_virtual(scene())
    assert len({packet.timestamp for packet in sent(ports.opened[0])}) >= 49
