"""The demo agent over real sockets: it greets, lets itself be interrupted, and echoes."""

from __future__ import annotations

import asyncio
import cmath
import math
import socket
from array import array
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.demo.agent import DemoAgent
from gateway.media.port_pool import PortPool
from gateway.media.session import AudioSession
from gateway.media.tones import silence, tone
from gateway.sip.endpoint import SipEndpoint
from gateway.sip.events import AnswerReceived, Event, FailureReceived, HungUp, LegEnded
from gateway.sip.sdp import SessionDescription, make_offer

PATIENCE = 30


class Silent:
    def message(self, direction: str, method: str, code: int) -> None: ...

    def retransmission(self, direction: str) -> None: ...

    def dropped(self, reason: str) -> None: ...


def fail(where: str, error: Exception) -> None:
    raise AssertionError(where) from error


class Caller:
    def __init__(self, agent_port: int) -> None:
        self.uri = f"sip:demo@127.0.0.1:{agent_port}"
        self.events: asyncio.Queue[Event] = asyncio.Queue()
        self.heard = bytearray()
        self.ports = PortPool("127.0.0.1", 20_000, 20_998)
        self.sip = SipEndpoint(
            agent_listen=("127.0.0.1:0",),
            on_invite=lambda leg: leg.refuse(486),
            observer=Silent(),
            on_error=fail,
        )

    async def call(self, offer: bytes | None = None) -> Event:
        await self.sip.start()
        self.port = self.ports.open()
        flow = await self.sip.connect(self.uri)
        self.leg = self.sip.invite(
            self.uri,
            flow,
            from_="<sip:+14155550142@127.0.0.1>",
            to=f"<{self.uri}>",
            body=offer or make_offer(*self.port.address, session_id=1),
            listener=self.events.put_nowait,
        )
        return await self.next(AnswerReceived, FailureReceived)

    async def next(self, *kinds: type[Event]) -> Event:
        async with asyncio.timeout(PATIENCE):
            while not isinstance(event := await self.events.get(), kinds):
                pass
        return event

    def talk(self, answer: AnswerReceived) -> AudioSession:
        audio = SessionDescription.parse(answer.response.body).audio
        assert audio is not None
        self.audio = AudioSession(self.port, "PCMU", 0, 101)
        self.audio.on_audio = self.heard.extend
        self.port.set_remote(*audio.rtp_address)
        return self.audio

    async def close(self) -> None:
        self.ports.close()
        await self.sip.stop()


@pytest.fixture
async def caller(tmp_path: Path) -> AsyncIterator[Caller]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    agent = DemoAgent(f"127.0.0.1:{port}", tmp_path)
    await agent.start()
    caller = Caller(port)
    yield caller
    await caller.close()
    await agent.stop()


def loudness(pcm: bytes) -> float:
    samples = array("h", pcm)
    return sum(map(abs, samples)) / max(1, len(samples))


def share_at(frequency: float, pcm: bytes) -> float:
    """How much of a frame's energy is at one frequency, 0 to 1."""
    samples = array("h", pcm)
    turn = 2j * math.pi * frequency / 8000
    found = abs(sum(sample * cmath.exp(turn * index) for index, sample in enumerate(samples))) ** 2
    energy = sum(sample * sample for sample in samples)
    return 2 * found / (len(samples) * energy) if energy > 100 * len(samples) else 0.0


async def test_it_greets_and_echoes_what_interrupts_the_greeting(caller: Caller) -> None:
    answer = await caller.call()
    assert isinstance(answer, AnswerReceived)
    audio = caller.talk(answer)
    await audio.play(tone((440.0,), 0.6, -10.0) + silence(1.2))
    frames = [bytes(caller.heard[at : at + 320]) for at in range(0, len(caller.heard) - 319, 320)]
    tonal = [share_at(440.0, frame) > 0.8 for frame in frames]
    # Greeting, then the tone comes back as long as it was, then nothing: the greeting does not go on.
    assert not any(tonal[:5])
    assert 25 <= sum(tonal) <= 35
    last = max(index for index, is_tone in enumerate(tonal) if is_tone)
    assert len(frames) - last > 10
    assert max(map(loudness, frames[last + 3 :])) < 50
    caller.leg.hangup()
    await caller.next(LegEnded)
    audio.close()


async def test_it_speaks_no_codec_but_g711(caller: Caller) -> None:
    offer = make_offer("127.0.0.1", 4000, session_id=1).replace(b" 0 8 101", b" 18").replace(b"PCMU", b"G729")
    failure = await caller.call(offer)
    assert isinstance(failure, FailureReceived)
    assert failure.status == 488


async def test_it_hangs_up_when_it_is_stopped(caller: Caller) -> None:
    answer = await caller.call()
    assert isinstance(answer, AnswerReceived)
    caller.leg.hangup()
    assert isinstance(await caller.next(LegEnded, HungUp), LegEnded)
