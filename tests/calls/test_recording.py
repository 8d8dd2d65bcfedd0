"""Whole calls on disk, whoever takes them."""

from __future__ import annotations

import asyncio
import json
import wave
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from gateway.media.g711 import PCMA, PCMU
from gateway.media.rtp import pack
from gateway.media.tones import tone
from gateway.sip.sdes import Crypto, secured
from gateway.sip.sdp import SessionDescription
from gateway.speech.errors import SpeechError
from routing.models import Endpoint
from tests.calls.rig import Port, Rig, answering, in_virtual_time
from tests.calls.rig import Voice as RigVoice
from tests.calls.test_media_stream_agents import URL, connected, line, said
from tests.calls.test_voicemail import UNTIL_RECORDING, Speaker, payloads, reach
from tests.e2e.audio import tone_share


def recorded(rig: Rig) -> tuple[dict[str, Any], np.ndarray[Any, Any]]:
    """The record of the only whole call, and its samples."""
    (path,) = (path for path in rig.recorded if path.stem.endswith("-call"))
    with wave.open(str(path)) as file:
        assert file.getnchannels() == 2
        samples = np.frombuffer(file.readframes(file.getnframes()), "<i2").reshape(-1, 2)
    return json.loads(path.with_suffix(".json").read_text()), samples


class Voice(Speaker):
    """Somebody who speaks at a pitch of their own."""

    def __init__(self, port: Port, pitch: float, ssrc: int = 7) -> None:
        super().__init__(port)
        self.ssrc = ssrc
        pcm = tone((pitch,), 1.0, -10.0)
        self.frames = [PCMU.encode(pcm[at : at + 320]) for at in range(0, len(pcm), 320)]

    async def talk(self, seconds: float) -> None:
        for _ in range(round(seconds * 50)):
            frame = self.frames[self.sequence % 50]
            self.port.sink(pack(0, self.sequence & 0xFFFF, self.sequence * 160, self.ssrc, frame))
            self.sequence += 1
            await asyncio.sleep(0.02)


def share(samples: np.ndarray[Any, Any], channel: int, pitch: float, start: float, end: float) -> float:
    part = samples[round(start * 8000) : round(end * 8000), channel]
    return tone_share(part, pitch)


@in_virtual_time
async def test_caller_left_agent_right(rig: Rig):
    agent = await rig.agent(answering())
    rig.line(agent, recording="all")
    leg = rig.dial()
    await asyncio.sleep(1)
    caller_port, agent_port = rig.ports.opened
    await asyncio.gather(Voice(caller_port, 600).talk(3), Voice(agent_port, 900, 8).talk(3))
    assert len(agent_port.sent) == len(caller_port.sent) == 150  # the recording changes nothing
    leg.hangup()
    await asyncio.sleep(2)
    record, samples = recorded(rig)
    assert record["kind"] == "call"
    assert record["outcome"] == "agent"
    assert record["channels"] == ["caller", "agent"]
    assert record["recorded_seconds"] == round(len(samples) / 8000, 3)
    assert 3.5 < len(samples) / 8000 < 4.5
    assert share(samples, 0, 600, 1, 3.5) > 0.9
    assert share(samples, 1, 900, 1, 3.5) > 0.9
    starts = [np.flatnonzero(samples[:, channel])[0] for channel in (0, 1)]
    assert abs(starts[0] - starts[1]) <= 160


@in_virtual_time
async def test_a_rescue_and_the_voicemail_are_in_the_same_recording(rig: Rig):
    agent = await rig.agent(answering())
    rig.line(agent, recording="all")
    leg = rig.dial()
    await asyncio.sleep(1)
    caller_port, agent_port = rig.ports.opened
    await Voice(agent_port, 900, 8).talk(2)
    rig.mute_since[agent.host] = rig.now()
    await asyncio.sleep(6 + UNTIL_RECORDING)
    caller = Voice(caller_port, 600)
    caller.port = rig.ports.opened[0]
    await caller.talk(2)
    leg.hangup()
    await asyncio.sleep(2)
    assert rig.record.outcome == "voicemail_rescued"
    record, samples = recorded(rig)
    assert record["tried"][0]["answer"] == "200 OK"
    assert share(samples, 1, 900, 1, 2.5) > 0.9  # the agent that was lost
    end = len(samples) / 8000
    assert share(samples, 0, 600, end - 1.8, end - 0.2) > 0.9  # the message after the tone
    assert any(share(samples, 1, 1000, at, at + 0.2) > 0.9 for at in np.arange(6, end - 2, 0.1))  # the tone
    assert len(rig.recorded) == 2, "and the message by itself, for the voicemail box"


