"""One page of metrics for all workers: what each has counted, and the office itself, added up by its sense.

Counters and histograms are sums, also over workers that have ended: what a process has counted stays counted
when another one takes its slot, so that no sum ever falls. Gauges are sums, too, unless `SENSES` says
otherwise.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from typing import Final, Literal, TypeAlias

from msgspec import Struct
from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from prometheus_client.samples import Exemplar

Sense: TypeAlias = Literal["sum", "max", "min"]

SENSES: Final[dict[str, Sense]] = {
    "gateway_agent_cluster_calls": "max",
    "gateway_agent_endpoint_up": "max",
    "gateway_agent_places_alone": "max",
    "gateway_clock_ahead_seconds": "max",
    "gateway_continuity_lease_age_seconds": "max",
    "gateway_disk_free_bytes": "min",
    "gateway_disk_size_bytes": "max",
    "gateway_nodes": "max",
    "gateway_overload_level": "max",
    "gateway_ready": "max",
    "gateway_recordings_bytes": "max",
    "gateway_recordings_files": "max",
    "gateway_redis_trouble": "max",
    "gateway_registration_up": "max",
    "gateway_tls_certificate_expiry_seconds": "min",
    "routing_numbers": "min",
    "routing_remote_age_seconds": "max",
    "routing_revisions_behind": "max",
    "routing_sync_age_seconds": "max",
}
"""Gauges that are no sums: of several workers the one that is worst off counts, or whoever knows."""

Labels: TypeAlias = tuple[tuple[str, str], ...]
Key: TypeAlias = tuple[str, Labels]
"""A series: its name and its labels."""


class Series(Struct, frozen=True, array_like=True):
    """One number. exemplar: labels, value and time of an observation, if one was kept."""

    name: str
    labels: Labels
    value: float
    exemplar: tuple[dict[str, str], float, float | None] | None = None


class Family(Struct, frozen=True, array_like=True):
    """What one metric has. kind: `counter`, `gauge`, `histogram`, …."""

    name: str
    help: str
    kind: str
    series: list[Series]


def families(registry: CollectorRegistry) -> list[Family]:
    """Everything in a registry."""
    return [_family(metric) for metric in registry.collect()]


class Totals(Collector):
    """Adds up.

    Args:
        own: the office's own metrics.

    """

    def __init__(self, own: CollectorRegistry) -> None:
        self._own = own
        self._told: dict[int, tuple[int, list[Family]]] = {}
        # By family: what processes that have ended had counted.
        self._past: dict[str, Family] = {}
        self._present: Collection[int] = ()

    def told(self, slot: int, pid: int, told: list[Family]) -> None:
        """What the worker of a slot has, which is process `pid`."""
        before = self._told.get(slot)
        if before is not None and before[0] != pid:
            self._keep(before[1])
        self._told[slot] = pid, told

    def present(self, slots: Collection[int]) -> None:
        """Who has answered just now: the gauges of others are not known."""
        self._present = slots

    def collect(self) -> Iterator[Metric]:
        """See `prometheus_client.registry.Collector`."""
        sums = _Sums()
        for metric in self._own.collect():
            sums.add(_family(metric))
        for slot, (_, told) in self._told.items():
            for family in told:
                if family.kind != "gauge" or slot in self._present:
                    sums.add(family)
        for family in self._past.values():
            sums.add(family)
        return sums.metrics()

    def _keep(self, told: Iterable[Family]) -> None:
        for family in told:
            if family.kind == "gauge":
                continue
            sums = _Sums()
            if family.name in self._past:
                sums.add(self._past[family.name])
            sums.add(family)
            self._past[family.name] = next(sums.families())


class _Sums:
    """Families with the same name made one."""

    def __init__(self) -> None:
        self._families: dict[str, Family] = {}
        self._values: dict[str, dict[Key, Series]] = {}

    def add(self, family: Family) -> None:
        self._families.setdefault(family.name, family)
        values = self._values.setdefault(family.name, {})
        sense = SENSES.get(family.name, "sum") if family.kind == "gauge" else "sum"
        for series in family.series:
            key = series.name, series.labels
            before = values.get(key)
            values[key] = series if before is None else _joined(before, series, sense)

    def families(self) -> Iterator[Family]:
        for name, family in self._families.items():
            yield Family(name, family.help, family.kind, list(self._values[name].values()))

    def metrics(self) -> Iterator[Metric]:
        for family in self.families():
            metric = Metric(family.name, family.help, family.kind)
            for series in family.series:
                exemplar = None if series.exemplar is None else Exemplar(*series.exemplar)
                metric.add_sample(series.name, dict(series.labels), series.value, None, exemplar)
            yield metric


def _joined(one: Series, other: Series, sense: Sense) -> Series:
    match sense:
        case "sum":
            value = one.value + other.value
        case "max":
            value = max(one.value, other.value)
        case "min":
            value = min(one.value, other.value)
    return Series(one.name, one.labels, value, one.exemplar or other.exemplar)


def _family(metric: Metric) -> Family:
    return Family(
        metric.name,
        metric.documentation,
        metric.type,
        [
            Series(
                sample.name,
                tuple(sorted(sample.labels.items())),
                sample.value,
                None
                if sample.exemplar is None
                else (dict(sample.exemplar.labels), sample.exemplar.value, _seconds(sample.exemplar)),
            )
            for sample in metric.samples
        ],
    )


def _seconds(exemplar: Exemplar) -> float | None:
    return None if exemplar.timestamp is None else float(exemplar.timestamp)
