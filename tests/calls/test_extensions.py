"""Session timers, UPDATE, 100rel and forks, as a whole call sees them."""

from __future__ import annotations

import asyncio

import pytest

from gateway.sip.events import ReinviteAnswered, ReinviteFailed
from gateway.sip.extensions import Extensions
from gateway.sip.flow import Flow
from gateway.sip.inbound_leg import InboundLeg
from gateway.sip.message import Request
from gateway.sip.sdp import SessionDescription
from tests.calls.rig import GATEWAY, Party, Rig, answering, in_virtual_time
from tests.simulation.peer import PORT


def audio(description: bytes):
    found = SessionDescription.parse(description).audio
    assert found is not None
    return found


def ask_for_timers(rig: Rig, seconds: int = 90) -> None:
    rig.sip.user_agent._core.extensions = Extensions(session_expires=seconds)


async def connect(rig: Rig, parameters: str = "") -> tuple[Party, Party, object, InboundLeg]:
    agent = await rig.agent(answering())
    rig.line(agent, parameters=parameters)
    leg = rig.dial()
    await asyncio.sleep(1)
    return rig.caller, agent, leg, agent.leg


@in_virtual_time
async def test_an_agent_that_dies_behind_direct_media_is_found_and_its_caller_rescued(rig: Rig):
    ask_for_timers(rig)
    _, agent, _, _ = await connect(rig, ";media=direct")
    rig.network.vanish(agent.host)
    await asyncio.sleep(60)  # a third of the interval is left
    assert rig.caller.requests("BYE") == []
    await asyncio.sleep(30)
    (record,) = rig.records
    assert record.outcome == "voicemail_rescued"
    assert "agent's session timer expired" in [each.answer for each in record.tried]


@in_virtual_time
async def test_a_caller_that_dies_is_found_and_its_agent_released(rig: Rig):
    ask_for_timers(rig)
    caller, agent, _, _ = await connect(rig, ";media=direct")
    rig.network.vanish(caller.host)
    await asyncio.sleep(44 + 33)
    assert len(agent.requests("BYE")) == 1
    assert rig.records[-1].cause == "caller's session timer expired"


@in_virtual_time
async def test_refreshes_concern_nobody_on_the_other_side(rig: Rig):
    ask_for_timers(rig)
    caller, agent, leg, agent_leg = await connect(rig)
    await asyncio.sleep(50)
    for party in (caller, agent):
        assert len(party.requests("UPDATE")) == 1  # both take it
        assert party.requests("UPDATE")[0].body == b""
    described = rig.caller.invite.body if rig.caller.requests("INVITE") else None
    assert described is None
    leg.reinvite(leg.described)  # a refresh of the caller's, as carriers send it
    agent_leg.reinvite(agent_leg.described)
    await asyncio.sleep(1)
    assert sum(isinstance(event, ReinviteAnswered) for event in caller.events) == 1
    assert sum(isinstance(event, ReinviteAnswered) for event in agent.events) == 1
    assert [each for each in agent.requests("INVITE") if each.to_tag] == []
    assert caller.requests("INVITE") == []


@pytest.mark.parametrize("asker", ["caller", "agent"])
@in_virtual_time
async def test_an_update_is_carried_as_one(rig: Rig, asker: str):
    caller, agent, leg, agent_leg = await connect(rig)
    mine, verb, other = (caller, leg, agent) if asker == "caller" else (agent, agent_leg, caller)
    verb.update(mine.sdp(6100, direction="sendonly"))
    await asyncio.sleep(1)
    (carried,) = other.requests("UPDATE")
    assert audio(carried.body).direction == "sendonly"
    assert audio(carried.body).rtp_address[0] == GATEWAY
    assert audio(mine.events[-1].response.body).direction == "recvonly"


@pytest.mark.parametrize(
    "held",
    [
        lambda sdp: sdp.replace(b"a=sendrecv", b"a=sendonly"),
        lambda sdp: sdp.replace(b"a=sendrecv", b"a=inactive"),
        lambda sdp: sdp.replace(b"c=IN IP4 10.2.0.1", b"c=IN IP4 0.0.0.0"),
        lambda sdp: sdp.replace(b"a=sendrecv\r\n", b"").replace(b"t=0 0", b"t=0 0\r\na=sendonly"),
    ],
    ids=["sendonly", "inactive", "no-address", "session-level"],
)
@in_virtual_time
async def test_every_hold_reaches_the_agent_as_one_and_silence_counts_for_nobody(rig: Rig, held):
    caller, agent, leg, _ = await connect(rig)
    leg.reinvite(held(caller.sdp(6000)))
    await asyncio.sleep(1)
    assert audio(agent.requests("INVITE")[-1].body).direction in {"sendonly", "inactive"}
    rig.mute_since.update({agent.host: rig.now(), caller.host: rig.now()})
    await asyncio.sleep(60)
    assert rig.records == []
    leg.reinvite(caller.sdp(6000))
    await asyncio.sleep(1)
    assert audio(agent.requests("INVITE")[-1].body).direction == "sendrecv"


