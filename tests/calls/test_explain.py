"""What `voice-gateway explain` says is what then happens."""

from __future__ import annotations

import random
from ipaddress import ip_network

import pytest

from gateway.admission.carriers import Carrier, CarrierTable
from gateway.admission.limits import AdmissionLimits
from gateway.calls.explain import Step, explain
from routing.health import EndpointHealth
from routing.models import Agent, Endpoint, Fallback, InboundRouting, PhoneNumber

NUMBER = "+14155550100"
SOURCE = "192.0.2.1"
CARRIERS = CarrierTable([Carrier(name="example", sources=(ip_network("192.0.2.0/24"),))])
AGENTS = {
    "agt_a": Agent("agt_a", "A", (Endpoint("sip:a@192.0.2.9"), Endpoint("sip:a@192.0.2.10"))),
    "agt_b": Agent("agt_b", "B", (Endpoint("sip:b@192.0.2.11"),)),
}


def routed(**routing) -> PhoneNumber:
    return PhoneNumber("phn_1", NUMBER, inbound_routing=InboundRouting("agt_a", Fallback("agt_b"), **routing))


def steps(dialled: str = NUMBER, source: str = SOURCE, **changes) -> tuple[Step, ...]:
    arguments = {
        "carriers": CARRIERS,
        "limits": AdmissionLimits(routes_loaded=True),
        "active_calls": 0,
        "numbers": {NUMBER: routed()},
        "agents": AGENTS,
        "health": EndpointHealth(lambda: 0.0, random.Random(1)),
        "default_voicemail": "Nobody is here.",
    }
    return explain(dialled, source, **arguments | changes)


def broken(*urls: str) -> EndpointHealth:
    health = EndpointHealth(lambda: 0.0, random.Random(1), threshold=1)
    for agent in AGENTS.values():
        for endpoint in agent.endpoints:
            if endpoint.url in urls:
                health.failed((agent.id, endpoint.url), "connection refused")
    return health


@pytest.mark.parametrize("dialled", [NUMBER, "14155550100", "(415) 555-0100"])
def test_the_primary_agent_would_take_it(dialled: str):
    told = steps(dialled)
    assert told[-1] == Step("result", True, "agent agt_a")
    assert [step.name for step in told][:2] == ["admission", "number"]
    assert NUMBER in told[1].text


def test_an_endpoint_that_is_down_is_named_with_its_reason():
    told = steps(health=broken("sip:a@192.0.2.9"))
    assert told[-1].text == "agent agt_a"
    assert any("sip:a@192.0.2.9" in step.text and "connection refused" in step.text for step in told)


def test_the_fallback_would_take_it_then_voicemail_then_nobody():
    primary = ("sip:a@192.0.2.9", "sip:a@192.0.2.10")
    assert steps(health=broken(*primary))[-1] == Step("result", True, "fallback agt_b")
    everybody = broken(*primary, "sip:b@192.0.2.11")
    assert steps(health=everybody)[-1] == Step("result", True, "voicemail")
    told = steps(health=everybody, numbers={NUMBER: routed(voicemail=False)})
    assert told[-1].passed is False
    assert told[-1].text.startswith("480")


@pytest.mark.parametrize(
    ("changes", "name", "words"),
    [
        ({"source": "198.51.100.1"}, "admission", "no carrier"),
        ({"limits": AdmissionLimits(routes_loaded=True, draining=True)}, "limits", "503"),
        ({"dialled": "operator"}, "number", "404"),
        ({"numbers": {}}, "result", "404: number not known"),
        ({"numbers": {NUMBER: PhoneNumber("phn_1", NUMBER)}}, "result", "outbound-only"),
    ],
)
def test_where_a_call_stops(changes, name: str, words: str):
    last = steps(**changes)[-1]
    assert (last.name, last.passed) == (name, False)
    assert words in last.text


def test_a_caller_that_a_policy_refuses_is_told_before_the_call():
    policy = CarrierTable(
        [Carrier(name="example", sources=(ip_network("192.0.2.0/24"),), refused_callers=("+1900*",))]
    )
    refused = steps(carriers=policy, caller="19005550100")
    assert (refused[-1].name, refused[-1].passed) == ("caller", False)
    assert "603" in refused[-1].text
    assert steps(carriers=policy, caller="+14155550101")[-1].passed
    assert steps(carriers=policy)[-1].passed
