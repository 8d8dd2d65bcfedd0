"""Callers and agents without a common codec: who is offered what, who answers what, and what both hear."""

from __future__ import annotations

import asyncio
import contextlib
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.destinations.codec_bridge import carry, spoken_on_leg, widened
from gateway.media import codecs
from gateway.media.codecs import AudioCodec
from gateway.media.rtp import RtpPacket, pack
from gateway.media.tones import tone
from gateway.sip.sdp import Codec, SdpError, SessionDescription, answer_offer, make_offer
from tests.calls.rig import CALLER, Port, Rig, answering, in_virtual_time
from tests.e2e.audio import tone_share

PCMU, G722, EVENTS = (
    Codec(0, "PCMU", 8000),
    Codec(9, "G722", 8000),
    Codec(101, "telephone-event", 8000, 1, "0-15"),
)
G729 = Codec(18, "G729", 8000)
OURS = ["PCMU/8000", "PCMA/8000", "G722/8000", "L16/16000", "L16/8000", "OPUS/48000/2"]


def keys(description: bytes) -> list[str]:
    audio = SessionDescription.parse(description).audio
    assert audio is not None
    return [codec.key for codec in audio.codecs]


def voices(description: bytes) -> list[str]:
    return [key for key in keys(description) if not key.startswith("TELEPHONE")]


def numbers(description: bytes) -> dict[str, int]:
    audio = SessionDescription.parse(description).audio
    assert audio is not None
    return {codec.key: codec.payload_type for codec in audio.codecs}


def speaking(codec: str, after: float = 0.1):
    """An agent that speaks nothing else."""

    def invited(leg) -> None:
        party = leg.listener.__self__
        party.listen_for = codec
        body = answer_offer(leg.request.body, party.host, 7000, supported=(codec,), session_id=5).sdp
        asyncio.get_running_loop().call_later(after, lambda: leg.answer(body))

    return invited


class Speaker:
    """Says a tone into one of our ports, as its peer would."""

    def __init__(self, port: Port, codec: AudioCodec, payload_type: int) -> None:
        self.port, self.codec, self.payload_type = port, codec, payload_type
        self.number = 0

    def say(self, hertz: float, seconds: float = 0.5) -> None:
        for frame in self.codec.frames(tone((hertz,), seconds, -10.0)):
            self.send(self.payload_type, frame)

    def send(self, payload_type: int, payload: bytes) -> None:
        timestamp = self.number * self.codec.frame_units
        self.port.sink(pack(payload_type, self.number & 0xFFFF, timestamp, 0x51, payload))
        self.number += 1


def heard(port: Port, codec: AudioCodec, payload_type: int, since: int = 0) -> np.ndarray:
    decode = codec.decoder(8000).decode
    packets = [RtpPacket.parse(data) for _, data in port.sent[since:]]
    sound = b"".join(decode(packet.payload) for packet in packets if packet.payload_type == payload_type)
    return np.frombuffer(sound, np.int16)


@pytest.mark.parametrize(
    ("key", "codec"),
    [
        ("L16/16000", codecs.L16_16000),
        ("L16/8000", codecs.L16_8000),
        ("G722/8000", codecs.G722),
        ("OPUS/48000/2", codecs.OPUS),
    ],
)
@in_virtual_time
async def test_an_agent_of_another_codec_and_the_caller_hear_each_other(
    rig: Rig, key: str, codec: AudioCodec
):
    agent = await rig.agent(speaking(key))
    rig.line(agent)
    leg = rig.dial()
    await asyncio.sleep(1)
    assert voices(agent.invite.body) == OURS  # the caller's two first
    assert keys(rig.caller.response(200).body) == ["PCMU/8000", "TELEPHONE-EVENT/8000"]
    caller_port, agent_port = rig.ports.opened
    number = numbers(agent.invite.body)[key]
    Speaker(caller_port, codecs.PCMU, 0).say(1000)
    assert tone_share(heard(agent_port, codec, number)[800:], 1000) > 0.95
    Speaker(agent_port, codec, number).say(600)
    assert tone_share(heard(caller_port, codecs.PCMU, 0)[800:], 600) > 0.95
    leg.hangup()
    await asyncio.sleep(1)
    assert rig.record.outcome == "agent"
    assert caller_port.stats.codec == "PCMU"
    assert agent_port.stats.codec == key.split("/")[0]


@in_virtual_time
async def test_with_a_common_codec_packets_pass_untouched(rig: Rig):
    agent = await rig.agent(answering())
    rig.line(agent)
    rig.dial()
    await asyncio.sleep(1)
    caller_port, agent_port = rig.ports.opened
    packet = pack(0, 7, 8, 9, b"whatever it is")
    caller_port.sink(packet)
    agent_port.sink(packet)
    agent_port.sink(packet)
    assert [data for _, data in agent_port.sent] == [packet]
    assert [data for _, data in caller_port.sent] == [packet, packet]
    assert caller_port.sink == agent_port.send
    assert agent_port.sink == caller_port.send


