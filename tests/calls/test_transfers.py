"""An agent sends its caller on by REFER: to another agent, a number or a SIP URI, and what becomes of that."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from gateway.calls.transfers import TransferRules
from gateway.destinations.remote_control import Target
from gateway.destinations.transfers import Refused
from gateway.sip.headers import NameAddr
from gateway.sip.inbound_leg import InboundLeg
from gateway.sip.message import Headers, Request, Response
from gateway.sip.sdp import SessionDescription
from routing.models import Agent, Endpoint, PhoneNumber
from tests.calls.rig import CALLER, NUMBER, Party, Rig, answering, in_virtual_time
from tests.simulation.peer import PORT


def refer(leg: InboundLeg, target: str, *headers: tuple[str, str]) -> list[Response]:
    """Send REFER; its responses come into the list."""
    responses: list[Response] = []
    leg._request("REFER", (("Refer-To", target), *headers), b"", responses.append, lambda cause: None)
    return responses


def news(party: Party) -> list[tuple[str, str]]:
    """What the NOTIFYs said: the status line, and the subscription's state."""
    return [
        (each.body.decode().strip(), (each.headers.get("Subscription-State") or "").partition(";")[0])
        for each in party.requests("NOTIFY")
    ]


def refusing(status: int) -> Callable[[InboundLeg], None]:
    return lambda leg: leg.refuse(status)


async def talking(rig: Rig, other: Callable[[InboundLeg], None] | None = None) -> tuple[Party, Party]:
    """The agent that has the caller, and another one, `agt_second`."""
    first, second = await rig.agent(answering()), await rig.agent(other or answering())
    rig.line(first)
    rig.agents["agt_second"] = Agent("agt_second", "second", (Endpoint(f"sip:bot@{second.host}:{PORT}"),))
    rig.dial()
    await asyncio.sleep(1)
    return first, second


@pytest.mark.parametrize("how", ["agent", "number", "tel", "endpoint"])
@in_virtual_time
async def test_to_whoever_is_ours(rig: Rig, how: str):
    first, second = await talking(rig)
    rig.numbers["+14155550199"] = PhoneNumber(
        "phn_2", "+14155550199", agent_id="agt_second", inbound_routing=rig.numbers[NUMBER].inbound_routing
    )
    rig.agents["agt_primary"] = (
        rig.agents["agt_second"] if how in {"number", "tel"} else rig.agents["agt_primary"]
    )
    target = {
        "agent": "<sip:agt_second@voice.example.invalid>",
        "number": "<sip:+14155550199@10.0.0.1>",
        "tel": "<tel:+14155550199>",
        "endpoint": f"<sip:bot@{second.host}:{PORT}>",
    }[how]
    responses = refer(first.leg, target)
    await asyncio.sleep(1)
    assert [each.status for each in responses] == [202]
    assert news(first) == [("SIP/2.0 100 Trying", "active"), ("SIP/2.0 200 OK", "terminated")]
    assert len(first.requests("BYE")) == 1
    assert second.leg.answered
    assert rig.caller.requests("INVITE") == []  # the caller notices nothing but another voice
    assert rig.caller.requests("BYE") == []
    rig.caller.events[-1].leg.hangup()
    await asyncio.sleep(1)
    assert len(second.requests("BYE")) == 1
    (record,) = rig.records
    assert (record.outcome, record.transfers, rig.transfers) == ("agent", ["completed"], ["completed"])


@in_virtual_time
async def test_nobody_takes_it_and_the_agent_goes_on(rig: Rig):
    first, second = await talking(rig, refusing(486))
    refer(first.leg, "<sip:agt_second@x>")
    await asyncio.sleep(1)
    assert news(first)[-1] == ("SIP/2.0 486 Busy Here", "terminated")
    assert first.requests("BYE") == []
    assert len(second.legs) == 1
    ports = rig.ports.opened
    assert (ports[0].sink, ports[1].sink) == (ports[1].send, ports[0].send)  # joined again
    first.leg.hangup()
    await asyncio.sleep(1)
    (record,) = rig.records
    assert (record.outcome, record.cause, record.transfers) == ("agent", "agent hung up", ["returned"])


