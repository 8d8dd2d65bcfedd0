"""An agent that vanishes in the middle of a call: its caller is not dropped."""

from __future__ import annotations

import asyncio

import pytest

from gateway.sip.sdp import SessionDescription, answer_offer, make_offer
from tests.calls.rig import GATEWAY, Rig, answering, in_virtual_time

TWO_LAWS = ["PCMU", "PCMA", "telephone-event"]


def codecs(description: bytes) -> list[str]:
    audio = SessionDescription.parse(description).audio
    assert audio is not None
    return [codec.name for codec in audio.codecs]


def choosing(codec: str):
    """An agent that answers with this codec."""

    def invited(leg) -> None:
        party = leg.listener.__self__
        leg.answer(answer_offer(leg.request.body, party.host, 7000, supported=(codec,), session_id=5).sdp)

    return invited


@in_virtual_time
async def test_silence_of_a_relayed_agent_moves_the_call_to_the_fallback(rig: Rig):
    primary, fallback = await rig.agent(choosing("PCMA")), await rig.agent(answering())
    rig.line(primary, fallback)
    leg = rig.dial()
    await asyncio.sleep(2)
    rig.mute_since[primary.host] = rig.now()
    await asyncio.sleep(6)
    assert codecs(primary.invite.body)[:3] == TWO_LAWS  # the caller's own, then ours
    assert codecs(fallback.invite.body)[:2] == ["PCMA", "telephone-event"]  # what the caller speaks already
    assert primary.kinds()[-1] == "HungUp"
    assert not rig.caller.requests("INVITE")  # the caller notices nothing
    caller_port = rig.ports.opened[0]
    assert not caller_port.closed
    leg.hangup()
    await asyncio.sleep(1)
    assert rig.record.outcome == "fallback_rescued"
    assert [tried.answer for tried in rig.record.tried] == ["200 OK", "agent silent for 5 s", "200 OK"]
    assert fallback.kinds()[-1] == "HungUp"


@in_virtual_time
async def test_an_agent_whose_dialog_is_gone_is_replaced(rig: Rig):
    primary, fallback = await rig.agent(answering()), await rig.agent(answering())
    rig.line(primary, fallback)
    leg = rig.dial()
    await asyncio.sleep(2)
    primary.peer.deaf = True  # its process hangs; the caller's hold finds out
    leg.reinvite(rig.caller.sdp(6000, direction="sendonly"))
    await asyncio.sleep(40)
    assert 491 in rig.caller.statuses()  # "ask again", and then the fallback is held
    assert rig.caller.kinds()[-1] == "ReinviteAnswered"
    assert fallback.kinds()[:2] == ["AckReceived", "ReinviteReceived"]
    leg.hangup()
    await asyncio.sleep(1)
    assert rig.record.outcome == "fallback_rescued"


@in_virtual_time
async def test_a_directly_connected_caller_is_invited_again_to_the_next_agent(rig: Rig):
    primary, fallback = await rig.agent(answering()), await rig.agent(answering())
    rig.line(primary, fallback, parameters=";media=direct")
    leg = rig.dial()
    await asyncio.sleep(2)
    primary.peer.deaf = True
    leg.reinvite(rig.caller.sdp(6000, direction="sendonly"))
    await asyncio.sleep(40)
    (again,) = rig.caller.requests("INVITE")
    audio = SessionDescription.parse(again.body)
    assert audio.audio.rtp_address == (fallback.host, 7000)
    before = SessionDescription.parse(rig.caller.response(200).body).origin
    assert (audio.origin.session_id, int(audio.origin.version)) == (
        before.session_id,
        int(before.version) + 1,
    )
    assert rig.ports.opened == []
    leg.hangup()
    await asyncio.sleep(1)
    assert rig.record.outcome == "fallback_rescued"


