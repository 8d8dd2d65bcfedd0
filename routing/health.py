"""Which agent endpoints are up, and how full: what decides where a call is tried first.

How full an endpoint is everywhere is known to `Places`, and only asked for endpoints with ``max_calls``.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final, Protocol, TypeAlias

from routing.circuit import FAILURES_TO_OPEN, Circuit
from routing.models import Agent, Endpoint

Key: TypeAlias = tuple[str, str]
"""Agent id and endpoint URL."""

PROBE_INTERVAL: Final = 10.0
"""Seconds between OPTIONS to an endpoint that is known to be down, or has not been heard of for as long."""

MAX_ENDPOINTS: Final = 100_000
"""Endpoints remembered; those without calls and with nothing remarkable are forgotten first."""


NEARLY_FULL: Final = 0.01
"""The least share of its weight that an endpoint keeps, however full it is."""


class Place(Protocol):
    """One call's place among those of all gateways."""

    def release(self) -> None:
        """Give it back, once."""


class Places(Protocol):
    """Counts calls over all gateways. Fulfilled by `routing.leases.Leases`."""

    async def take(self, key: Key, limit: int) -> Place | None:
        """Take a place, if one of so many is left; within 200 ms; raises nothing."""

    def hold(self, key: Key, limit: int) -> Place:
        """Count a call that goes on already."""

    def total(self, key: Key) -> int | None:
        """Calls everywhere as was heard lately; None if nothing was."""


@dataclass(slots=True)
class _State:
    circuit: Circuit
    calls: int = 0
    probe_at: float = 0.0
    probing: bool = False


@dataclass(frozen=True, slots=True)
class EndpointStatus:
    """What is known of one endpoint, for metrics and people.

    up: whether calls are tried; calls: in progress on this node; reason: why it is down.
    """

    agent_id: str
    url: str
    up: bool
    calls: int
    reason: str


class Lease:
    """One call's place at an endpoint, and the way to tell how the endpoint did."""

    __slots__ = ("_health", "_place", "_released", "_state", "_told", "key")

    def __init__(self, health: EndpointHealth, key: Key, state: _State, place: Place | None) -> None:
        self._health = health
        self._state = state
        self._place = place
        self._released = False
        self._told = False
        self.key = key

    def succeeded(self) -> None:
        """The endpoint is alive: it answered, or refused this one call in good order."""
        self._told = True
        self._state.circuit.succeeded()

    def failed(self, reason: str) -> None:
        """The endpoint is in trouble; enough of these in a row open its circuit."""
        self._told = True
        self._health.failed(self.key, reason)

    def release(self) -> None:
        """Give the place back. Idempotent."""
        if not self._released:
            self._released = True
            self._state.calls -= 1
            if self._place is not None:
                self._place.release()
            if not self._told:
                self._state.circuit.abandon()