@in_virtual_time
async def test_again_after_a_failure(rig: Rig):
    first, _ = await talking(rig, refusing(486))
    refer(first.leg, "<sip:agt_second@x>")
    await asyncio.sleep(1)
    third = await rig.agent(answering())
    rig.agents["agt_third"] = Agent("agt_third", "third", (Endpoint(f"sip:bot@{third.host}:{PORT}"),))
    refer(first.leg, "<sip:agt_third@x>")
    await asyncio.sleep(1)
    notifies = first.requests("NOTIFY")
    assert [each.headers.get("Event") for each in notifies[:2]] == ["refer", "refer"]
    assert (notifies[2].headers.get("Event") or "").startswith("refer;id=")
    assert third.leg.answered
    assert rig.transfers == ["returned", "completed"]


@in_virtual_time
async def test_an_agent_that_leaves_at_once_does_not_end_the_call(rig: Rig):
    first, second = await talking(rig)
    refer(first.leg, "<sip:agt_second@x>")
    first.leg.hangup()
    await asyncio.sleep(1)
    assert second.leg.answered
    assert rig.caller.requests("BYE") == []
    assert rig.transfers == ["completed"]


@in_virtual_time
async def test_nobody_takes_it_and_the_agent_has_left(rig: Rig):
    first, _ = await talking(rig, lambda leg: leg.ring())
    refer(first.leg, "<sip:agt_second@x>")
    await asyncio.sleep(0.1)
    first.leg.hangup()
    await asyncio.sleep(30)
    assert rig.transfers == ["failed"]
    assert rig.records[-1].outcome.startswith("voicemail")  # the rest of the plan


@in_virtual_time
async def test_the_caller_hears_ringing_and_may_leave(rig: Rig):
    first, second = await talking(rig, lambda leg: leg.ring())
    refer(first.leg, "<sip:agt_second@x>")
    await asyncio.sleep(2)
    assert len(rig.ports.opened[0].sent) > 50  # the waiting sound
    rig.caller.events[-1].leg.hangup()
    await asyncio.sleep(1)
    assert len(first.requests("BYE")) == 1
    assert second.requests("CANCEL")
    assert news(first)[-1][0].startswith("SIP/2.0 487")
    assert rig.transfers == ["abandoned"]


@in_virtual_time
async def test_a_caller_on_hold_is_taken_off_it(rig: Rig):
    first, second = await talking(rig)
    first.leg.reinvite(first.sdp(7000, direction="sendonly"))
    await asyncio.sleep(1)
    refer(first.leg, "<sip:agt_second@x>")
    await asyncio.sleep(1)
    offered = SessionDescription.parse(second.invite.body).audio
    assert offered is not None
    assert offered.direction == "sendrecv"
    told = SessionDescription.parse(rig.caller.requests("INVITE")[-1].body).audio
    assert told is not None
    assert told.direction == "sendrecv"


@in_virtual_time
async def test_an_attended_transfer_names_the_dialog_to_replace(rig: Rig):
    first, second = await talking(rig)
    refer(
        first.leg,
        f"<sip:bot@{second.host}:{PORT}?Replaces=abc%40x%3Bto-tag%3D1%3Bfrom-tag%3D2>",
        ("Referred-By", "<sip:agent@example.com>"),
    )
    await asyncio.sleep(1)
    assert second.invite.headers.get("Replaces") == "abc@x;to-tag=1;from-tag=2"
    assert second.invite.headers.get("Referred-By") == "<sip:agent@example.com>"
    assert "?" not in second.invite.uri
    assert rig.transfers == ["completed"]
    rig.caller.events[-1].leg.hangup()
    await asyncio.sleep(1)
    assert rig.records[-1].tried[-1].endpoint == f"sip:{second.host}:{PORT}"  # its user may be a number


@pytest.mark.parametrize(
    ("target", "headers", "status"),
    [
        ("<sip:somebody@elsewhere.invalid>", (), 403),
        ("<sip:+14155559999@10.0.0.1>", (), 403),
        ("<tel:+14155559999>", (), 403),
        ("<http://example.com>", (), 403),
        ("<sip:agt_second@x;method=BYE>", (), 403),
        ("<sip:a@b?Replaces=nonsense>", (), 400),
        ("nonsense", (), 400),
        ("<sip:agt_second@x>", (("Refer-To", "<sip:agt_second@x>"),), 400),
    ],
)
@in_virtual_time
async def test_refused_with_a_reason(rig: Rig, target: str, headers: tuple, status: int):
    first, _ = await talking(rig)
    responses = refer(first.leg, target, *headers)
    await asyncio.sleep(1)
    assert [each.status for each in responses] == [status]
    assert responses[0].reason
    assert first.requests("NOTIFY") == []
    assert first.requests("BYE") == []