@in_virtual_time
async def test_recorded_calls_go_through_us_even_to_agents_with_direct_media(rig: Rig):
    agent = await rig.agent(answering())
    rig.line(agent, recording="all", parameters=";media=direct")
    leg = rig.dial()
    await asyncio.sleep(1)
    offered = SessionDescription.parse(agent.invite.body).audio
    assert offered is not None
    assert offered.addresses[1] == rig.ports.opened[1].address[1]
    leg.hangup()
    await asyncio.sleep(1)
    recorded(rig)


@in_virtual_time
async def test_with_policy_voicemail_only_messages_are_recorded(rig: Rig):
    agent = await rig.agent(answering())
    rig.line(agent, recording="voicemail")
    leg = rig.dial()
    await asyncio.sleep(1)
    assert not any("Tapped" in repr(port.sink) for port in rig.ports.opened), "no code for what nobody wants"
    leg.hangup()
    await asyncio.sleep(1)
    assert rig.recorded == []


@in_virtual_time
async def test_with_policy_off_the_voicemail_speaks_and_says_goodbye(rig: Rig):
    rig.line(recording="off")
    port, _ = await reach(rig)
    await asyncio.sleep(3)
    assert rig.record.outcome == "voicemail"
    assert rig.record.cause == "nothing is recorded"
    assert PCMU.decode(payloads(port)[:1600])
    assert tone_share(np.frombuffer(PCMU.decode(payloads(port))[3200:], "<i2"), 1000) < 0.1, (
        "there is no tone"
    )
    assert rig.recorded == []
    assert not list(rig.directory.rglob("*.wav"))


@in_virtual_time
async def test_whoever_hangs_up_before_the_answer_leaves_no_recording(rig: Rig):
    agent = await rig.agent(lambda leg: leg.ring())
    rig.line(agent, recording="all")
    leg = rig.dial()
    await asyncio.sleep(1)
    leg.hangup()
    await asyncio.sleep(1)
    assert rig.record.outcome == "abandoned"
    assert rig.recorded == []


@in_virtual_time
async def test_encrypted_audio_is_recorded_too(rig: Rig):
    """Its keys end at our port, and what is recorded is in the clear."""
    agent = await rig.agent(lambda leg: leg.answer(leg.request.body))
    rig.line(agent, recording="all")
    leg = rig.dial(body=secured(rig.caller.sdp(6000), [Crypto(1, "AES_CM_128_HMAC_SHA1_80", bytes(30))]))
    await asyncio.sleep(1)
    assert rig.caller.statuses()[-1] == 200
    leg.hangup()
    await asyncio.sleep(2)
    assert rig.record.outcome == "agent"
    assert len(rig.recorded) == 1


@in_virtual_time
async def test_a_disk_that_fails_costs_the_recording_and_not_the_call(rig: Rig):
    (rig.directory / "recordings").write_text("not a directory")
    agent = await rig.agent(answering())
    rig.line(agent, recording="all")
    leg = rig.dial()
    await asyncio.sleep(1)
    caller_port, agent_port = rig.ports.opened
    await Voice(caller_port, 600).talk(1)
    assert len(agent_port.sent) == 50
    leg.hangup()
    await asyncio.sleep(1)
    assert rig.record.outcome == "agent"
    assert isinstance(rig.recording_errors[0], OSError)
    assert rig.recorded == []


@in_virtual_time
async def test_both_sides_hear_that_they_are_recorded(rig: Rig):
    agent = await rig.agent(answering())
    rig.line(agent, recording="all")
    rig.dispatcher._recordings = replace(rig.recordings, consent_interval=3.0)
    leg = rig.dial()
    await asyncio.sleep(1)
    caller_port, agent_port = rig.ports.opened
    await asyncio.gather(Voice(caller_port, 600).talk(5), Voice(agent_port, 900, 8).talk(5))
    for port in (caller_port, agent_port):
        heard = np.frombuffer(PCMU.decode(payloads(port)), "<i2")
        assert len(heard) == 5 * 8_000, "the tone stands in the place of speech"
        assert tone_share(heard[: 10 * 160], 1400) > 0.9
        assert tone_share(heard[8_000:16_000], 1400) < 0.1
    leg.hangup()
    await asyncio.sleep(1)


def is_loud(pcm: bytes) -> bool:
    return bool(np.abs(np.frombuffer(pcm, "<i2").astype(int)).max() > 1000)


