"""An agent that takes calls over SIP: its endpoints are tried one after another, each at most once."""

from __future__ import annotations

from gateway.destinations.attempt import Attempt
from gateway.destinations.base import Call, Declined, Outcome, Tried
from gateway.destinations.trunk import Trunk
from gateway.media.ports import NoPortLeft
from gateway.sip.sdp import SdpError
from routing.models import Agent

UNAVAILABLE = "no endpoint is up"
FULL = "full"


class SipAgent:
    """A destination: one agent, in its role in one call's plan."""

    __slots__ = ("_agent", "_trunk", "name", "role")

    def __init__(self, agent: Agent, role: str, trunk: Trunk) -> None:
        self.name = agent.id
        self.role = role
        self._agent = agent
        self._trunk = trunk

    def obstacle(self, call: Call) -> Declined | None:
        """A relayed call needs a port and an offer with audio in it; a direct one asks nothing of us."""
        if any(endpoint.direct_media for endpoint in self._agent.endpoints):
            return None
        try:
            call.audio.open_port()
        except NoPortLeft:
            return Declined("no media port left", 503)
        except SdpError as error:
            return Declined(str(error), 488)
        return None

    async def take(self, call: Call) -> Outcome:
        """Try endpoints, best first, until one takes the call, the agent's time is up, or none is left."""
        health = self._trunk.health
        deadline = call.now() + self._trunk.ring_timeout
        outcome: Outcome = Declined(f"{self.name}: {UNAVAILABLE}")
        endpoints = health.order(self._agent)
        if not endpoints:
            call.tried.append(Tried(self.name, "", UNAVAILABLE, 0.0))
        for endpoint in endpoints:
            lease = health.acquire(self._agent, endpoint)
            if lease is None:
                call.tried.append(Tried(self.name, endpoint.url, FULL, 0.0))
                outcome = Declined(f"{self.name}: {FULL}")
                continue
            try:
                outcome = await Attempt(call, self._agent, endpoint, lease, self._trunk).run(deadline)
            finally:
                lease.release()
            if not isinstance(outcome, Declined) or outcome.everywhere:
                break
        return outcome
