"""An agent: its endpoints are tried one after another, each at most once, whatever they speak."""

from __future__ import annotations

from gateway.destinations import terminating
from gateway.destinations.attempt import Attempt
from gateway.destinations.base import Call, Declined, Moved, Outcome, Tried
from gateway.destinations.media_stream_agent import MediaStreamAttempt
from gateway.destinations.stream_trunk import StreamTrunk
from gateway.destinations.trunk import Lease, Trunk
from gateway.media.ports import NoPortLeft
from gateway.sip.sdp import SdpError
from routing.models import Agent, Endpoint

UNAVAILABLE = "no endpoint is up"
FULL = "full"


class VoiceAgent:
    """A destination: one agent, in its role in one call's plan.

    Args:
        trunk, streams: how its endpoints are reached, over SIP and over WebSocket.

    """

    __slots__ = ("_agent", "_streams", "_trunk", "name", "role")

    def __init__(self, agent: Agent, role: str, trunk: Trunk, streams: StreamTrunk) -> None:
        self.name = agent.id
        self.role = role
        self._agent = agent
        self._trunk = trunk
        self._streams = streams

    def obstacle(self, call: Call) -> Declined | None:
        """The least that any endpoint asks.

        With direct media nothing, with relayed media a port and an offer with audio in it; on a WebSocket the
        offer must have a codec of ours, too.
        """
        endpoints = self._agent.endpoints
        direct = any(endpoint.direct_media for endpoint in endpoints)
        if direct and call.audio.tap is None:  # whose audio is recorded comes through us
            return None
        if endpoints and not any(endpoint.is_sip for endpoint in endpoints):
            return terminating.obstacle(call)
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
            lease = await health.acquire(self._agent, endpoint)
            if lease is None:
                call.tried.append(Tried(self.name, endpoint.url, FULL, 0.0))
                outcome = Declined(f"{self.name}: {FULL}")
                continue
            waits = False
            try:
                outcome = await self._attempt(call, endpoint, lease).run(deadline)
                waits = isinstance(outcome, Moved) and outcome.back is not None
            finally:
                if not waits:
                    lease.release()
            if not isinstance(outcome, Declined) or outcome.everywhere:
                break
        return outcome

    def _attempt(self, call: Call, endpoint: Endpoint, lease: Lease) -> Attempt | MediaStreamAttempt:
        if endpoint.is_sip:
            return Attempt(call, self._agent, endpoint, lease, self._trunk, self.role)
        return MediaStreamAttempt(call, self._agent, endpoint, lease, self._trunk, self._streams)
