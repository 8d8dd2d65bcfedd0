"""The API's metrics. Names and labels are a contract; no label ever holds a phone number."""

from __future__ import annotations

from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Seconds."""


class ApiMetrics:
    """What the API counts, in one registry."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self.registry = registry = registry if registry is not None else CollectorRegistry()
        self.requests = Counter(
            "api_requests",
            "Requests to the phone-number API; `route` is the path as it is documented.",
            ("route", "method", "status"),
            registry=registry,
        )
        self.request_seconds = Histogram(
            "api_request_seconds",
            "How long the API took to answer.",
            ("route",),
            buckets=BUCKETS,
            registry=registry,
        )
        self.replica_lag = Gauge(
            "api_replica_lag_seconds",
            "How far a reading replica of the store (by its place in api.database_replica_urls) is behind at"
            " most; it is not asked beyond 5. +Inf: it was never seen to be a replica of this store.",
            ("replica",),
            registry=registry,
        )
        self.replica_reads = Counter(
            "api_replica_reads",
            "Reads that may be some seconds old, by where they went: replica, or primary.",
            ("where",),
            registry=registry,
        )
        self.outbox = Gauge(
            "api_outbox_changes",
            "Changes of the routes that are committed and not yet in Redis.",
            registry=registry,
        )
        self.webhooks = Counter(
            "api_carrier_webhooks",
            "Webhooks from carriers, by what became of them.",
            ("carrier", "result"),
            registry=registry,
        )
        self.alarms = Counter(
            "api_carrier_alarms",
            "What carriers say is wrong with trunks, by their code; `other` for codes not about trunks.",
            ("carrier", "code"),
            registry=registry,
        )
        self.half_way = Gauge(
            "api_numbers_half_way",
            "Numbers that are being bought, wired or released at their carriers.",
            ("state",),
            registry=registry,
        )
        self.publish_errors = Counter(
            "api_publish_errors", "Failed attempts to bring changes to Redis.", registry=registry
        )
        self.events = Counter(
            "api_call_events",
            "Events of calls that were taken into the store.",
            ("event",),
            registry=registry,
        )
        self.deliveries = Counter(
            "api_deliveries",
            "Attempts to deliver an event: delivered, retried, failed (given up).",
            ("event", "result"),
            registry=registry,
        )
        self.delivery_seconds = Histogram(
            "api_delivery_seconds",
            "How long receivers of webhooks took to answer.",
            buckets=BUCKETS,
            registry=registry,
        )
