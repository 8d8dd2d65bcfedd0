"""From a number and what is known about agents to a plan: pure, so that it can be explained before a call."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal, Protocol, TypeAlias

from routing.models import Agent, Endpoint, InboundRouting, PhoneNumber, RecordingPolicy

Role: TypeAlias = Literal["agent", "fallback"]

NOT_FOUND: Final = 404
"""Carriers take it for final and do not try the next node: no node would know the number any better."""


class Agents(Protocol):
    """Where agents are looked up."""

    def get(self, agent_id: str) -> Agent | None:
        """The agent of that id, None if there is none."""


@dataclass(frozen=True, slots=True)
class AgentDestination:
    """An agent that may take the call, and in which role."""

    role: Role
    agent: Agent


@dataclass(frozen=True, slots=True)
class VoicemailDestination:
    """The voicemail box: answers, speaks, records.

    message: what is spoken, with its variables (`routing.message_variables`).
    greeting: id of the audio that is played instead; the message is for the case that it cannot be had.
    agent_name: of the agent that the call was meant for; empty if there is none.
    """

    message: str
    greeting: str | None = None
    agent_name: str = ""


Destination: TypeAlias = AgentDestination | VoicemailDestination


@dataclass(frozen=True, slots=True)
class Plan:
    """Destinations, tried in order until one takes the call.

    explanation: one line a decision, for people.
    answer_first: the caller is answered before any of them is tried.
    recording: what of the call is recorded.
    """

    destinations: tuple[Destination, ...]
    explanation: tuple[str, ...]
    answer_first: bool = False
    recording: RecordingPolicy = "voicemail"

    @property
    def voicemail(self) -> bool:
        """Whether somebody answers even when no agent does."""
        return any(isinstance(destination, VoicemailDestination) for destination in self.destinations)


@dataclass(frozen=True, slots=True)
class Refusal:
    """The number is not answered at all.

    status: the SIP status; reason: short, fit for a Reason header; explanation: for people, with what to do.
    """

    status: int
    reason: str
    explanation: tuple[str, ...]


def make_plan(
    number: PhoneNumber | None,
    agents: Agents,
    *,
    default_voicemail: str,
    endpoint_template: str | None = None,
    default_recording: RecordingPolicy = "voicemail",
) -> Plan | Refusal:
    """Which destinations a call to this number has.

    number: what the lookup found, None if nothing.
    default_voicemail: spoken when neither the number nor its agent has a message.
    endpoint_template: names the endpoint of agents that nothing describes, e.g.
        ``sip:{agent_id}@agents.internal``.
    default_recording: what is recorded when neither the number nor its agent says.
    """
    if number is None:
        return Refusal(NOT_FOUND, "number not known", ("the number is not in the routes: register it",))
    if number.status != "active":
        return Refusal(
            NOT_FOUND, "number inactive", (f"{number.id} is {number.status}: set its status to active",)
        )
    routing = number.inbound_routing
    if routing is None:
        return Refusal(
            NOT_FOUND,
            "number is outbound-only",
            (f"{number.id} has no inbound_routing: add it to take calls",),
        )
    return _plan(number, routing, agents, default_voicemail, endpoint_template, default_recording)


def recording_policy(
    routing: InboundRouting, primary: Agent | None, default: RecordingPolicy
) -> tuple[RecordingPolicy, str]:
    """What of a call is recorded, and who says so: the number, else its agent, else the configuration."""
    if routing.recording is not None:
        return routing.recording, "the number's policy"
    if primary is not None and primary.recording is not None:
        return primary.recording, "the agent's policy"
    return default, "the default policy"


RECORDED: Final[dict[RecordingPolicy, str]] = {
    "off": "nothing is recorded: voicemail speaks its message and says goodbye",
    "voicemail": "messages left in the voicemail are recorded",
    "all": "the whole call is recorded, so its audio goes through us",
}


def _recording_lines(
    policy: RecordingPolicy, origin: str, destinations: Sequence[Destination]
) -> Iterator[str]:
    yield f"recording {policy} ({origin}): {RECORDED[policy]}"
    if policy == "all":
        for each in destinations:
            if isinstance(each, AgentDestination) and any(
                endpoint.direct_media for endpoint in each.agent.endpoints
            ):
                yield f"{each.agent.id}: media=direct does not hold for calls that are recorded"


def _plan(
    number: PhoneNumber,
    routing: InboundRouting,
    agents: Agents,
    default_voicemail: str,
    template: str | None,
    default_recording: RecordingPolicy,
) -> Plan | Refusal:
    destinations: list[Destination] = []
    lines: list[str] = ["the caller is answered first"] if routing.answer_first else []
    primary_id = routing.agent_id or number.agent_id
    fallback_id = routing.fallback.agent_id if routing.fallback else None
    primary = find_agent(primary_id, agents, template)
    source = "inbound_routing.agent_id" if routing.agent_id else "the number's agent_id"
    if primary is not None:
        destinations.append(AgentDestination("agent", primary))
        lines.append(f"agent {primary.id} ({source})")
    elif primary_id is None:
        lines.append("no agent: neither inbound_routing nor the number names one")
    else:
        lines.append(f"agent {primary_id} skipped: nothing is known about it")
    if fallback_id is not None:
        fallback = find_agent(fallback_id, agents, template)
        if fallback_id == primary_id:
            lines.append(f"fallback {fallback_id} skipped: it is the primary agent")
        elif fallback is None:
            lines.append(f"fallback {fallback_id} skipped: nothing is known about it")
        else:
            destinations.append(AgentDestination("fallback", fallback))
            lines.append(f"fallback {fallback.id}")
    if routing.voicemail:
        voicemail, origin = _voicemail(routing, primary, default_voicemail)
        destinations.append(voicemail)
        lines.append(f"voicemail with {origin}")
    else:
        lines.append("voicemail is switched off for this number: 480 when no agent takes the call")
    if not destinations:
        return Refusal(480, "no agent and no voicemail", tuple(lines))
    recording, origin = recording_policy(routing, primary, default_recording)
    lines += _recording_lines(recording, origin, destinations)
    return Plan(tuple(destinations), tuple(lines), routing.answer_first, recording)


def find_agent(agent_id: str | None, agents: Agents, template: str | None) -> Agent | None:
    """The agent of that id; by the template if nothing describes where it is. None if there is neither."""
    if agent_id is None:
        return None
    agent = agents.get(agent_id)
    if (agent is None or not agent.endpoints) and template:
        endpoint = Endpoint(template.replace("{agent_id}", agent_id))
        message = agent.voicemail_message if agent else None
        name, recording = (agent.name, agent.recording) if agent else (agent_id, None)
        greeting = agent.voicemail_greeting if agent else None
        return Agent(agent_id, name, (endpoint,), message, recording, greeting)
    return agent


def _voicemail(
    routing: InboundRouting, primary: Agent | None, default: str
) -> tuple[VoicemailDestination, str]:
    """What the voicemail says, and who says so: what the number has wins, audio before text."""
    theirs = primary.voicemail_message if primary is not None else None
    text, origin = default, "the default message"
    if routing.voicemail_message:
        text, origin = routing.voicemail_message, "the number's message"
    elif theirs:
        text, origin = theirs, "the agent's message"
    greeting = routing.voicemail_greeting
    if greeting:
        origin = f"the number's greeting {greeting}"
    elif primary is not None and primary.voicemail_greeting and not routing.voicemail_message:
        greeting = primary.voicemail_greeting
        origin = f"the agent's greeting {greeting}"
    return VoicemailDestination(text, greeting, primary.name if primary is not None else ""), origin
