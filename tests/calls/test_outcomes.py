"""The product's table, row by row: who gets the call, and what the caller is told."""

from __future__ import annotations

import asyncio

import pytest

from gateway.calls.call import MAX_EVENTS
from gateway.sip.inbound_leg import InboundLeg
from routing.models import PhoneNumber
from tests.calls.rig import (
    CALLER,
    CALLING,
    NUMBER,
    REFUSED,
    SECOND,
    Party,
    Rig,
    answering,
    in_virtual_time,
    refusing,
)
from tests.simulation.peer import PORT


@in_virtual_time
async def test_the_primary_agent_takes_it(rig: Rig):
    agent = await rig.agent(answering())
    rig.line(agent)
    leg = rig.dial()
    await asyncio.sleep(1)
    assert rig.caller.statuses() == [100, 180, 200]
    leg.hangup()
    await asyncio.sleep(1)
    assert rig.record.outcome == "agent"
    assert rig.record.cause == "caller hung up"
    assert agent.kinds() == ["AckReceived", "HungUp"]
    assert [(tried.destination, tried.answer) for tried in rig.record.tried] == [("agt_primary", "200 OK")]
    assert set(rig.record.stages) == {"lookup", "dispatch", "agent_response", "agent_answer", "answer"}


@in_virtual_time
async def test_an_agent_learns_the_numbers_and_nothing_else_of_the_caller(rig: Rig):
    agent = await rig.agent(answering())
    rig.line(agent, headers={"X-Tenant": "acme"})
    rig.dial(
        headers=(
            ("X-Twilio-CallSid", "CA1"),
            ("P-Asserted-Identity", "<sip:+14155550199@10.2.0.1>"),
            ("X-Secret", "of the trunk"),
            ("Subject", "nothing"),
        )
    )
    await asyncio.sleep(1)
    invite = agent.invite
    assert str(invite.from_.uri) == f"sip:{CALLING}@voice.example.com"
    assert invite.headers.get("X-Agent-Id") == "agt_primary"
    assert invite.headers.get("X-Call-Id") == "call-1"
    assert invite.headers.get("X-Dialled-Number") == NUMBER
    assert invite.headers.get("X-Twilio-CallSid") == "CA1"
    assert invite.headers.get("X-Tenant") == "acme"
    assert invite.headers.get("Max-Forwards") == "69"
    wire = invite.to_bytes()
    for leaked in (b"Alice", b"Secret", b"Asserted", b"Subject", CALLER.encode()):
        assert leaked not in wire


@in_virtual_time
async def test_a_withheld_number_stays_withheld(rig: Rig):
    agent = await rig.agent(answering())
    rig.line(agent)
    rig.caller.peer.agent.invite(
        f"sip:{NUMBER}@10.0.0.1:{PORT}",
        rig.caller.peer.flow("10.0.0.1", PORT),
        from_="<sip:anonymous@anonymous.invalid>",
        to="<sip:somebody@10.0.0.1>",
        body=rig.caller.sdp(),
        listener=rig.caller.listen,
    )
    await asyncio.sleep(1)
    assert str(agent.invite.from_.uri) == "sip:anonymous@voice.example.com"


def silent(leg: InboundLeg) -> None:
    leg.listener.__self__.peer.deaf = True


def busy_then_gone(leg: InboundLeg) -> None:
    leg.answer(b"")


REFUSALS = (302, 404, 408, 480, 486, 488, 500, 503, 603)

WAYS_TO_FAIL = {
    **{
        str(status): (refusing(status), f"{status} ")
        for status in (302, 404, 408, 480, 486, 488, 500, 503, 603)
    },
    "silent after 100": (lambda leg: None, "no answer in time"),
    "rings for ever": (lambda leg: leg.ring(), "no answer in time"),
    "no description": (busy_then_gone, "answered without a session description"),
    "port 0": (
        lambda leg: leg.answer(leg.listener.__self__.sdp(0)),
        "answered with an unusable session description",
    ),
}


@pytest.mark.parametrize("way", WAYS_TO_FAIL)
@in_virtual_time
async def test_whatever_the_primary_fails_by_the_fallback_takes_it_at_once(rig: Rig, way: str):
    fails, answer = WAYS_TO_FAIL[way]
    primary, fallback = await rig.agent(fails), await rig.agent(answering())
    rig.line(primary, fallback)
    leg = rig.dial()
    await asyncio.sleep(10)
    assert rig.caller.statuses() == [100, 180, 200]
    leg.hangup()
    await asyncio.sleep(1)
    assert rig.record.outcome == "fallback"
    assert rig.record.tried[0].answer.startswith(answer)
    assert rig.record.tried[1].answer == "200 OK"
    assert 0 <= rig.record.stages["failover"] < 0.001


