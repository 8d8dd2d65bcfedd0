"""What a caller hears while an agent is being reached."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import numpy as np
import pytest

from gateway.destinations.waiting_sound import WaitingSounds
from gateway.media.g711 import PCMU
from gateway.media.rtp import RtpPacket, pack
from gateway.sip.events import ProvisionalReceived
from gateway.sip.sdp import make_offer
from tests.calls.rig import CALLER, CARRIER, Rig, answering, in_virtual_time
from tests.e2e.audio import tone_share

RINGBACK = (440.0, 480.0)


def heard(rig: Rig, since: float = 0.0, until: float = 1e9, port: int = 0) -> np.ndarray:
    """What was sent to the caller, decoded."""
    packets = [RtpPacket.parse(data) for at, data in rig.ports.opened[port].sent if since <= at < until]
    return np.frombuffer(b"".join(PCMU.decode(packet.payload) for packet in packets), np.int16)


def ringing(samples: np.ndarray) -> bool:
    return len(samples) > 0 and sum(tone_share(samples, hertz) for hertz in RINGBACK) > 0.5


@in_virtual_time
async def test_a_rescued_caller_hears_ringing_until_the_next_agent_answers(rig: Rig):
    primary, fallback = await rig.agent(answering()), await rig.agent(answering(after=4.0))
    rig.line(primary, fallback)
    leg = rig.dial()
    await asyncio.sleep(2)
    assert not rig.ports.opened[0].sent  # the carrier rings; we send nothing
    lost_at = rig.now()
    rig.mute_since[primary.host] = lost_at
    await asyncio.sleep(12)
    assert fallback.kinds() == ["AckReceived"]
    sent = [at for at, _ in rig.ports.opened[0].sent]
    assert sent[0] == pytest.approx(lost_at + 5, abs=0.1)  # the agent's silence is noticed
    assert sent[-1] - sent[0] == pytest.approx(4, abs=0.1)  # and ends with the fallback's answer
    assert ringing(heard(rig, sent[0] + 0.1, sent[0] + 1.9))
    assert not heard(rig, sent[0] + 2.1, sent[0] + 3.9).any()
    leg.hangup()
    await asyncio.sleep(1)
    assert rig.record.outcome == "fallback_rescued"


@in_virtual_time
async def test_it_stops_with_the_first_packet_of_the_agent(rig: Rig):
    primary, fallback = await rig.agent(answering()), await rig.agent(answering(after=4.0))
    rig.line(primary, fallback)
    rig.dial()
    await asyncio.sleep(2)
    rig.mute_since[primary.host] = rig.now()
    await asyncio.sleep(6)
    caller_port, agent_port = rig.ports.opened[0], rig.ports.opened[2]
    early = pack(0, 1, 160, 9, b"announcement")
    agent_port.sink(early)
    count = len(caller_port.sent)
    assert caller_port.sent[-1][1] == early
    await asyncio.sleep(1)
    assert len(caller_port.sent) == count
    agent_port.sink(early)
    assert len(caller_port.sent) == count + 1


@in_virtual_time
async def test_while_a_message_is_rendered_the_rescued_caller_hears_ringing(rig: Rig):
    primary = await rig.agent(answering())
    rig.line(primary)
    leg = rig.dial()
    await asyncio.sleep(2)
    rig.mute_since[primary.host] = rig.now()
    await asyncio.sleep(7)
    sources = [RtpPacket.parse(data).ssrc for _, data in rig.ports.opened[0].sent]
    assert len(set(sources)) <= 2  # a ringing that the message cut off, and the message
    assert sources[-1] == sources[-100]
    leg.hangup()
    await asyncio.sleep(1)
    assert rig.record.outcome == "voicemail_rescued"


@in_virtual_time
async def test_by_default_the_caller_has_a_plain_180_and_no_audio(rig: Rig):
    agent = await rig.agent(answering(after=2.0))
    rig.line(agent)
    rig.dial()
    await asyncio.sleep(1)
    assert rig.caller.statuses() == [100, 180]
    assert not rig.ports.opened[0].sent


@in_virtual_time
async def test_early_media_rings_in_the_callers_codec_and_the_answer_repeats_its_description(rig: Rig):
    rig.dispatcher._waiting = WaitingSounds(early=True)
    agent = await rig.agent(answering(after=2.0))
    rig.line(agent)
    leg = rig.dial()
    await asyncio.sleep(1.9)
    assert rig.caller.statuses() == [100, 183]
    assert ringing(heard(rig))
    await asyncio.sleep(1)
    early = next(
        event for event in rig.caller.events if isinstance(event, ProvisionalReceived) and event.response.body
    )
    assert rig.caller.response(200).body == early.response.body
    assert b"m=audio 30000 RTP/AVP 0 101\r\n" in early.response.body
    assert b"RTP/AVP 0 101 " in agent.invite.body  # first of all what was promised to the caller
    count = len(rig.ports.opened[0].sent)
    await asyncio.sleep(1)
    assert len(rig.ports.opened[0].sent) == count
    leg.hangup()
    await asyncio.sleep(1)
    assert rig.record.outcome == "agent"


@in_virtual_time
async def test_early_media_goes_on_to_the_voicemail_with_one_description(rig: Rig):
    rig.dispatcher._waiting = WaitingSounds("silence", early=True)
    rig.line()
    leg = rig.dial()
    await asyncio.sleep(1)
    first = next(
        event for event in rig.caller.events if isinstance(event, ProvisionalReceived) and event.response.body
    )
    assert rig.caller.response(200).body == first.response.body
    leg.hangup()
    await asyncio.sleep(1)
    assert rig.record.outcome == "voicemail"


@in_virtual_time
async def test_a_carrier_may_want_early_media_or_not_whatever_the_default(rig: Rig):
    agent = await rig.agent(answering(after=2.0))
    rig.line(agent)
    rig.carrier = replace(CARRIER, early_media=True)
    rig.dial()
    await asyncio.sleep(1)
    assert rig.caller.statuses() == [100, 183]


@in_virtual_time
async def test_with_early_media_an_agent_with_direct_media_is_relayed(rig: Rig):
    rig.dispatcher._waiting = WaitingSounds(early=True)
    agent = await rig.agent(answering(after=1.0))
    rig.line(agent, parameters=";media=direct")
    rig.dial()
    await asyncio.sleep(2)
    assert b"c=IN IP4 10.0.0.1" in agent.invite.body
    early = next(
        event for event in rig.caller.events if isinstance(event, ProvisionalReceived) and event.response.body
    )
    assert rig.caller.response(200).body == early.response.body


@in_virtual_time
async def test_a_caller_who_holds_hears_nothing(rig: Rig):
    primary, fallback = await rig.agent(answering()), await rig.agent(answering(after=4.0))
    rig.line(primary, fallback)
    leg = rig.dial()
    await asyncio.sleep(1)
    leg.reinvite(rig.caller.sdp(6000, direction="sendonly"))
    await asyncio.sleep(1)
    primary.peer.deaf = True
    leg.reinvite(rig.caller.sdp(6000, direction="sendonly"))  # finds out that the agent is gone
    await asyncio.sleep(38)
    assert fallback.requests("INVITE")
    assert not rig.ports.opened[0].sent


@in_virtual_time
async def test_a_caller_whose_codec_we_do_not_speak_just_rings(rig: Rig):
    rig.dispatcher._waiting = WaitingSounds(early=True)
    agent = await rig.agent(lambda leg: leg.ring())
    rig.line(agent)
    offer = make_offer(CALLER, 6000, session_id=5).replace(b"RTP/AVP 0 8 101", b"RTP/AVP 18")
    rig.dial(body=offer)
    await asyncio.sleep(1)
    assert rig.caller.statuses() == [100, 180]
    assert not rig.ports.opened[0].sent


def test_silence_is_the_noise_of_a_line_and_a_recording_is_itself():
    noise = np.frombuffer(WaitingSounds("silence").sound("US"), np.int16)
    assert 0 < np.abs(noise).max() < 200
    assert WaitingSounds("recording", recording=b"\x01\x00").sound("US") == b"\x01\x00"
    assert WaitingSounds(country="GB").sound("US") == WaitingSounds().sound("GB")
    assert WaitingSounds().sound("US") != WaitingSounds().sound("GB")