def onsets(samples: np.ndarray[Any, Any], rate: int) -> list[float]:
    """Seconds at which something begins after half a second of silence."""
    loud = np.flatnonzero(np.abs(samples.astype(int)) > 1000)
    first = np.flatnonzero(np.diff(loud, prepend=-rate) > rate / 2)
    return [float(loud[each]) / rate for each in first]


@pytest.mark.parametrize(
    "endpoint",
    [
        Endpoint(URL),
        Endpoint(URL, protocol="telnyx", options={"encoding": "PCMA"}),
        Endpoint(URL, protocol="telnyx", options={"encoding": "L16", "sample_rate": "16000"}),
    ],
    ids=["twilio", "telnyx PCMA", "telnyx L16"],
)
@in_virtual_time
async def test_an_agent_on_a_websocket_is_in_sync_with_its_caller(rig: Rig, endpoint: Endpoint):
    line(rig, endpoint, recording="all")
    socket = await connected(rig)
    await asyncio.sleep(0.5)
    answered = rig.record_began()
    port = rig.ports.opened[0]
    caller = Voice(port, 600)
    heard_at: list[float] = []
    encode = {
        "PCMA": PCMA.encode,
        "L16": lambda pcm: np.frombuffer(pcm, "<i2").astype(">i2").tobytes(),
    }.get(endpoint.options.get("encoding", ""), PCMU.encode)
    rate = int(endpoint.options.get("sample_rate", "8000"))
    burst = np.frombuffer(tone((900.0,), 0.3, -10.0), "<i2")
    if rate == 16_000:
        burst = np.repeat(burst, 2)
    for beat in range(10):  # with pauses that grow: the offset must not
        heard_at.append(rig.now() - answered)
        socket.say(said(encode(burst.tobytes())))
        await caller.talk(0.3)
        caller.sequence += 50 + 7 * beat  # silence suppression: the timestamps tell of the pause
        await asyncio.sleep(1.0 + 0.14 * beat)
    sent = [at - answered for at, packet in port.sent if is_loud(PCMU.decode(packet[12:]))]
    socket.hang_up()
    await asyncio.sleep(2)
    _, samples = recorded(rig)
    left, right = (onsets(samples[:, channel], 8000) for channel in (0, 1))
    assert len(left) == len(right) == 10
    reached = [min(at for at in sent if at >= said_at) for said_at in heard_at]
    for came, went, in_left, in_right in zip(heard_at, reached, left, right, strict=True):
        # each where it was heard, and hence both within 20 ms of how they were heard together
        assert abs((in_left - in_right) - (came - went)) <= 0.02


@in_virtual_time
async def test_callers_are_told_before_they_are_recorded_and_agents_are_called_then(rig: Rig):
    rig.announce("This call is recorded.")
    agent = await rig.agent(answering())
    rig.line(agent, recording="all")
    await asyncio.sleep(0.1)
    leg = rig.dial()
    await asyncio.sleep(0.15)
    assert rig.caller.statuses() == [100, 180, 200]
    assert not agent.messages  # it is still being spoken
    await asyncio.sleep(1)
    assert payloads(rig.ports.opened[0]).startswith(PCMU.encode(RigVoice.pcm))
    assert agent.requests("INVITE")
    await Voice(rig.ports.opened[0], 600).talk(1)
    leg.hangup()
    await asyncio.sleep(2)
    record, samples = recorded(rig)
    assert record["outcome"] == "agent"
    level = int.from_bytes(RigVoice.pcm[:2], "little")
    assert abs(int(np.median(samples[:1600, 1])) - level) < level / 16  # what was said stands in it


@in_virtual_time
async def test_a_caller_who_cannot_be_told_is_not_recorded(rig: Rig):
    async def render(self: RigVoice, text: str) -> bytes:
        raise SpeechError("no voice")

    rig.speech._engine.render = render.__get__(rig.speech._engine)
    rig.announce("This call is recorded.")
    agent = await rig.agent(answering())
    rig.line(agent, recording="all")
    leg = rig.dial()
    await asyncio.sleep(6)
    assert agent.requests("INVITE")
    leg.hangup()
    await asyncio.sleep(2)
    assert rig.record.outcome == "agent"
    assert not rig.recorded


@in_virtual_time
async def test_calls_that_are_not_recorded_are_not_announced(rig: Rig):
    rig.announce("This call is recorded.")
    agent = await rig.agent(answering())
    rig.line(agent, recording="voicemail")
    await asyncio.sleep(0.1)
    leg = rig.dial()
    await asyncio.sleep(0.05)
    assert agent.requests("INVITE")
    assert rig.caller.statuses() == [100, 180]
    leg.hangup()