@in_virtual_time
async def test_a_rescue_to_an_agent_of_another_codec_leaves_the_caller_as_it_was(rig: Rig):
    primary, fallback = await rig.agent(answering()), await rig.agent(speaking("L16/16000", after=3.0))
    rig.line(primary, fallback)
    leg = rig.dial()
    await asyncio.sleep(2)
    rig.mute_since[primary.host] = rig.now()
    await asyncio.sleep(10)
    assert not rig.caller.requests("INVITE")
    assert voices(fallback.invite.body)[0] == "PCMU/8000"
    caller_port, agent_port = rig.ports.opened[0], rig.ports.opened[2]
    number = numbers(fallback.invite.body)["L16/16000"]
    Speaker(caller_port, codecs.PCMU, 0).say(1000)
    assert tone_share(heard(agent_port, codecs.L16_16000, number)[800:], 1000) > 0.95
    before = len(caller_port.sent)
    Speaker(agent_port, codecs.L16_16000, number).say(600)
    assert tone_share(heard(caller_port, codecs.PCMU, 0, before)[800:], 600) > 0.95
    leg.hangup()
    await asyncio.sleep(1)
    assert rig.record.outcome == "fallback_rescued"


@in_virtual_time
async def test_keys_reach_the_agent_in_its_own_clock(rig: Rig):
    agent = await rig.agent(speaking("L16/16000"))
    rig.line(agent)
    rig.dial()
    await asyncio.sleep(1)
    caller_port, agent_port = rig.ports.opened
    speaker = Speaker(caller_port, codecs.PCMU, 0)
    speaker.say(1000, 0.04)
    speaker.send(101, struct.pack("!BBH", 5, 0x80, 800))
    event = RtpPacket.parse(agent_port.sent[-1][1])
    assert event.payload_type == numbers(agent.invite.body)["TELEPHONE-EVENT/16000"]
    assert struct.unpack("!BBH", event.payload) == (5, 0x80, 1600)


@in_virtual_time
async def test_a_hold_goes_across_and_the_streams_go_on(rig: Rig):
    agent = await rig.agent(speaking("L16/16000"))
    agent.answer_to = lambda offer, port=7000: (
        answer_offer(offer, agent.host, port, supported=("L16/16000",), session_id=5, version=9).sdp
    )
    rig.line(agent)
    leg = rig.dial()
    await asyncio.sleep(1)
    caller_port, agent_port = rig.ports.opened
    number = numbers(agent.invite.body)["L16/16000"]
    Speaker(caller_port, codecs.PCMU, 0).say(1000, 0.1)
    leg.reinvite(rig.caller.sdp(6000, direction="sendonly"))
    await asyncio.sleep(1)
    asked = agent.requests("INVITE")[-1]
    assert voices(asked.body) == OURS
    assert b"a=sendonly" in asked.body
    answer = rig.caller.events[-1].response.body
    assert keys(answer) == ["PCMU/8000", "TELEPHONE-EVENT/8000"]
    assert b"a=recvonly" in answer
    Speaker(caller_port, codecs.PCMU, 0).say(1000, 0.1)
    sources = {RtpPacket.parse(data).ssrc for _, data in agent_port.sent}
    assert len(sources) == 1
    assert number == numbers(asked.body)["L16/16000"]


@in_virtual_time
async def test_an_agent_may_change_to_a_codec_that_the_caller_does_not_speak(rig: Rig):
    agent = await rig.agent(answering())
    rig.line(agent)
    rig.dial()
    await asyncio.sleep(1)
    caller_port, agent_port = rig.ports.opened
    agent.leg.reinvite(agent.sdp(7004, codecs=(Codec(97, "L16", 16000),)))
    await asyncio.sleep(1)
    (asked,) = rig.caller.requests("INVITE")
    assert voices(asked.body)[:2] == ["PCMU/8000", "L16/16000"]  # the codec in use stands first
    assert keys(agent.events[-1].response.body) == ["L16/16000"]
    Speaker(caller_port, codecs.PCMU, 0).say(1000)
    assert tone_share(heard(agent_port, codecs.L16_16000, 97)[800:], 1000) > 0.95


@in_virtual_time
async def test_a_caller_without_an_offer_gets_one_of_both_sides(rig: Rig):
    agent = await rig.agent(speaking("L16/16000"))
    rig.line(agent)
    rig.dial(body=b"")
    await asyncio.sleep(1)
    assert voices(rig.caller.response(200).body)[:3] == ["L16/16000", "PCMU/8000", "PCMA/8000"]
    caller_port, agent_port = rig.ports.opened
    number = numbers(agent.invite.body)["L16/16000"]
    Speaker(caller_port, codecs.PCMU, 0).say(1000)
    assert tone_share(heard(agent_port, codecs.L16_16000, number)[800:], 1000) > 0.95