class EndpointHealth:
    """Circuits and places of all endpoints that calls have met, on this node.

    Args:
        clock: seconds, monotonic.
        rng: draws among endpoints of equal priority.
        threshold: failures in a row that open a circuit.
        probe_interval: seconds between probes of an endpoint.
        places: counts calls over all gateways; None: there is only this one.
        region: where this gateway is; empty: nowhere in particular.

    """

    def __init__(
        self,
        clock: Callable[[], float],
        rng: random.Random | None = None,
        *,
        threshold: int = FAILURES_TO_OPEN,
        probe_interval: float = PROBE_INTERVAL,
        places: Places | None = None,
        region: str = "",
    ) -> None:
        self._clock = clock
        self._rng = rng or random.Random()  # noqa: S311 - a fair share, not a secret
        self._threshold = threshold
        self._probe_interval = probe_interval
        self._places = places
        self._region = region
        self._states: dict[Key, _State] = {}

    def order(self, agent: Agent) -> list[Endpoint]:
        """The agent's endpoints that are not known to be down or full: by priority, region, and weight.

        Of one priority, those of this gateway's region and those of none come before those of others; among
        these it is drawn, by weights of which those with ``max_calls`` count by the share of places that are
        free everywhere.
        """
        usable = [endpoint for endpoint in agent.endpoints if self._obstacle_here(agent, endpoint) is None]
        if len(usable) < 2:
            return usable
        # A weighted shuffle: the exponential variate divided by the weight orders as drawing without return
        # does.
        draw = self._rng.expovariate
        return sorted(
            usable,
            key=lambda endpoint: (
                endpoint.priority,
                self._is_far(endpoint),
                draw(1.0) / max(self._weight(agent, endpoint), 1e-9),
            ),
        )

    def _is_far(self, endpoint: Endpoint) -> bool:
        return bool(self._region and endpoint.region and endpoint.region != self._region)

    def _weight(self, agent: Agent, endpoint: Endpoint) -> float:
        if not endpoint.max_calls:
            return endpoint.weight
        free = 1 - self._calls_everywhere(agent, endpoint) / endpoint.max_calls
        return endpoint.weight * max(free, NEARLY_FULL)

    def _calls_everywhere(self, agent: Agent, endpoint: Endpoint) -> int:
        key = (agent.id, endpoint.url)
        state = self._states.get(key)
        here = 0 if state is None else state.calls
        return max(here, (self._places.total(key) if self._places is not None else None) or 0)

    def obstacle(self, agent: Agent, endpoint: Endpoint) -> str | None:
        """Why a call would not be tried there now, as far as is known without asking; None if it would."""
        obstacle = self._obstacle_here(agent, endpoint)
        if obstacle is None and endpoint.max_calls is not None:
            calls = self._calls_everywhere(agent, endpoint)
            if calls >= endpoint.max_calls:
                return f"full: {calls} of {endpoint.max_calls} calls, on all gateways"
        return obstacle

    def _obstacle_here(self, agent: Agent, endpoint: Endpoint) -> str | None:
        """The same, as far as this gateway alone is concerned."""
        state = self._states.get((agent.id, endpoint.url))
        if state is None:
            return "full: max_calls is 0" if endpoint.max_calls == 0 else None
        if not state.circuit.admits(self._clock()):
            return f"down: {state.circuit.reason}"
        if endpoint.max_calls is not None and state.calls >= endpoint.max_calls:
            return f"full: {state.calls} of {endpoint.max_calls} calls"
        return None

    async def acquire(self, agent: Agent, endpoint: Endpoint) -> Lease | None:
        """Take a place at an endpoint; None when it is full or its circuit has opened.

        Waits for nobody, unless the endpoint has ``max_calls``: then for Redis, within 200 ms.
        """
        if self._obstacle_here(agent, endpoint) is not None:
            return None
        key = (agent.id, endpoint.url)
        place: Place | None = None
        if endpoint.max_calls is not None and self._places is not None:
            place = await self._places.take(key, endpoint.max_calls)
            if place is None:
                return None
            if self._obstacle_here(agent, endpoint) is not None:  # meanwhile
                place.release()
                return None
        lease = self._lease(key, place)
        lease._state.circuit.begin(self._clock())
        return lease

    def hold(self, agent: Agent, endpoint: Endpoint) -> Lease:
        """Take a place for a call that goes on there already, whatever else is known: it was taken over."""
        key = (agent.id, endpoint.url)
        place: Place | None = None
        if endpoint.max_calls is not None and self._places is not None:
            place = self._places.hold(key, endpoint.max_calls)
        lease = self._lease(key, place)
        lease._told = True  # it is no trial
        return lease

    def _lease(self, key: Key, place: Place | None) -> Lease:
        state = self._state(key)
        state.calls += 1
        return Lease(self, key, state, place)

    def failed(self, key: Key, reason: str) -> None:
        """An endpoint failed a call or a probe."""
        now = self._clock()
        state = self._state(key)
        if state.circuit.failed(now, reason, self._threshold):
            state.probe_at = now + self._probe_interval

    def due_probes(self, agents: Iterable[Agent]) -> list[tuple[Agent, Endpoint]]:
        """Endpoints that should be asked now whether they are alive; each is then due again later."""
        now = self._clock()
        due: list[tuple[Agent, Endpoint]] = []
        for agent in agents:
            for endpoint in agent.endpoints:
                state = self._state((agent.id, endpoint.url))
                if not state.probing and now >= state.probe_at:
                    state.probing = True
                    state.probe_at = now + self._probe_interval
                    due.append((agent, endpoint))
        return due

    def probed(self, agent: Agent, endpoint: Endpoint, alive: bool, reason: str = "") -> None:
        """What a probe found: any answer closes the circuit, silence or refusal counts as a failure."""
        key = (agent.id, endpoint.url)
        state = self._state(key)
        state.probing = False
        if alive:
            state.circuit.succeeded()
        else:
            self.failed(key, reason or "no answer to OPTIONS")

    def calls(self, agent_id: str) -> int:
        """Calls in progress at an agent, over all of its endpoints."""
        return sum(state.calls for key, state in self._states.items() if key[0] == agent_id)

    @property
    def in_use(self) -> int:
        """Places taken at all endpoints."""
        return sum(state.calls for state in self._states.values())

    def snapshot(self) -> list[EndpointStatus]:
        """Every endpoint that is known of."""
        now = self._clock()
        return [
            EndpointStatus(agent_id, url, state.circuit.admits(now), state.calls, state.circuit.reason)
            for (agent_id, url), state in self._states.items()
        ]

    def _state(self, key: Key) -> _State:
        state = self._states.get(key)
        if state is None:
            if len(self._states) >= MAX_ENDPOINTS:
                self._forget()
            # Spread over one interval, so that many endpoints loaded at once are not asked at once.
            first = self._clock() + self._rng.uniform(0, self._probe_interval)
            state = self._states[key] = _State(Circuit(), probe_at=first)
        return state

    def _forget(self) -> None:
        """Make room: what has no call and no failure says nothing that its absence would not."""
        idle = [key for key, state in self._states.items() if not state.calls and not state.circuit.failures]
        for key in idle or [next(iter(self._states))]:
            if not self._states[key].calls:
                del self._states[key]
