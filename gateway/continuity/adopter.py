"""From the record of a call to the call: both legs rebuilt, and given to the dispatcher."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from functools import partial
from typing import Final, Literal, Protocol, TypeAlias

from gateway.admission.carriers import Carrier
from gateway.calls.call import Call, reason_header
from gateway.calls.dispatcher import UNKNOWN_CARRIER
from gateway.calls.identity import CallerIdentity
from gateway.calls.orphan import Orphan
from gateway.calls.records import CallRecord
from gateway.continuity.kept_call import KeptAgent, KeptCall, tried
from gateway.destinations.audio_path import AudioPath, DirectPath
from gateway.destinations.base import Destination, ignore
from gateway.destinations.bridge import Bridge
from gateway.destinations.connected_agent import ConnectedAgent
from gateway.destinations.engine_path import EnginePath
from gateway.destinations.trunk import Lease, NobodysLease, Trunk
from gateway.media.rtpengine import EngineCall
from gateway.sip.leg import Leg, LegStateError, Listener
from gateway.sip.leg_state import LegState
from gateway.sip.rebuilt_legs import RebuiltInboundLeg, RebuiltLeg
from routing.models import Agent, Endpoint
from routing.plan import Agents

Result: TypeAlias = Literal["adopted", "ended", "lost"]
"""What became of a call: it goes on; both sides were told that it is over; nothing could be done."""

GATEWAY_DIED: Final = "the gateway of this call has died"

LOOK_AFTER: Final = (0.2, 1.0)
"""Seconds after which a caller is asked whether it is still there, at least and at most: what it may be about
to say goes first, and not all peers are asked at once."""

AGENT_LATER: Final = 0.8
"""Seconds after its caller that an agent is asked. The call of a gateway that was only cut off from Redis may
be over: then its caller says so, and no other agent is called because the first has gone."""


class Rebuilder(Protocol):
    """The part of `SipEndpoint` that is needed."""

    def rebuild(self, state: LegState, *, peer: object, listener: Listener) -> RebuiltLeg:
        """See `SipEndpoint.rebuild`. Raises LegStateError."""


class Adopter:
    """Takes records, each once.

    Args:
        sip: rebuilds legs.
        trunk: how agents are reached.
        take_up: the dispatcher's.
        carriers: by name; agents: by id, as they are now.
        wall_clock: seconds since the epoch, the same for all gateways.
        draw: a number between two others, at random.

    """

    def __init__(
        self,
        sip: Rebuilder,
        trunk: Trunk,
        take_up: Callable[[Orphan], None],
        *,
        carriers: Callable[[str], Carrier | None],
        agents: Callable[[], Agents],
        wall_clock: Callable[[], float],
        draw: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self._sip = sip
        self._trunk = trunk
        self._take_up = take_up
        self._carriers = carriers
        self._agents = agents
        self._wall_clock = wall_clock
        self._draw = draw
        self._loop = asyncio.get_running_loop()

    def adopt(self, kept: KeptCall) -> Result:
        """Go on with a call, or end it: what the peers do from now on is answered here."""
        carrier = self._carriers(kept.carrier) or UNKNOWN_CARRIER
        legs = self._rebuilt(kept, carrier)
        if legs is None:
            return "lost"
        caller, agent = legs
        found, connect = kept.agent, None
        if agent is not None and found is not None:
            engine_call = self._engine_call(found) if kept.lives else None
            if kept.lives and (found.engine is None or engine_call is not None):
                connect = partial(self._connected, leg=agent, kept=found, engine_call=engine_call)
            else:
                agent.hangup(reason_header(503, GATEWAY_DIED))
        self._take_up(
            Orphan(
                caller,
                _record(kept),
                carrier,
                kept.theirs,
                kept.shown,
                kept.carrier_headers,
                kept.max_forwards,
                CallerIdentity(kept.caller, kept.asserted, kept.withheld),
                kept.rescued,
                connect,
                (found.role if found is not None else kept.role) or "failed",
                GATEWAY_DIED,
                max(0.0, self._wall_clock() - (kept.began_at or kept.started_at)),
            )
        )
        if connect is None or agent is None:
            return "ended"
        # A goodbye may have got lost meanwhile, and our Contact may be another one than before.
        after = self._draw(*LOOK_AFTER)
        self._loop.call_later(after, caller.refresh)
        self._loop.call_later(after + AGENT_LATER, agent.refresh)
        return "adopted"

    def _rebuilt(self, kept: KeptCall, carrier: Carrier) -> tuple[RebuiltInboundLeg, Leg | None] | None:
        """Both legs, the agent's None if there is none; None if the dialogs are here, or there is no room."""
        try:
            caller = self._sip.rebuild(kept.caller_leg, peer=carrier, listener=ignore)
        except LegStateError:
            return None
        try:
            agent = (
                None if kept.agent is None else self._sip.rebuild(kept.agent.leg, peer=None, listener=ignore)
            )
        except LegStateError:
            caller.forget()
            return None
        if not isinstance(caller, RebuiltInboundLeg):  # a record that says nonsense
            caller.forget()
            return None
        return caller, agent

    def _engine_call(self, kept: KeptAgent) -> EngineCall | None:
        """Where its audio goes, if that is an instance of rtpengine that is configured here, too."""
        engine, engines = kept.engine, self._trunk.engines
        if engine is None or engines is None:
            return None
        return engines.taken_up(engine.address, engine.id, engine.to_agent, engine.to_caller)

    async def _connected(
        self, call: Call, leg: Leg, kept: KeptAgent, engine_call: EngineCall | None
    ) -> Destination:
        """The agent as it had the call."""
        leg.listener = call.deliver
        path: AudioPath = DirectPath(call.audio)
        try:
            if engine_call is not None:
                path = EnginePath.taken_up(call.audio, engine_call, kept.answered)
            lease = self._lease(kept, leg)
        except BaseException:
            leg.hangup()
            path.close()
            if engine_call is not None:
                engine_call.close()
            raise
        bridge = Bridge(
            call,
            leg,
            path,
            self._trunk,
            offered=kept.offered,
            answered=kept.answered,
            talked=max(0.0, self._wall_clock() - kept.talked_at),
        )
        return ConnectedAgent(
            call, kept.role, kept.agent_id, kept.endpoint, leg, path, bridge, lease, lease.failed
        )

    def _lease(self, kept: KeptAgent, leg: Leg) -> Lease:
        """The call's place at its endpoint, full or not, if that is still known; and who we are there."""
        found = self._endpoint(kept)
        if found is None:
            return NobodysLease()
        agent, endpoint = found
        if endpoint.auth_token is not None:
            leg.digest = self._trunk.sip.account(endpoint.username, endpoint.auth_token)
        return self._trunk.health.hold(agent, endpoint)

    def _endpoint(self, kept: KeptAgent) -> tuple[Agent, Endpoint] | None:
        agent = self._agents().get(kept.agent_id)
        if agent is None:
            return None
        return next(((agent, each) for each in agent.endpoints if each.url == kept.endpoint), None)


def _record(kept: KeptCall) -> CallRecord:
    return CallRecord(
        call_id=kept.call_id,
        sip_call_id=kept.caller_leg.call_id,
        carrier=kept.carrier,
        caller=kept.caller,
        dialled=kept.dialled,
        started_at=kept.started_at,
        number=kept.number,
        plan=tuple(kept.plan),
        tried=tried(kept),
        stages=kept.stages,
        transfers=kept.transfers,
        verstat=kept.verstat,
        source=kept.source,
        carrier_call_id=kept.carrier_call_id,
        sip_call_ids=kept.sip_call_ids,
    )
