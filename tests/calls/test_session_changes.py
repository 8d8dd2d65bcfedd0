"""Re-INVITE, INFO and early media between the legs, relayed and direct."""

from __future__ import annotations

import asyncio

import pytest

from gateway.sip.events import ReinviteAnswered, ReinviteFailed
from gateway.sip.sdp import SessionDescription
from tests.calls.rig import GATEWAY, Party, Rig, answering, in_virtual_time


def audio(description: bytes):
    found = SessionDescription.parse(description).audio
    assert found is not None
    return found


async def connect(rig: Rig, parameters: str = "") -> tuple[Party, Party, object, object]:
    """Caller and agent, talking: both parties and their legs."""
    agent = await rig.agent(answering())
    rig.line(agent, parameters=parameters)
    leg = rig.dial()
    await asyncio.sleep(1)
    return rig.caller, agent, leg, agent.leg


@pytest.mark.parametrize("asker", ["caller", "agent"])
@pytest.mark.parametrize("parameters", ["", ";media=direct"])
@in_virtual_time
async def test_hold_reaches_the_other_side_and_its_answer_comes_back(rig: Rig, asker: str, parameters: str):
    caller, agent, caller_leg, agent_leg = await connect(rig, parameters)
    mine, leg, other = (caller, caller_leg, agent) if asker == "caller" else (agent, agent_leg, caller)
    offer = mine.sdp(6100, direction="sendonly")
    leg.reinvite(offer)
    await asyncio.sleep(1)
    carried = other.requests("INVITE")[-1].body
    answer = mine.events[-1].response.body
    assert audio(carried).direction == "sendonly"
    assert audio(answer).direction == "recvonly"
    if parameters:
        assert carried == offer
        assert audio(answer).rtp_address == (other.host, 7002)
        assert rig.ports.opened == []
    else:
        assert audio(carried).rtp_address[0] == audio(answer).rtp_address[0] == GATEWAY
        theirs = rig.ports.opened[0 if asker == "caller" else 1]
        assert theirs.remote == (mine.host, 6100)


@in_virtual_time
async def test_a_hold_that_the_agent_answers_wrongly_is_put_right(rig: Rig):
    caller, agent, leg, _ = await connect(rig)
    agent.answer_to = lambda offer, port=7000: agent.sdp(port)
    leg.reinvite(caller.sdp(6000, direction="inactive"))
    await asyncio.sleep(1)
    assert audio(caller.events[-1].response.body).direction == "inactive"


@pytest.mark.parametrize(("status", "told"), [(488, 488), (606, 606), (407, 488)])
@in_virtual_time
async def test_a_refusal_comes_back_and_the_session_stays(rig: Rig, status: int, told: int):
    caller, agent, leg, agent_leg = await connect(rig)
    agent.answer_reinvites = False
    leg.reinvite(caller.sdp(6100))
    await asyncio.sleep(0.5)
    agent_leg.refuse_reinvite(status)
    await asyncio.sleep(0.5)
    failure = caller.events[-1]
    assert isinstance(failure, ReinviteFailed)
    assert failure.status == told
    assert rig.ports.opened[0].remote == (caller.host, 6000)


@in_virtual_time
async def test_an_offer_that_cannot_be_carried_is_488(rig: Rig):
    caller, agent, leg, _ = await connect(rig)
    leg.reinvite(b"v=0\r\no=- 1 2 IN IP4 10.2.0.1\r\ns=-\r\nt=0 0\r\nm=image 6000 udptl t38\r\n")
    await asyncio.sleep(1)
    assert caller.events[-1].status == 488
    assert len(agent.requests("INVITE")) == 1


@in_virtual_time
async def test_both_sides_ask_at_once_and_both_get_their_way_in_the_end(rig: Rig):
    caller, agent, leg, agent_leg = await connect(rig)
    leg.reinvite(caller.sdp(6100))
    agent_leg.reinvite(agent.sdp(7100))
    await asyncio.sleep(10)
    for party in (caller, agent):
        assert any(isinstance(event, ReinviteAnswered) for event in party.events)


@pytest.mark.parametrize("parameters", ["", ";media=direct"])
@in_virtual_time
async def test_a_reinvite_without_an_offer_is_answered_with_the_session_in_force(rig: Rig, parameters: str):
    caller, agent, leg, _ = await connect(rig, parameters)
    shown = caller.response(200).body
    leg.reinvite(b"")
    await asyncio.sleep(1)
    answer = caller.events[-1].response.body
    assert answer == shown
    leg.ack(caller.answer_to(answer, 6200))
    await asyncio.sleep(1)
    if parameters:  # only the agent itself can send to the new address
        assert audio(agent.requests("INVITE")[-1].body).rtp_address == (caller.host, 6200)
    else:
        assert rig.ports.opened[0].remote == (caller.host, 6200)
        assert len(agent.requests("INVITE")) == 1


