"""Why somebody left, told to the other side (RFC 3326); and who calls, told to whom it may be (RFC 3323, 3325)."""

from __future__ import annotations

import asyncio
import dataclasses

import pytest

from gateway.admission.caller_verification import Verdict
from gateway.admission.passport import IdentityError
from tests.calls.rig import CALLING, Rig, answering, in_virtual_time

COMPLETED = 'SIP;cause=200;text="Call completed elsewhere"'
CLEARED = 'Q.850;cause=16;text="Normal call clearing"'


@in_virtual_time
async def test_a_callers_cancel(rig: Rig):
    agent = await rig.agent(lambda leg: leg.ring())
    rig.line(agent)
    leg = rig.dial()
    await asyncio.sleep(1)
    leg.hangup((("Reason", COMPLETED),))
    await asyncio.sleep(1)
    assert agent.requests("CANCEL")[0].headers.get("Reason") == COMPLETED
    assert rig.records[-1].reason == COMPLETED


@pytest.mark.parametrize("who", ["caller", "agent"])
@in_virtual_time
async def test_a_goodbye(rig: Rig, who: str):
    agent = await rig.agent(answering())
    rig.line(agent)
    leg = rig.dial()
    await asyncio.sleep(1)
    (leg if who == "caller" else agent.leg).hangup((("Reason", f"{CLEARED};internal=10.0.0.7"),))
    await asyncio.sleep(1)
    other = agent if who == "caller" else rig.caller
    assert other.requests("BYE")[0].headers.get("Reason") == CLEARED
    assert rig.records[-1].reason == CLEARED


@pytest.mark.parametrize("trusted", [True, False])
@pytest.mark.parametrize(
    ("privacy", "shown"), [(None, CALLING), ("none", CALLING), ("id", "anonymous"), ("user;id", "anonymous")]
)
@in_virtual_time
async def test_who_calls(rig: Rig, trusted: bool, privacy: str | None, shown: str):
    agent = await rig.agent(answering())
    trunk = rig.dispatcher._trunk
    rig.dispatcher._trunk = dataclasses.replace(trunk, trusted_hosts=(agent.host,) if trusted else ())
    rig.carrier = dataclasses.replace(rig.carrier, passed_headers=("P-Asserted", "Remote-Party", "Diversion"))
    rig.line(agent)
    headers = [
        ("P-Asserted-Identity", '"Alice" <sip:+14155550177@carrier.invalid>'),
        ("Remote-Party-ID", "<sip:+14155550177@carrier.invalid>"),
        ("Diversion", "<sip:+14155550188@carrier.invalid>;reason=no-answer"),
    ]
    rig.dial(headers=[*headers, *([("Privacy", privacy)] if privacy else [])])
    await asyncio.sleep(1)
    invite = agent.invite
    assert f"<sip:{shown}@" in (invite.headers.get("From") or "").replace("%2B", "+")
    assert invite.headers.get("Diversion") == headers[2][1]
    told = " ".join(value for _, value in invite.headers.items())
    if shown == "anonymous":
        assert CALLING not in told
        assert ("14155550177" in told) is trusted
        assert (invite.headers.get("Privacy") == "id") is trusted
    else:
        assert "Privacy" not in invite.headers
    assert rig.records == []
    rig.caller.events[-1].leg.hangup()
    await asyncio.sleep(1)
    assert rig.records[-1].caller == shown


@in_virtual_time
async def test_what_an_untrusted_carrier_asserts_is_nothing(rig: Rig):
    agent = await rig.agent(answering())
    rig.dispatcher._trunk = dataclasses.replace(rig.dispatcher._trunk, trusted_hosts=(agent.host,))
    rig.carrier = dataclasses.replace(rig.carrier, asserted_identity=False)
    rig.line(agent)
    rig.dial(headers=[("P-Asserted-Identity", "<tel:+14155550177>")])
    await asyncio.sleep(1)
    assert "P-Asserted-Identity" not in agent.invite.headers


class Verifier:
    """Says what it is told to."""

    def __init__(self, verdict: Verdict) -> None:
        self.verdict = verdict
        self.asked: list[tuple[object, ...]] = []

    async def judge(self, *asked: object) -> Verdict:
        self.asked.append(asked)
        return self.verdict


@in_virtual_time
async def test_a_verified_number_is_told_to_the_agent(rig: Rig):
    agent = await rig.agent(answering())
    verifier = rig.dispatcher._planner._verification = Verifier(Verdict("TN-Validation-Passed-A"))
    rig.carrier = dataclasses.replace(rig.carrier, identity="record")
    rig.line(agent)
    rig.dial(headers=[("Identity", "a.b.c;info=<https://x>")])
    await asyncio.sleep(1)
    assert agent.invite.headers.get("X-Verstat") == "TN-Validation-Passed-A"
    assert verifier.asked == [("record", ["a.b.c;info=<https://x>"], CALLING, "+14155550100")]
    rig.caller.events[-1].leg.hangup()
    await asyncio.sleep(1)
    assert rig.records[-1].verstat == "TN-Validation-Passed-A"


@in_virtual_time
async def test_a_number_that_must_be_verified_and_is_not(rig: Rig):
    agent = await rig.agent(answering())
    refusal = IdentityError(428, "Use Identity Header")
    rig.dispatcher._planner._verification = Verifier(Verdict("No-TN-Validation", refusal))
    rig.carrier = dataclasses.replace(rig.carrier, identity="require")
    rig.line(agent)
    rig.dial()
    await asyncio.sleep(1)
    assert rig.caller.statuses() == [100, 428]
    assert agent.legs == []
