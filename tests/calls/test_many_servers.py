"""An agent whose domain has several servers: a call goes to the next one within the time that one has."""

from __future__ import annotations

import asyncio

import pytest

from gateway.sip.flow import Flow
from routing.models import Agent, Endpoint, Fallback, InboundRouting, PhoneNumber
from tests.calls.rig import NUMBER, Party, Rig, answering, in_virtual_time, refusing
from tests.simulation.peer import PORT

DOMAIN = "agents.example"


def at(rig: Rig, *hosts: str, transport: str = "udp", fallback: Party | None = None) -> None:
    """Route the number to a domain with servers on these hosts."""
    rig.servers[DOMAIN] = [Flow(transport, host, PORT) for host in hosts]
    rig.agents["agt_primary"] = Agent("agt_primary", "Primary", (Endpoint(f"sip:bot@{DOMAIN}"),))
    if fallback is not None:
        url = f"sip:bot@{fallback.host}:{PORT}"
        rig.agents["agt_fallback"] = Agent("agt_fallback", "Fallback", (Endpoint(url),))
    rig.numbers[NUMBER] = PhoneNumber(
        "phn_1",
        NUMBER,
        inbound_routing=InboundRouting(
            agent_id="agt_primary", fallback=Fallback("agt_fallback") if fallback else None
        ),
    )


@pytest.mark.parametrize("trouble", ["silent", "503", "refused"])
@in_virtual_time
async def test_the_next_server_takes_the_call(rig: Rig, trouble: str) -> None:
    first = await rig.agent(refusing(503), started=trouble == "503")
    second = await rig.agent(answering())
    at(rig, first.host, second.host, transport="tcp" if trouble == "refused" else "udp")
    leg = rig.dial()
    await asyncio.sleep(3)
    assert rig.caller.statuses() == [100, 180, 200]
    leg.hangup()
    await asyncio.sleep(1)
    assert rig.record.outcome == "agent"
    answers = [(tried.destination, tried.answer) for tried in rig.record.tried]
    assert len(answers) == 2
    assert answers[0][1].startswith(f"{first.host}: ")
    assert answers[1] == ("agt_primary", "200 OK")
    waited = rig.record.tried[1].seconds
    assert waited < 1.2  # of the two seconds of response_timeout a half, and the answer's delay


@in_virtual_time
async def test_the_next_call_goes_to_the_server_that_worked(rig: Rig) -> None:
    first = await rig.agent(refusing(503))
    second = await rig.agent(answering())
    at(rig, first.host, second.host)
    for expected in (1, 1):
        leg = rig.dial()
        await asyncio.sleep(1)
        leg.hangup()
        await asyncio.sleep(40)
        assert len(first.requests("INVITE")) >= expected
    invites = [message for message in first.requests("INVITE") if message.to_tag is None]
    assert len({message.call_id for message in invites}) == 2  # 40 s later it gets another chance
    leg = rig.dial()
    await asyncio.sleep(1)
    leg.hangup()
    await asyncio.sleep(1)
    leg = rig.dial()
    await asyncio.sleep(1)
    leg.hangup()
    await asyncio.sleep(1)
    invites = [message for message in first.requests("INVITE") if message.to_tag is None]
    assert len({message.call_id for message in invites}) == 3  # at once it does not


@in_virtual_time
async def test_all_of_them_have_the_time_of_one(rig: Rig) -> None:
    silent = [await rig.agent(started=False) for _ in range(4)]
    fallback = await rig.agent(answering())
    at(rig, *(party.host for party in silent), fallback=fallback)
    leg = rig.dial()
    await asyncio.sleep(4)
    leg.hangup()
    await asyncio.sleep(1)
    assert rig.record.outcome == "fallback"
    assert rig.record.tried[-2].answer == "no response in time"
    assert rig.record.tried[-2].seconds == pytest.approx(2.0, abs=0.01)


@in_virtual_time
async def test_a_refusal_of_the_call_is_an_answer(rig: Rig) -> None:
    first = await rig.agent(refusing(486))
    second = await rig.agent(answering())
    at(rig, first.host, second.host)
    rig.dial()
    await asyncio.sleep(1)
    assert not second.requests("INVITE")
    await asyncio.sleep(60)  # voicemail took it, until its caller fell silent
    assert rig.record.tried[0].answer == "486 Busy Here"


@in_virtual_time
async def test_a_caller_who_leaves_ends_the_search(rig: Rig) -> None:
    silent = [await rig.agent(started=False) for _ in range(2)]
    at(rig, *(party.host for party in silent))
    leg = rig.dial()
    await asyncio.sleep(0.5)
    leg.hangup()
    await asyncio.sleep(5)
    assert rig.record.outcome == "abandoned"
    assert len(rig.record.tried) == 1