@in_virtual_time
async def test_an_agent_that_says_nothing_is_left_after_the_response_timeout(rig: Rig):
    primary, fallback = await rig.agent(), await rig.agent(answering())
    primary.peer.deaf = True
    rig.line(primary, fallback)
    rig.dial()
    await asyncio.sleep(1.9)
    assert not fallback.messages
    await asyncio.sleep(0.2)
    assert fallback.requests("INVITE")


@pytest.mark.parametrize("way", ["tcp refused", "unresolvable", "another protocol"])
@in_virtual_time
async def test_an_agent_that_cannot_be_reached_is_left_at_once(rig: Rig, way: str):
    primary, fallback = await rig.agent(started=False), await rig.agent(answering())
    rig.line(primary, fallback)
    url = {
        "tcp refused": f"sip:bot@{primary.host};transport=tcp",
        "unresolvable": "sips:bot@10.1.0.9",
        "another protocol": "wss://bot.example.com/",
    }[way]
    agent = rig.agents["agt_primary"]
    rig.agents["agt_primary"] = type(agent)(agent.id, agent.name, (type(agent.endpoints[0])(url),))
    rig.dial()
    await asyncio.sleep(0.2)
    assert fallback.requests("INVITE")


@in_virtual_time
async def test_another_endpoint_of_the_agent_comes_before_the_fallback(rig: Rig):
    first, second, fallback = await rig.agent(refusing(503)), await rig.agent(answering()), await rig.agent()
    rig.line([first, second], fallback)
    leg = rig.dial()
    await asyncio.sleep(1)
    leg.hangup()
    await asyncio.sleep(1)
    assert rig.record.outcome == "agent"
    assert not fallback.messages


@in_virtual_time
async def test_a_6xx_of_one_endpoint_speaks_for_the_agent(rig: Rig):
    first, second, fallback = await rig.agent(refusing(603)), await rig.agent(), await rig.agent(answering())
    rig.line([first, second], fallback)
    rig.dial()
    await asyncio.sleep(1)
    assert not second.messages
    assert fallback.requests("INVITE")


@in_virtual_time
async def test_a_full_agent_is_passed_over(rig: Rig):
    primary, fallback = await rig.agent(answering()), await rig.agent(answering())
    rig.line(primary, fallback, max_calls=1)
    rig.dial()
    await asyncio.sleep(1)
    other = Party(rig, SECOND)
    await other.peer.start()
    rig.dial(party=other)
    await asyncio.sleep(1)
    assert len(primary.requests("INVITE")) == len(fallback.requests("INVITE")) == 1


@in_virtual_time
async def test_failures_are_remembered_and_the_next_caller_does_not_wait_for_them(rig: Rig):
    primary, fallback = await rig.agent(), await rig.agent(answering())
    primary.peer.deaf = True
    rig.line(primary, fallback)
    for _ in range(3):
        leg = rig.dial()
        await asyncio.sleep(3)
        leg.hangup()
        await asyncio.sleep(1)
    rig.dial()
    await asyncio.sleep(0.1)
    assert len([m for m in fallback.requests("INVITE") if m.to_tag is None]) == 4


@in_virtual_time
async def test_nobody_left_and_no_voicemail_is_480_with_its_reason(rig: Rig):
    primary, fallback = await rig.agent(refusing(503)), await rig.agent(refusing(486))
    rig.line(primary, fallback, voicemail=False)
    rig.dial()
    await asyncio.sleep(1)
    assert rig.caller.statuses() == [100, 180, 480]
    assert rig.caller.response(480).headers.get("Reason") == 'SIP;cause=480;text="nobody took the call"'
    assert (rig.record.outcome, rig.record.status) == ("failed", 480)


@pytest.mark.parametrize(
    ("number", "dialled", "reason"),
    [
        (None, NUMBER, "number not known"),
        (PhoneNumber("phn_1", NUMBER), NUMBER, "number is outbound-only"),
        (PhoneNumber("phn_1", NUMBER, status="inactive"), NUMBER, "number inactive"),
        (None, "operator", "not a telephone number"),
    ],
)
@in_virtual_time
async def test_a_number_that_takes_no_calls_is_404_before_any_180(rig: Rig, number, dialled, reason):
    if number is not None:
        rig.numbers[NUMBER] = number
    rig.dial(dialled=dialled)
    await asyncio.sleep(1)
    assert rig.caller.statuses() == [100, 404]
    assert rig.caller.response(404).headers.get("Reason") == f'SIP;cause=404;text="{reason}"'
    assert (rig.record.outcome, rig.record.cause) == ("refused", reason)


