"""One gateway among the others that share its Redis: what it says and hears, and what they share."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version
from typing import Final, Protocol

import structlog
from redis.asyncio import Redis

from gateway.redis_watch import RedisWatch
from gateway.telemetry.metrics import Metrics
from routing.heartbeat import Heartbeat
from routing.leases import Leases
from routing.ledger import Ledger
from routing.nodes import Neighbours, NodeRegistry, NodeWords

INCARNATION_BYTES: Final = 8

log = structlog.get_logger("gateway")


class Served(Protocol):
    """The routes that a gateway serves by. Fulfilled by `routing.view.RouteView`."""

    epoch: str
    revision: int


class Cluster:
    """The heartbeat, and places at agents' endpoints.

    Args:
        hot: a client for the call path; redis: one for everything else; both with timeouts.
        name: of this node; region: where it is, may be empty.
        metrics: count.
        calls: in progress here; draining: whether new ones are refused.
        addresses: where carriers reach us; advertised_host: the name or address by which, if not by those.
        routes: served by; sync_age: seconds since they were known to be current.

    Attributes:
        registry: of all nodes; heartbeat: of this one; leases: places at endpoints with ``max_calls``.
        incarnation: what tells this process from another one of the same name.

    """

    def __init__(
        self,
        hot: Redis,
        redis: Redis,
        name: str,
        metrics: Metrics,
        *,
        region: str = "",
        calls: Callable[[], int],
        draining: Callable[[], bool],
        addresses: Callable[[], Sequence[tuple[str, int]]],
        advertised_host: str,
        routes: Callable[[], Served],
        sync_age: Callable[[], float],
    ) -> None:
        self.incarnation = secrets.token_hex(INCARNATION_BYTES)
        self.registry = NodeRegistry(redis)
        self._watch = RedisWatch(metrics)
        self.heartbeat = Heartbeat(
            self.registry, name, self._words, on_beat=self._heard, on_error=self._watch.failed
        )
        owner = f"{name}#{self.incarnation}"
        self.leases = Leases(
            Ledger(hot, owner),
            Ledger(redis, owner),
            self._gateways,
            time.monotonic,
            on_asked=lambda answer: metrics.places[answer].inc(),
            on_away=self._alone,
            on_back=self._together,
        )
        self._metrics = metrics
        self._region = region
        self._calls = calls
        self._draining = draining
        self._addresses = addresses
        self._advertised_host = advertised_host
        self._routes = routes
        self._sync_age = sync_age
        self._version = version("voice-gateway")
        self._started_at = time.time()

    async def run(self) -> None:
        """Beat, and keep places, until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self.heartbeat.run(), name="heartbeat")
            group.create_task(self.leases.run(), name="endpoint-places")

    async def stop(self) -> None:
        """Give places back and say goodbye, as far as Redis takes it. Bounded; raises nothing."""
        await self.leases.stop()
        await self.heartbeat.goodbye()

    def refresh(self) -> None:
        """Bring the gauges up to date; called at each scrape."""
        self._metrics.cluster_calls.clear()
        for agent_id, calls in self.leases.totals():
            self._metrics.cluster_calls.labels(agent_id).inc(calls)

    def _gateways(self) -> int:
        return 1 if self.heartbeat.neighbours is None else self.heartbeat.neighbours.up

    def _alone(self, text: str) -> None:
        self._metrics.places_alone.set(1)
        log.error("places at agents are not shared", detail=text, key="redis.url")

    def _together(self) -> None:
        self._metrics.places_alone.set(0)
        log.info("places at agents are shared again")

    @property
    def _address(self) -> str:
        addresses = self._addresses()
        if not addresses:
            return ""
        host, port = self._advertised_host or addresses[0][0], addresses[0][1]
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    def _words(self) -> NodeWords:
        routes, age = self._routes(), self._sync_age()
        return NodeWords(
            incarnation=self.incarnation,
            version=self._version,
            started_at=self._started_at,
            address=self._address,
            region=self._region,
            calls=self._calls(),
            draining=self._draining(),
            epoch=routes.epoch,
            revision=routes.revision,
            sync_age=None if age == float("inf") else round(age, 1),
        )

    def _heard(self, neighbours: Neighbours, seconds: float) -> None:
        self._watch.answered(neighbours, seconds)
        routes = self._routes()
        self._metrics.nodes.labels("up").set(neighbours.up)
        self._metrics.nodes.labels("gone").set(neighbours.gone)
        lacking = neighbours.revision - (routes.revision if routes.epoch == neighbours.epoch else 0)
        self._metrics.behind.set(max(0, lacking))
        # Redis looked at its clock half-way between question and answer, as far as anybody can tell.
        self._metrics.clock_ahead.set(round(time.time() - seconds / 2 - neighbours.clock, 3))
