"""The same call twice: every row of the table in `gateway.calls.retries`."""

from __future__ import annotations

import asyncio

import pytest

from gateway.calls.retries import MAX_WAITING, RETENTION
from gateway.sip.flow import Flow
from gateway.sip.message import Request, parse_message
from tests.calls.rig import GATEWAY, NUMBER, SECOND, Party, Rig, answering, in_virtual_time, refusing
from tests.simulation.peer import PORT

SAME = (("X-Twilio-CallSid", "CA1"),)


async def second_address(rig: Rig, host: str = SECOND) -> Party:
    party = Party(rig, host)
    await party.peer.start()
    return party


def same_invite_again(rig: Rig, first: bytes, *, cseq: int, sender: Party) -> None:
    """The first INVITE in a new transaction: same Call-ID and From tag, another branch and CSeq."""
    request = parse_message(first)
    lines = [
        (name, f"{cseq} INVITE" if name == "CSeq" else value)
        for name, value in request.headers.items()
        if name not in ("Via", "Content-Length", "Contact")
    ]
    head = f"INVITE {request.uri} SIP/2.0\r\n"
    head += f"Via: SIP/2.0/UDP {sender.host}:{PORT};branch=z9hG4bK{cseq}\r\nContact: <sip:{sender.host}>\r\n"
    head += "".join(f"{name}: {value}\r\n" for name, value in lines)
    data = f"{head}Content-Length: {len(request.body)}\r\n\r\n".encode() + request.body
    sender.peer.send(Flow("udp", GATEWAY, PORT, 1), data)


def acknowledge(rig: Rig, ok, sender: Party) -> None:
    """ACK a 200 by hand."""
    head = f"ACK sip:{GATEWAY}:{PORT} SIP/2.0\r\nVia: SIP/2.0/UDP {sender.host}:{PORT};branch=z9hG4bKack\r\n"
    head += "".join(f"{name}: {ok.headers.get(name)}\r\n" for name in ("From", "To", "Call-ID"))
    head += f"CSeq: {ok.cseq} ACK\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n"
    sender.peer.send(Flow("udp", GATEWAY, PORT, 1), head.encode())


@in_virtual_time
async def test_a_call_is_known_to_a_sibling_that_has_read_its_retry(rig: Rig):
    """Of workers; see `gateway.workers.steering`."""
    agent = await rig.agent(answering())
    rig.line(agent)
    sent: list[bytes] = []
    rig.network.taps.append(lambda source, target, data: sent.append(data))
    rig.dial(headers=SAME)
    await asyncio.sleep(1)
    again, other = parse_message(sent[0]), parse_message(sent[0].replace(b"CA1", b"CA2"))
    assert isinstance(again, Request)
    assert isinstance(other, Request)
    assert rig.dispatcher.knows(again, [rig.carrier])
    assert not rig.dispatcher.knows(other, [rig.carrier])
    assert not rig.dispatcher.knows(again, [])


@in_virtual_time
async def test_a_refusal_is_repeated_without_running_the_plan_again(rig: Rig):
    agent = await rig.agent(refusing(486))
    rig.line(agent, voicemail=False)
    rig.dial(headers=SAME)
    await asyncio.sleep(1)
    second = await second_address(rig)
    rig.dial(headers=SAME, party=second)
    await asyncio.sleep(1)
    assert second.statuses() == [100, 480]
    assert second.response(480).headers.get("Reason") == rig.caller.response(480).headers.get("Reason")
    assert len(agent.requests("INVITE")) == 1
    assert len(rig.records) == 1


@in_virtual_time
async def test_a_retry_waits_for_the_answer_of_the_first_with_its_own_180(rig: Rig):
    def slow(leg) -> None:
        leg.ring()
        asyncio.get_running_loop().call_later(2, leg.refuse, 486)

    agent = await rig.agent(slow)
    rig.line(agent, voicemail=False)
    rig.dial(headers=SAME)
    await asyncio.sleep(1)
    second = await second_address(rig)
    rig.dial(headers=SAME, party=second)
    await asyncio.sleep(0.5)
    assert second.statuses() == [100, 180]
    await asyncio.sleep(2)
    assert second.statuses() == [100, 180, 480]
    assert rig.caller.statuses() == [100, 180, 480]
    assert len(agent.requests("INVITE")) == 1


@pytest.mark.parametrize("when", ["before", "after"])
@in_virtual_time
async def test_an_answered_call_under_another_call_id_is_482(rig: Rig, when: str):
    agent = await rig.agent(answering(1.0))
    rig.line(agent)
    leg = rig.dial(headers=SAME)
    await asyncio.sleep(0.5 if when == "before" else 2)
    second = await second_address(rig)
    rig.dial(headers=SAME, party=second)
    await asyncio.sleep(2)
    assert second.statuses()[-1] == 482
    assert second.response(482).headers.get("Reason") == 'SIP;cause=482;text="this call was answered already"'
    leg.hangup()
    await asyncio.sleep(1)
    assert rig.record.cause == "caller hung up"


