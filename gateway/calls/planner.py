"""Which plan a call has: of the number that was dialled, or of where an agent sends it on."""

from __future__ import annotations

from typing import Protocol

from gateway.admission.caller_verification import CallerVerification
from gateway.admission.carriers import Carrier
from gateway.calls.call import Call
from gateway.calls.identity import caller_number
from gateway.destinations.attempt import OUTSIDE
from gateway.destinations.remote_control import Target
from routing.models import Agent, Endpoint, PhoneNumber, RecordingPolicy
from routing.numbering import normalise
from routing.plan import AgentDestination, Agents, Plan, Refusal, find_agent, make_plan

VERSTAT = "X-Verstat"
"""The header that tells agents whether the calling number was verified."""


class Directory(Protocol):
    """Where numbers and agents are looked up."""

    @property
    def agents(self) -> Agents:
        """Agents by id."""

    def get(self, number: str) -> PhoneNumber | None:
        """What this node knows of an E.164 number, at once."""

    async def lookup(self, number: str) -> PhoneNumber | None:
        """Ask beyond this node, within a hard bound of 200 ms; raises nothing."""


class Planner:
    """Finds plans; makes none of its own.

    Args:
        directory: numbers and agents.
        default_voicemail, endpoint_template, default_recording: see `make_plan`.
        verification: verifies callers for carriers that ask for it; None: of those nobody is verified.

    """

    def __init__(
        self,
        directory: Directory,
        *,
        default_voicemail: str,
        endpoint_template: str | None,
        default_recording: RecordingPolicy,
        verification: CallerVerification | None,
    ) -> None:
        self._directory = directory
        self._default_voicemail = default_voicemail
        self._endpoint_template = endpoint_template
        self._default_recording: RecordingPolicy = default_recording
        self._verification = verification

    async def plan_for(self, call: Call, carrier: Carrier) -> Plan | Refusal:
        """What a new call's number has, once it is known that this caller may have it."""
        return await self._verified(call, carrier) or await self._route(call, carrier)

    def plan_of(self, target: Target) -> Plan | Refusal:
        """What this node knows of where a live call is to go on: an agent alone, or a number's whole plan."""
        if target.agent_id is not None:
            agent = find_agent(target.agent_id, self._directory.agents, self._endpoint_template)
            if agent is None:
                return Refusal(404, f"no agent {target.agent_id}", ())
            return Plan((AgentDestination("agent", agent),), ())
        if target.uri is not None:
            outside = Agent(OUTSIDE, OUTSIDE, (Endpoint(target.uri, headers=dict(target.headers)),))
            return Plan((AgentDestination("agent", outside),), ())
        return self._plan(self._directory.get(target.number or ""))

    def _plan(self, found: PhoneNumber | None) -> Plan | Refusal:
        return make_plan(
            found,
            self._directory.agents,
            default_voicemail=self._default_voicemail,
            endpoint_template=self._endpoint_template,
            default_recording=self._default_recording,
        )

    async def _verified(self, call: Call, carrier: Carrier) -> Refusal | None:
        """Verify the caller's number, if its carrier wants that; why the call is refused, if it is."""
        if carrier.identity == "off" or self._verification is None:
            return None
        request = call.caller.request
        verdict = await self._verification.judge(
            carrier.identity,
            request.headers.get_all("Identity"),
            call.asserted or caller_number(request),
            normalise(call.record.dialled, carrier.default_country) or call.record.dialled,
        )
        call.record.verstat = verdict.verstat
        call.carrier_headers.append((VERSTAT, verdict.verstat))
        if verdict.refusal is None:
            return None
        return Refusal(verdict.refusal.status, verdict.refusal.reason, ())

    async def _route(self, call: Call, carrier: Carrier) -> Plan | Refusal:
        if carrier.refuses(call.caller_number):
            return Refusal(603, "caller refused", ())
        number = normalise(call.record.dialled, carrier.default_country)
        if number is None:
            return Refusal(404, "not a telephone number", ())
        call.record.number = number
        found = self._directory.get(number)
        if found is None:
            found = await self._directory.lookup(number)
        plan = self._plan(found)
        call.looked_up()
        call.happened("route", plan.reason if isinstance(plan, Refusal) else "; ".join(plan.explanation))
        return plan