@pytest.mark.parametrize("parameters", ["", ";media=direct"])
@in_virtual_time
async def test_a_caller_who_leaves_the_offer_to_us(rig: Rig, parameters: str):
    agent = await rig.agent(
        lambda leg: leg.answer(agent.answer_to(leg.request.body) if leg.request.body else agent.sdp(7000))
    )
    rig.line(agent, parameters=parameters)
    leg = rig.dial(body=b"")
    await asyncio.sleep(1)
    assert bool(agent.invite.body) is not bool(parameters)
    offered = audio(rig.caller.response(200).body).rtp_address
    assert offered == ((agent.host, 7000) if parameters else rig.ports.opened[0].address)
    if parameters:
        assert audio(agent.requests("ACK")[-1].body).rtp_address == (rig.caller.host, 6000)
    else:
        assert rig.ports.opened[0].remote == (rig.caller.host, 6000)
    leg.hangup()
    await asyncio.sleep(1)
    assert rig.record.outcome == "agent"


@in_virtual_time
async def test_a_late_offer_that_is_never_answered_ends_the_call(rig: Rig):
    agent = await rig.agent(answering())
    rig.line(agent)
    rig.caller.peer.agent.invite(
        "sip:+14155550100@10.0.0.1:5060",
        rig.caller.peer.flow("10.0.0.1", 5060),
        from_="<sip:+14155550123@10.2.0.1>",
        to="<sip:+14155550100@10.0.0.1>",
        body=b"",
        listener=lambda event: event.leg.ack(b"") if type(event).__name__ == "AnswerReceived" else None,
    )
    await asyncio.sleep(1)
    assert rig.record.cause.startswith("caller acknowledged without a usable answer")
    assert agent.kinds()[-1] == "HungUp"


@in_virtual_time
async def test_dtmf_by_info_passes_both_ways(rig: Rig):
    caller, agent, leg, agent_leg = await connect(rig)
    leg.info("application/dtmf-relay", b"Signal=5\r\nDuration=160\r\n")
    agent_leg.info("application/dtmf", b"7")
    await asyncio.sleep(1)
    heard = agent.requests("INFO")[0]
    assert heard.body == b"Signal=5\r\nDuration=160\r\n"
    assert heard.headers.get("Content-Type") == "application/dtmf-relay"
    assert caller.requests("INFO")[0].body == b"7"


@pytest.mark.parametrize("parameters", ["", ";media=direct"])
@in_virtual_time
async def test_early_media_is_passed_on_and_the_answer_follows(rig: Rig, parameters: str):
    def invited(leg) -> None:
        description = agent.answer_to(leg.request.body)
        leg.ring(183, body=description)
        asyncio.get_running_loop().call_later(1, leg.answer, description)

    agent = await rig.agent(invited)
    rig.line(agent, parameters=parameters)
    rig.dial()
    await asyncio.sleep(2)
    assert rig.caller.statuses() == [100, 180, 183, 200]
    early, final = rig.caller.response(183).body, rig.caller.response(200).body
    assert early == final
    assert audio(early).rtp_address == ((agent.host, 7000) if parameters else rig.ports.opened[0].address)
    if parameters:
        assert rig.caller.sdp is not None
        assert SessionDescription.parse(agent.invite.body).audio.rtp_address == (rig.caller.host, 6000)


@in_virtual_time
async def test_after_early_media_the_next_agent_gets_only_what_was_shown(rig: Rig):
    def early_then_busy(leg) -> None:
        leg.ring(183, body=first.answer_to(leg.request.body))
        asyncio.get_running_loop().call_later(0.5, leg.refuse, 486)

    first, second = await rig.agent(early_then_busy), await rig.agent(answering())
    rig.line(first, second)
    rig.dial()
    await asyncio.sleep(2)
    assert [codec.name for codec in audio(second.invite.body).codecs][:2] == ["PCMU", "telephone-event"]
    assert (
        audio(rig.caller.response(200).body).rtp_address == audio(rig.caller.response(183).body).rtp_address
    )


@in_virtual_time
async def test_a_secure_offer_is_never_answered_in_the_clear(rig: Rig):
    """Not even where audio passes by us."""
    clear, secure = await rig.agent(lambda leg: leg.answer(clear.sdp())), await rig.agent()
    secure._on_invite = lambda leg: leg.answer(secure.sdp().replace(b"RTP/AVP", b"RTP/SAVP"))
    rig.line(clear, secure, parameters=";media=direct")
    rig.dial(body=rig.caller.sdp().replace(b"RTP/AVP", b"RTP/SAVP"))
    await asyncio.sleep(1)
    assert b"RTP/SAVP" in rig.caller.response(200).body
    assert clear.kinds()[-1] == "HungUp"
    assert secure.kinds() == ["AckReceived"]
