"""From a number to a plan."""

from __future__ import annotations

import pytest

from routing.models import Agent, Endpoint, Fallback, InboundRouting, PhoneNumber, RecordingPolicy
from routing.plan import AgentDestination, Plan, Refusal, VoicemailDestination, make_plan

AGENTS = {
    "a": Agent("a", "A", (Endpoint("sip:a@h"),), "agent A's message"),
    "b": Agent("b", "B", (Endpoint("sip:b@h"),), "agent B's message"),
}


def number(routing: InboundRouting | None, agent_id: str | None = None, **fields: object) -> PhoneNumber:
    return PhoneNumber("phn_1", "+14155550100", agent_id=agent_id, inbound_routing=routing, **fields)  # type: ignore[arg-type]


def plan(given: PhoneNumber | None, template: str | None = None) -> Plan | Refusal:
    return make_plan(given, AGENTS, default_voicemail="the default", endpoint_template=template)


def shape(given: PhoneNumber, template: str | None = None) -> list[str]:
    made = plan(given, template)
    assert isinstance(made, Plan), made
    return [
        f"{each.role} {each.agent.id}" if isinstance(each, AgentDestination) else f"voicemail {each.message}"
        for each in made.destinations
    ]


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (None, "number not known"),
        (number(InboundRouting("a"), status="inactive"), "number inactive"),
        (number(None, "a"), "number is outbound-only"),
    ],
)
def test_numbers_that_take_no_calls_are_404_each_with_its_own_reason(
    given: PhoneNumber | None, reason: str
) -> None:
    made = plan(given)
    assert isinstance(made, Refusal)
    assert (made.status, made.reason) == (404, reason)
    assert made.explanation


def test_the_routing_agent_overrides_the_numbers_own() -> None:
    assert shape(number(InboundRouting("b"), "a"))[0] == "agent b"
    assert shape(number(InboundRouting(), "a"))[0] == "agent a"


def test_agent_then_fallback_then_voicemail() -> None:
    assert shape(number(InboundRouting("a", Fallback("b"), "ours"))) == [
        "agent a",
        "fallback b",
        "voicemail ours",
    ]


def test_the_message_is_the_numbers_else_the_agents_else_the_default() -> None:
    assert shape(number(InboundRouting("a", voicemail_message="ours")))[-1] == "voicemail ours"
    assert shape(number(InboundRouting("a")))[-1] == "voicemail agent A's message"
    assert shape(number(InboundRouting("unknown")))[-1] == "voicemail the default"


def test_voicemail_can_be_switched_off() -> None:
    made = plan(number(InboundRouting("a", voicemail=False)))
    assert isinstance(made, Plan)
    assert not made.voicemail
    assert not any(isinstance(each, VoicemailDestination) for each in made.destinations)
    nothing = plan(number(InboundRouting("unknown", voicemail=False)))
    assert isinstance(nothing, Refusal)
    assert nothing.status == 480


def test_a_fallback_that_is_the_primary_is_not_tried_twice() -> None:
    assert shape(number(InboundRouting("a", Fallback("a")))) == ["agent a", "voicemail agent A's message"]


def test_unknown_agents_are_skipped_with_an_explanation_or_named_by_the_template() -> None:
    given = number(InboundRouting("x", Fallback("b")))
    assert shape(given) == ["fallback b", "voicemail the default"]
    made = plan(given)
    assert isinstance(made, Plan)
    assert any("agent x skipped" in line for line in made.explanation)
    templated = plan(given, "sip:{agent_id}@agents.internal")
    assert isinstance(templated, Plan)
    first = templated.destinations[0]
    assert isinstance(first, AgentDestination)
    assert first.agent.endpoints == (Endpoint("sip:x@agents.internal"),)


def test_direct_media_is_for_us_and_not_for_the_wire() -> None:
    endpoint = Endpoint("sip:a@h;transport=tcp;media=direct")
    assert endpoint.direct_media
    assert endpoint.request_uri == "sip:a@h;transport=tcp"
    assert not Endpoint("sip:a@h;media=relay").direct_media


@pytest.mark.parametrize(
    ("numbers", "agents", "default", "policy", "origin"),
    [
        ("off", "all", "voicemail", "off", "the number's policy"),
        (None, "all", "voicemail", "all", "the agent's policy"),
        (None, None, "off", "off", "the default policy"),
    ],
)
def test_what_is_recorded_is_the_numbers_else_the_agents_else_the_default(
    numbers: RecordingPolicy | None,
    agents: RecordingPolicy | None,
    default: RecordingPolicy,
    policy: RecordingPolicy,
    origin: str,
) -> None:
    known = {"a": Agent("a", "A", (Endpoint("sip:a@h"),), recording=agents)}
    made = make_plan(
        number(InboundRouting("a", recording=numbers)),
        known,
        default_voicemail="the default",
        default_recording=default,
    )
    assert isinstance(made, Plan)
    assert made.recording == policy
    assert any(line.startswith(f"recording {policy} ({origin})") for line in made.explanation)


def test_recording_and_direct_media_exclude_each_other_and_it_is_said() -> None:
    known = {"a": Agent("a", "A", (Endpoint("sip:a@h;media=direct"),), recording="all")}
    made = make_plan(number(InboundRouting("a")), known, default_voicemail="the default")
    assert isinstance(made, Plan)
    assert any("a: media=direct does not hold" in line for line in made.explanation)


def voicemail(routing: InboundRouting, **agent: object) -> VoicemailDestination:
    agents = {"a": Agent("a", "Anna", (Endpoint("sip:a@h"),), **agent)}  # type: ignore[arg-type]
    made = make_plan(number(routing), agents, default_voicemail="the default")
    assert isinstance(made, Plan)
    found = made.destinations[-1]
    assert isinstance(found, VoicemailDestination)
    return found


def test_what_the_number_has_wins_and_audio_comes_before_text() -> None:
    theirs = {"voicemail_message": "theirs", "voicemail_greeting": "grt_a"}
    ours = InboundRouting("a", voicemail_message="ours", voicemail_greeting="grt_n")
    assert voicemail(ours, **theirs) == VoicemailDestination("ours", "grt_n", "Anna")
    silent = InboundRouting("a", voicemail_greeting="grt_n")
    assert voicemail(silent, **theirs) == VoicemailDestination("theirs", "grt_n", "Anna")
    spoken = InboundRouting("a", voicemail_message="ours")
    assert voicemail(spoken, **theirs) == VoicemailDestination("ours", None, "Anna")
    assert voicemail(InboundRouting("a"), **theirs) == VoicemailDestination("theirs", "grt_a", "Anna")
    assert voicemail(InboundRouting("a")) == VoicemailDestination("the default", None, "Anna")