@pytest.mark.parametrize("calling", [REFUSED, REFUSED.removeprefix("+")])
@in_virtual_time
async def test_a_caller_refused_by_policy_gets_603_so_that_the_carrier_stops(rig: Rig, calling: str):
    agent = await rig.agent(answering())
    rig.line(agent)
    rig.dial(calling=calling)
    await asyncio.sleep(1)
    assert rig.caller.statuses() == [100, 603]
    assert rig.caller.response(603).headers.get("Reason") == 'SIP;cause=603;text="caller refused"'
    assert (rig.record.outcome, rig.record.cause) == ("refused", "caller refused")
    assert agent.kinds() == []


@pytest.mark.parametrize("state", ["no ports", "draining", "no routes", "full"])
@in_virtual_time
async def test_a_node_that_takes_no_calls_says_503_before_any_180_and_when_to_come_back(rig: Rig, state: str):
    rig.line(await rig.agent(answering()))
    match state:
        case "no ports":
            rig.ports.left = 0
        case "draining":
            rig.limits.draining = True
        case "no routes":
            rig.limits.routes_loaded = False
        case "full":
            rig.limits.max_active_calls = 0
    rig.dial()
    await asyncio.sleep(1)
    assert rig.caller.statuses() == [100, 503]
    assert int(rig.caller.response(503).headers.get("Retry-After")) > 0
    assert rig.caller.response(503).headers.get("Reason").startswith("SIP;cause=503")
    assert (rig.record.outcome, rig.record.status) == ("refused", 503)


@in_virtual_time
async def test_a_caller_who_cancels_takes_every_attempt_along(rig: Rig):
    agent = await rig.agent(lambda leg: leg.ring())
    rig.line(agent)
    leg = rig.dial()
    await asyncio.sleep(1)
    leg.hangup()
    await asyncio.sleep(1)
    assert rig.caller.statuses() == [100, 180, 487]
    assert agent.requests("CANCEL")
    assert (rig.record.outcome, rig.record.cause, rig.record.status) == ("abandoned", "caller cancelled", 487)


@in_virtual_time
async def test_an_agents_goodbye_ends_the_call(rig: Rig):
    agent = await rig.agent(answering())
    rig.line(agent)
    rig.dial()
    await asyncio.sleep(1)
    agent.leg.hangup()
    await asyncio.sleep(1)
    assert rig.caller.kinds()[-1] == "HungUp"
    assert (rig.record.outcome, rig.record.cause) == ("agent", "agent hung up")


@in_virtual_time
async def test_no_call_lasts_for_ever(rig: Rig):
    agent = await rig.agent(answering())
    rig.line(agent, parameters=";media=direct")
    rig.dial()
    await asyncio.sleep(110)
    assert rig.record.cause == "longer than 100 s"
    assert rig.caller.kinds()[-1] == agent.kinds()[-1] == "HungUp"


@in_virtual_time
async def test_a_flood_within_the_dialog_ends_that_call_and_no_memory_grows(rig: Rig):
    agent = await rig.agent(answering())
    rig.line(agent)
    leg = rig.dial()
    await asyncio.sleep(1)
    [call] = rig.registry
    for number in range(MAX_EVENTS + 1):
        call.deliver(number)
    await asyncio.sleep(1)
    assert leg.ended
    assert rig.record.cause == "too many events at once"
    assert agent.kinds()[-1] == "HungUp"


@in_virtual_time
async def test_the_record_tells_how_each_leg_did(rig: Rig):
    agent = await rig.agent(answering())
    rig.line(agent)
    leg = rig.dial()
    await asyncio.sleep(1)
    caller_port, agent_port = rig.ports.opened
    caller_port.stats.packets_in, agent_port.stats.packets_in = 50, 40
    agent_port.stats.measured_round_trip(0.05)
    leg.hangup()
    await asyncio.sleep(1)
    legs = {each.leg: each for each in rig.record.legs}
    assert list(legs) == ["agt_primary", "caller"]
    assert (legs["caller"].codec, legs["caller"].packets_in, legs["caller"].round_trip) == ("PCMU", 50, None)
    assert (legs["agt_primary"].packets_in, legs["agt_primary"].round_trip) == (40, 0.05)
    assert legs["agt_primary"].mos == pytest.approx(4.4, abs=0.05)