@in_virtual_time
async def test_switched_off(rig: Rig):
    rig.dispatcher._trunk.transfers._scope = "off"
    first, _ = await talking(rig)
    responses = refer(first.leg, "<sip:agt_second@x>")
    await asyncio.sleep(1)
    assert [each.status for each in responses] == [603]


@in_virtual_time
async def test_callers_transfer_nobody(rig: Rig):
    await talking(rig)
    responses = refer(rig.caller.events[-1].leg, "<sip:agt_second@x>")
    await asyncio.sleep(1)
    assert [each.status for each in responses] == [603]


@in_virtual_time
async def test_one_at_a_time_and_no_news_for_who_wants_none(rig: Rig):
    first, _ = await talking(rig, lambda leg: leg.ring())
    responses = refer(first.leg, "<sip:agt_second@x>", ("Refer-Sub", "false"))
    await asyncio.sleep(0.1)
    again = refer(first.leg, "<sip:agt_second@x>")
    await asyncio.sleep(0.1)
    assert responses[0].headers.get("Refer-Sub") == "false"
    assert [each.status for each in again] == [491]
    await asyncio.sleep(10)
    assert first.requests("NOTIFY") == []
    assert rig.transfers == ["returned"]


@in_virtual_time
async def test_whoever_takes_it_and_vanishes_is_followed_by_the_rest(rig: Rig):
    first, second = await talking(rig)
    refer(first.leg, "<sip:agt_second@x>")
    await asyncio.sleep(1)
    rig.mute_since[second.host] = rig.now()
    rig.network.vanish(second.host)
    await asyncio.sleep(60)
    assert rig.records[-1].outcome == "voicemail_rescued"
    assert len(first.legs) == 1  # it had its goodbye


class TestRules:
    """What a Refer-To means."""

    def judge(self, target: str, scope: str = "own", *headers: tuple[str, str]) -> Target | Refused:
        rules = TransferRules(
            scope,  # type: ignore[arg-type]
            ("Pbx.example.net", "*.example.com"),
            lambda: {"agt_1": Agent("agt_1", "one")},
            lambda: ["sip:bot@10.9.9.9:5070;transport=tcp", "wss://x/y", "nonsense"],
            {NUMBER: PhoneNumber("phn_1", NUMBER)}.get,
        )

        class Referral:
            target = NameAddr("", "")

        Referral.target = NameAddr.parse(target)
        refer = Request("REFER", "sip:x@y", Headers(list(headers)))
        return rules.judge(refer, Referral())  # type: ignore[arg-type]

    @pytest.mark.parametrize(
        ("target", "found"),
        [
            ("<sip:agt_1@anything>", Target(agent_id="agt_1")),
            (f"<sip:{NUMBER}@{CALLER}>", Target(number=NUMBER)),
            ("<sip:4155550100@x;user=phone>", Target(number=NUMBER)),
            ("<tel:+1-415-555-0100>", Target(number=NUMBER)),
            ("<sip:bob@pbx.example.net>", Target(uri="sip:bob@pbx.example.net")),
            ("<sips:bob@a.example.com;method=INVITE>", Target(uri="sips:bob@a.example.com")),
            ("<sip:bot@10.9.9.9:5070>", Target(uri="sip:bot@10.9.9.9:5070")),
            ("<sip:bot:secret@10.9.9.9:5070>", Target(uri="sip:bot@10.9.9.9:5070")),
        ],
    )
    def test_ours(self, target: str, found: Target) -> None:
        assert self.judge(target) == found

    @pytest.mark.parametrize(
        "target", ["<sip:bob@example.com>", "<sip:bot@10.9.9.9>", "<sip:x@notexample.net>"]
    )
    def test_strangers(self, target: str) -> None:
        assert isinstance(self.judge(target), Refused)
        assert isinstance(self.judge(target, "any"), Target)

    def test_off(self) -> None:
        verdict = self.judge("<sip:agt_1@x>", "off")
        assert isinstance(verdict, Refused)
        assert verdict.status == 603

    def test_no_header_can_be_slipped_in(self) -> None:
        verdict = self.judge("<sip:a@b?Replaces=x%0d%0aEvil:%201%3Bto-tag%3Da%3Bfrom-tag%3Db>", "any")
        assert isinstance(verdict, Refused)
        assert verdict.status == 400
