"""Says what is wrong with Redis: once in the log with what to do, and all the while as a metric."""

from __future__ import annotations

from typing import Final

import structlog

from gateway.telemetry.metrics import Metrics
from routing.nodes import Neighbours
from routing.redis_clients import HOT_TIMEOUT
from routing.redis_trouble import KINDS, Kind, Trouble, trouble_of

SLOW_BEATS: Final = 2
"""Heartbeats in a row that took longer than a call would wait: one may be a moment's load."""

log = structlog.get_logger("gateway")


class RedisWatch:
    """Told of each heartbeat, which writes and reads as everything else does.

    Args:
        metrics: shows the trouble.

    """

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        for kind in KINDS:
            metrics.redis_trouble.labels(kind).set(0)
        self._told: Kind | None = None
        self._slow = 0

    def answered(self, neighbours: Neighbours, seconds: float) -> None:
        """A heartbeat was taken in so many seconds."""
        self._slow = self._slow + 1 if seconds >= HOT_TIMEOUT else 0
        if self._slow >= SLOW_BEATS:
            self._in_trouble(Trouble("slow", f"it took {seconds * 1000:.0f} ms to answer"))
        elif not neighbours.epoch:
            self._in_trouble(Trouble("empty", "it has no complete set of routes"))
        elif not self._slow:
            self._well()

    def failed(self, error: BaseException) -> None:
        """A heartbeat was not taken."""
        self._slow = 0
        self._in_trouble(trouble_of(error))

    def _in_trouble(self, trouble: Trouble) -> None:
        if trouble.kind == self._told:
            return
        self._show(trouble.kind)
        log.error(
            "Redis is in trouble", kind=trouble.kind, detail=trouble.text, fix=trouble.fix, key="redis.url"
        )

    def _well(self) -> None:
        if self._told is not None:
            self._show(None)
            log.info("Redis is well again")

    def _show(self, kind: Kind | None) -> None:
        if self._told is not None:
            self._metrics.redis_trouble.labels(self._told).set(0)
        if kind is not None:
            self._metrics.redis_trouble.labels(kind).set(1)
        self._told = kind