@in_virtual_time
async def test_t38_is_refused_and_the_call_goes_on(rig: Rig):
    _, _, leg, agent_leg = await connect(rig)
    t38 = b"v=0\r\no=- 1 2 IN IP4 10.1.0.1\r\ns=-\r\nc=IN IP4 10.1.0.1\r\nt=0 0\r\nm=image 6000 udptl t38\r\n"
    for verb in (leg, agent_leg):
        verb.reinvite(t38)
        await asyncio.sleep(1)
    failed = [event for party in rig.parties for event in party.events if isinstance(event, ReinviteFailed)]
    assert [event.status for event in failed] == [488, 488]
    assert rig.records == []


class Forking:
    """An agent's proxy that rings two phones, by hand: two To tags on one INVITE."""

    def __init__(self, party: Party, *, reliable: bool) -> None:
        self.party = party
        self.reliable = reliable
        self._sent = 0

    def respond(self, status: int, tag: str, body: bytes = b"") -> None:
        invite = self.party.invite
        extra = ""
        if self.reliable and status < 200:
            extra = f"Require: 100rel\r\nRSeq: {7}\r\n"
        if body:
            extra += "Content-Type: application/sdp\r\n"
        text = (
            f"SIP/2.0 {status} Whatever\r\nVia: {invite.headers.get('Via')}\r\n"
            f"From: {invite.headers.get('From')}\r\nTo: {invite.headers.get('To')};tag={tag}\r\n"
            f"Call-ID: {invite.call_id}\r\nCSeq: {invite.cseq} INVITE\r\n"
            f"Contact: <sip:{tag}@{self.party.host}:{PORT}>\r\n{extra}Content-Length: {len(body)}\r\n\r\n"
        )
        self.party.peer.send(self.party.peer.flow(GATEWAY, PORT + 1), text.encode() + body)


@pytest.mark.parametrize("reliable", [False, True])
@in_virtual_time
async def test_early_media_of_several_phones_and_the_one_that_answers(rig: Rig, reliable: bool):
    agent = await rig.agent(lambda leg: None)
    rig.line(agent)
    leg = rig.dial()
    await asyncio.sleep(0.5)
    forks = Forking(agent, reliable=reliable)
    for tag, port in (("one", 7010), ("two", 7020)):
        forks.respond(183, tag, agent.answer_to(agent.invite.body, port))
        await asyncio.sleep(0.1)
        assert rig.ports.opened[1].remote == (agent.host, port)
    forks.respond(200, "one", b"" if reliable else agent.answer_to(agent.invite.body, 7010))
    await asyncio.sleep(0.2)
    assert rig.ports.opened[1].remote == (agent.host, 7010)
    assert leg.answered
    assert len(agent.requests("PRACK")) == (2 if reliable else 0)
    forks.respond(200, "two", agent.answer_to(agent.invite.body, 7020))
    await asyncio.sleep(0.2)
    byes = [each for each in agent.requests("BYE") if each.to_tag == "two"]
    assert len(byes) == 1
    assert {each.to_tag for each in agent.requests("ACK")} == {"one", "two"}
    assert rig.records == []


@in_virtual_time
async def test_a_caller_moves_its_confirmed_early_media(rig: Rig):
    """By UPDATE, before anybody has answered; through a relay that concerns nobody but us."""
    agent = await rig.agent(lambda leg: leg.ring(183, body=agent.answer_to(leg.request.body)))
    rig.line(agent)
    caller = rig.caller
    leg = rig.dial(headers=(("Require", "100rel"),))
    await asyncio.sleep(0.5)
    early = next(m for m in caller.messages if getattr(m, "status", 0) == 183)
    assert early.headers.get("RSeq")
    assert caller.statuses("PRACK") == [200]
    dialog = leg._invite.early_dialog(early.to_tag).dialog
    update = dialog.request(
        "UPDATE",
        "z9hG4bKearly",
        headers=(("Contact", f"<sip:x@{caller.host}:{PORT}>"), ("Content-Type", "application/sdp")),
        body=caller.sdp(6200),
    )
    via = leg._core.transactions.via(Flow("udp", GATEWAY, PORT, 1))
    caller.peer.send(caller.peer.flow(GATEWAY, PORT), update.write(via))
    await asyncio.sleep(0.5)
    answer = next(m for m in caller.messages if getattr(m, "status", 0) == 200 and m.cseq_method == "UPDATE")
    assert audio(answer.body).rtp_address[0] == GATEWAY
    assert rig.ports.opened[0].remote == (caller.host, 6200)
    assert not [m for m in agent.messages if isinstance(m, Request) and m.method == "UPDATE"]
    leg.hangup()
