"""What would happen to a call, and why, before it happens; the decisions are those that a real call meets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from gateway.admission.carriers import Carrier
from gateway.admission.limits import AdmissionLimits
from routing.models import Agent, Endpoint, PhoneNumber, RecordingPolicy
from routing.numbering import normalise
from routing.plan import Agents, Destination, Refusal, VoicemailDestination, make_plan


@dataclass(frozen=True, slots=True)
class Step:
    """One decision.

    name: ``admission``, ``limits``, ``caller``, ``number``, ``plan``, a role (``agent``, …,
        ``voicemail``) or ``result``.
    passed: False where the call stops, or where a destination would not be tried now.
    text: for people.
    """

    name: str
    passed: bool
    text: str


class Sources(Protocol):
    """Who an address belongs to."""

    def match(self, host: str) -> Carrier | None:
        """The carrier whose address this is."""


class Numbers(Protocol):
    """What this node knows of numbers."""

    def get(self, number: str) -> PhoneNumber | None:
        """The number of that E.164 form."""


class Obstacles(Protocol):
    """What is known against endpoints."""

    def obstacle(self, agent: Agent, endpoint: Endpoint) -> str | None:
        """Why a call would not be tried there now; None if it would."""


def explain(
    dialled: str,
    source: str,
    *,
    carriers: Sources,
    limits: AdmissionLimits,
    active_calls: int,
    numbers: Numbers,
    agents: Agents,
    health: Obstacles,
    default_voicemail: str,
    endpoint_template: str | None = None,
    default_recording: RecordingPolicy = "voicemail",
    caller: str | None = None,
) -> tuple[Step, ...]:
    """The decisions about a call, in order; the last one is the result.

    dialled: what the carrier would put into the Request-URI's user part.
    source: the IP address that the call would come from.
    caller: the calling number, ``anonymous``, or None not to look at it.
    """
    carrier = carriers.match(source)
    if carrier is None:
        return (Step("admission", False, f"{source} is in no carrier's address list: no answer at all"),)
    steps = [Step("admission", True, f"{source} is {carrier.name}")]
    refusal = limits.refusal(active_calls)
    if refusal is not None:
        return (*steps, Step("limits", False, f"{refusal.status} {refusal.reason}"))
    if caller is not None and carrier.refuses(caller):
        text = f"{caller} is in refused_callers of {carrier.name}: 603, and the carrier does not try again"
        return (*steps, Step("caller", False, text))
    number = normalise(dialled, carrier.default_country)
    if number is None:
        text = f"{dialled!r} is no telephone number (default country {carrier.default_country}): 404"
        return (*steps, Step("number", False, text))
    steps.append(Step("number", True, f"{dialled} is {number}"))
    plan = make_plan(
        numbers.get(number),
        agents,
        default_voicemail=default_voicemail,
        endpoint_template=endpoint_template,
        default_recording=default_recording,
    )
    steps += [Step("plan", not isinstance(plan, Refusal), line) for line in plan.explanation]
    if isinstance(plan, Refusal):
        return (*steps, Step("result", False, f"{plan.status}: {plan.reason}"))
    taker = ""
    for destination in plan.destinations:
        role, told = _destination(destination, health, records=plan.recording != "off")
        steps += told
        if not taker and told[-1].passed:
            taker = role
    steps.append(Step("result", bool(taker), taker or "480: no agent is up and voicemail is switched off"))
    return tuple(steps)


def _named(endpoint: Endpoint) -> str:
    return endpoint.url if endpoint.region is None else f"{endpoint.url} in {endpoint.region}"


def _destination(destination: Destination, health: Obstacles, *, records: bool) -> tuple[str, list[Step]]:
    """What the destination is called as a result, and the steps about it; the last says if it is tried."""
    if isinstance(destination, VoicemailDestination):
        then = "records" if records else "says goodbye: nothing is recorded"
        says = f"speaks {destination.message!r}"
        if destination.greeting is not None:
            says = f"plays greeting {destination.greeting} (or else {says})"
        return "voicemail", [Step("voicemail", True, f"{says}, then {then}")]
    agent, role = destination.agent, destination.role
    obstacles = [(endpoint, health.obstacle(agent, endpoint)) for endpoint in agent.endpoints]
    steps = [
        Step(role, obstacle is None, f"{_named(endpoint)}: {obstacle or 'would be tried'}")
        for endpoint, obstacle in obstacles
    ]
    tried = any(obstacle is None for _, obstacle in obstacles)
    steps.append(
        Step(role, tried, f"{agent.id} {'would be tried' if tried else 'has no endpoint that is up'}")
    )
    return f"{role} {agent.id}", steps