@in_virtual_time
async def test_what_we_cannot_decode_passes_as_it_is(rig: Rig):
    agent = await rig.agent()
    rig.line(agent)
    rig.dial(body=make_offer(CALLER, 6000, (G729, EVENTS), session_id=5))
    await asyncio.sleep(1)
    assert keys(agent.invite.body) == ["G729/8000", "TELEPHONE-EVENT/8000"]


@in_virtual_time
async def test_an_answer_that_nobody_asked_for_is_no_answer(rig: Rig):
    def foreign(leg) -> None:
        leg.answer(make_offer("10.1.0.1", 7000, (G729,), session_id=5))

    agent, fallback = await rig.agent(foreign), await rig.agent(answering())
    rig.line(agent, fallback)
    rig.dial()
    await asyncio.sleep(2)
    assert keys(rig.caller.response(200).body) == ["PCMU/8000", "TELEPHONE-EVENT/8000"]
    assert rig.registry
    assert "G729/8000 was not offered" in next(iter(rig.registry)).tried[0].answer


def offer(*offered: Codec) -> bytes:
    return make_offer("192.0.2.1", 4000, offered, session_id=1)


def test_payload_types_that_the_offer_uses_are_left_to_it() -> None:
    mine = Codec(9, "speex", 16000), Codec(96, "iLBC", 8000), PCMU, EVENTS
    wide = widened(offer(*mine))
    audio = SessionDescription.parse(wide).audio
    assert audio is not None
    assert [codec.payload_type for codec in audio.codecs[:4]] == [9, 96, 0, 101]
    assert len({codec.payload_type for codec in audio.codecs}) == len(audio.codecs)
    assert audio.codecs[:4] == list(SessionDescription.parse(offer(*mine)).audio.codecs)  # type: ignore[union-attr]


def test_keys_are_offered_at_every_clock_or_at_none() -> None:
    assert [key for key in keys(widened(offer(PCMU, EVENTS))) if key.startswith("TELEPHONE")] == [
        "TELEPHONE-EVENT/8000", "TELEPHONE-EVENT/16000", "TELEPHONE-EVENT/48000",
    ]  # fmt: skip
    assert not [key for key in keys(widened(offer(PCMU))) if key.startswith("TELEPHONE")]


def test_stereo_is_not_ours() -> None:
    stereo = offer(Codec(96, "L16", 16000, 2))
    assert widened(stereo) == stereo


def test_an_answer_of_both_kinds_is_cut_down_to_what_was_asked() -> None:
    asked = offer(PCMU, EVENTS)
    answer = offer(PCMU, G722, EVENTS)
    assert voices(carry(asked, answer).description) == ["PCMU/8000"]
    assert carry(asked, offer(PCMU, EVENTS)).description == offer(PCMU, EVENTS)


def test_without_keys_on_the_agents_side_the_caller_is_told_so() -> None:
    """Its carrier sends tones then, and those go across."""
    assert keys(carry(offer(PCMU, EVENTS), offer(G722)).description) == ["PCMU/8000"]


def test_nothing_in_common_is_nothing_spoken() -> None:
    assert spoken_on_leg(offer(PCMU), offer(G722), offer(G722)) is None
    with pytest.raises(SdpError):
        spoken_on_leg(b"", offer(G722), offer(G722))


CODECS = st.builds(
    Codec,
    st.integers(0, 127),
    st.sampled_from(["PCMU", "pcma", "G722", "L16", "opus", "G729", "CN", "telephone-event"]),
    st.sampled_from([8000, 16000, 48000]),
    st.integers(1, 2),
)
OFFERS = st.lists(CODECS, min_size=1, max_size=8, unique_by=lambda codec: codec.payload_type).map(
    lambda offered: offer(*offered)
)


@given(OFFERS, st.none() | CODECS)
def test_whatever_is_offered_keeps_its_order_and_every_payload_type_means_one_codec(
    asked: bytes, agreed: Codec | None
) -> None:
    wide = SessionDescription.parse(widened(asked, agreed)).audio
    own = SessionDescription.parse(asked).audio
    assert wide is not None
    assert own is not None
    assert len(set(wide.formats)) == len(wide.formats)
    assert [codec for codec in wide.codecs if codec in own.codecs] == own.codecs
    assert len(wide.codecs) <= len(own.codecs) + 10


@given(OFFERS, OFFERS)
def test_an_answer_holds_nothing_that_was_not_offered(asked: bytes, answer: bytes) -> None:
    wide = widened(asked)
    try:
        carried = carry(asked, answer).description
        spoken_on_leg(wide, answer, answer)
    except SdpError:
        return
    if wide != asked:
        assert set(keys(carried)) <= set(keys(asked))
        assert voices(carried)


@given(st.binary(max_size=200), st.binary(max_size=200))
def test_what_is_no_description_raises_its_own_error(one: bytes, other: bytes) -> None:
    for attempt in (
        lambda: widened(one), lambda: carry(one, other), lambda: spoken_on_leg(one, other, one)
    ):  # fmt: skip
        with contextlib.suppress(SdpError):
            attempt()