@pytest.mark.parametrize("parameters", ["", ";media=direct"])
@in_virtual_time
async def test_voicemail_takes_over_when_no_agent_is_left(rig: Rig, parameters: str):
    primary = await rig.agent(answering())
    rig.line(primary, parameters=parameters)
    leg = rig.dial()
    await asyncio.sleep(2)
    rig.mute_since[primary.host] = rig.now()
    primary.peer.deaf = True
    leg.reinvite(rig.caller.sdp(6000, direction="sendonly"))
    await asyncio.sleep(45)
    leg.hangup()
    await asyncio.sleep(1)
    assert rig.record.outcome == "voicemail_rescued"
    assert len(rig.ports.opened[0].sent) > 10
    assert rig.ports.opened[0].address[0] == GATEWAY
    assert len(rig.caller.requests("INVITE")) == (1 if parameters else 0)


@in_virtual_time
async def test_a_caller_who_refuses_the_new_session_is_not_left_in_the_dark(rig: Rig):
    primary = await rig.agent(answering())
    rig.line(primary, parameters=";media=direct")
    rig.caller.answer_reinvites = False
    leg = rig.dial()
    await asyncio.sleep(2)
    primary.peer.deaf = True
    leg.info("application/dtmf", b"1")
    await asyncio.sleep(70)  # the INFO and then the BYE to the agent time out
    rig.caller.events[-1].leg.refuse_reinvite(488)
    await asyncio.sleep(1)
    assert rig.caller.kinds()[-1] == "HungUp"
    assert rig.record.outcome == "failed_rescued"


@in_virtual_time
async def test_a_caller_who_leaves_during_the_rescue_takes_the_next_attempt_along(rig: Rig):
    primary, fallback = await rig.agent(answering()), await rig.agent(lambda leg: leg.ring())
    rig.line(primary, fallback)
    leg = rig.dial()
    await asyncio.sleep(2)
    rig.mute_since[primary.host] = rig.now()
    await asyncio.sleep(6)
    leg.hangup()
    await asyncio.sleep(1)
    assert fallback.requests("CANCEL")
    assert rig.record.outcome == "abandoned_rescued"


@in_virtual_time
async def test_silence_on_hold_means_nothing(rig: Rig):
    agent = await rig.agent(answering())
    rig.line(agent)
    leg = rig.dial()
    await asyncio.sleep(2)
    leg.reinvite(make_offer(rig.caller.host, 6000, session_id=9, version=9, direction="sendonly"))
    await asyncio.sleep(1)
    rig.mute_since[agent.host] = rig.mute_since[rig.caller.host] = rig.now()
    await asyncio.sleep(60)
    leg.reinvite(make_offer(rig.caller.host, 6000, session_id=9, version=10))
    del rig.mute_since[agent.host], rig.mute_since[rig.caller.host]
    await asyncio.sleep(10)
    leg.hangup()
    await asyncio.sleep(1)
    assert (rig.record.outcome, rig.record.cause) == ("agent", "caller hung up")


@in_virtual_time
async def test_a_caller_who_holds_is_rescued_once_and_not_on_and_on(rig: Rig):
    primary, fallback = await rig.agent(answering()), await rig.agent(answering())
    rig.line(primary, fallback)
    leg = rig.dial()
    await asyncio.sleep(1)
    leg.reinvite(rig.caller.sdp(6000, direction="sendonly"))
    await asyncio.sleep(1)
    primary.peer.deaf = True
    leg.info("application/dtmf", b"1")
    rig.mute_since[primary.host] = rig.mute_since[fallback.host] = rig.now()
    await asyncio.sleep(80)
    assert SessionDescription.parse(fallback.invite.body).audio.direction == "sendonly"
    leg.hangup()
    await asyncio.sleep(1)
    assert rig.record.outcome == "fallback_rescued"  # the fallback may be silent: the caller holds it


@in_virtual_time
async def test_a_caller_of_whom_nothing_is_heard_is_let_go(rig: Rig):
    agent = await rig.agent(answering())
    rig.line(agent)
    rig.dial()
    await asyncio.sleep(2)
    rig.mute_since[rig.caller.host] = rig.now()
    await asyncio.sleep(32)
    assert rig.record.cause == "caller silent for 30 s"
    bye = rig.caller.requests("BYE")[0]
    assert bye.headers.get("Reason") == 'SIP;cause=408;text="caller silent for 30 s"'
    assert agent.kinds()[-1] == "HungUp"