@pytest.mark.parametrize("when", ["before", "after"])
@in_virtual_time
async def test_the_same_call_id_and_tag_gets_the_same_200_and_takes_the_call_over(rig: Rig, when: str):
    agent = await rig.agent(answering(1.0))
    rig.line(agent)
    heard: list[bytes] = []
    rig.network.taps.append(lambda source, target, data: heard.append(data))
    rig.dial(headers=SAME)
    await asyncio.sleep(0.5 if when == "before" else 2)
    first = next(data for data in heard if data.startswith(b"INVITE"))
    second = await second_address(rig)
    same_invite_again(rig, first, cseq=2, sender=second)
    await asyncio.sleep(2)
    ok = second.response(200)
    assert ok.body == rig.caller.response(200).body
    assert len(agent.requests("INVITE")) == 1
    acknowledge(rig, ok, second)
    await asyncio.sleep(1)
    assert rig.caller.kinds()[-1] == "HungUp"  # the first leg
    assert not rig.records
    agent.leg.hangup()
    await asyncio.sleep(1)
    assert second.requests("BYE")
    assert rig.record.cause == "agent hung up"


@in_virtual_time
async def test_who_changes_the_session_while_the_caller_is_taken_over_may_ask_again(rig: Rig):
    agent = await rig.agent(answering(0.1))
    rig.line(agent)
    heard: list[bytes] = []
    rig.network.taps.append(lambda source, target, data: heard.append(data))
    rig.dial(headers=SAME)
    await asyncio.sleep(2)
    first = next(data for data in heard if data.startswith(b"INVITE"))
    rig.caller.answer_reinvites = False
    agent.leg.reinvite(agent.sdp(7100))
    await asyncio.sleep(0.5)
    assert 491 not in agent.statuses()
    second = await second_address(rig)
    same_invite_again(rig, first, cseq=2, sender=second)
    await asyncio.sleep(0.5)
    acknowledge(rig, second.response(200), second)
    await asyncio.sleep(0.5)
    assert agent.statuses()[-1] == 491
    await asyncio.sleep(5)
    assert second.requests("INVITE")  # asked again, as RFC 3261 §14.1 wants


@in_virtual_time
async def test_a_cancelled_call_is_no_answer_and_the_waiting_retry_is_served_anew(rig: Rig):
    agent = await rig.agent(lambda leg: leg.ring())
    rig.line(agent)
    leg = rig.dial(headers=SAME)
    await asyncio.sleep(0.5)
    second = await second_address(rig)
    again = rig.dial(headers=SAME, party=second)
    await asyncio.sleep(0.5)
    assert len(agent.legs) == 1
    leg.hangup()
    await asyncio.sleep(0.5)
    assert len(agent.legs) == 2
    agent.leg.answer(agent.sdp())
    await asyncio.sleep(0.5)
    assert second.statuses() == [100, 180, 200]
    again.hangup()
    await asyncio.sleep(1)
    assert [record.outcome for record in rig.records] == ["abandoned", "agent"]


@in_virtual_time
async def test_a_retry_after_a_cancelled_call_is_a_new_call(rig: Rig):
    agent = await rig.agent(lambda leg: leg.ring())
    rig.line(agent)
    leg = rig.dial(headers=SAME)
    await asyncio.sleep(0.5)
    leg.hangup()
    await asyncio.sleep(0.5)
    rig.dial(headers=SAME, party=await second_address(rig))
    await asyncio.sleep(0.5)
    assert len(agent.legs) == 2


@in_virtual_time
async def test_a_retry_that_is_cancelled_itself_leaves_the_first_alone(rig: Rig):
    agent = await rig.agent(answering(2.0))
    rig.line(agent)
    rig.dial(headers=SAME)
    await asyncio.sleep(0.5)
    second = await second_address(rig)
    again = rig.dial(headers=SAME, party=second)
    await asyncio.sleep(0.5)
    again.hangup()
    await asyncio.sleep(2)
    assert second.statuses() == [100, 180, 487]
    assert rig.caller.statuses() == [100, 180, 200]


@in_virtual_time
async def test_what_is_remembered_is_forgotten_in_time(rig: Rig):
    agent = await rig.agent(refusing(486))
    rig.line(agent, voicemail=False)
    rig.dial(headers=SAME)
    await asyncio.sleep(1 + RETENTION)
    rig.dial(headers=SAME, party=await second_address(rig))
    await asyncio.sleep(1)
    assert len(rig.records) == 2


@in_virtual_time
async def test_a_node_that_had_no_room_serves_the_retry(rig: Rig):
    agent = await rig.agent(answering())
    rig.line(agent)
    rig.limits.max_active_calls = 0
    rig.dial(headers=SAME)
    await asyncio.sleep(1)
    rig.limits.max_active_calls = None
    second = await second_address(rig)
    rig.dial(headers=SAME, party=second)
    await asyncio.sleep(1)
    assert second.statuses()[-1] == 200


@in_virtual_time
async def test_only_so_many_retries_wait(rig: Rig):
    agent = await rig.agent(lambda leg: leg.ring())
    rig.line(agent)
    rig.dial(headers=SAME)
    await asyncio.sleep(0.1)
    parties = [await second_address(rig, f"10.2.1.{number}") for number in range(MAX_WAITING + 1)]
    for party in parties:
        rig.dial(headers=SAME, party=party)
    await asyncio.sleep(0.5)
    assert parties[-1].statuses()[-1] == 482
    assert all(party.statuses()[-1] == 180 for party in parties[:-1])


@in_virtual_time
async def test_another_number_is_another_call_whatever_the_carrier_calls_it(rig: Rig):
    agent = await rig.agent(answering())
    rig.line(agent)
    rig.dial(headers=SAME)
    await asyncio.sleep(0.5)
    second = await second_address(rig)
    rig.dial(headers=SAME, party=second, dialled=NUMBER.removesuffix("0") + "9")
    await asyncio.sleep(0.5)
    assert second.statuses() == [100, 404]
