from __future__ import annotations

import msgspec
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from gateway.telemetry.metrics import Metrics
from gateway.workers.totals import SENSES, Family, Totals, families


class Worker:
    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.calls = Counter("calls", "Calls.", ("outcome",), registry=self.registry)
        self.active = Gauge("active", "Now.", registry=self.registry)
        self.age = Gauge("routing_sync_age_seconds", "Age.", registry=self.registry)
        self.seconds = Histogram("seconds", "Length.", buckets=(1, 10), registry=self.registry)

    def told(self) -> list[Family]:
        """As it comes over the socket."""
        return msgspec.msgpack.decode(msgspec.msgpack.encode(families(self.registry)), type=list[Family])


def page(totals: Totals) -> dict[str, float]:
    registry = CollectorRegistry()
    registry.register(totals)
    text = generate_latest(registry).decode()
    return {
        f"{sample.name}{sorted(sample.labels.values()) or ''}": sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_counters_and_histograms_are_sums_and_gauges_what_they_mean() -> None:
    one, two, own = Worker(), Worker(), Worker()
    for worker, count in ((one, 2), (two, 3)):
        worker.calls.labels("agent").inc(count)
        worker.active.set(count)
        worker.age.set(count)
        worker.seconds.observe(count * 3)
    two.calls.labels("voicemail").inc()
    totals = Totals(own.registry)
    totals.told(1, 11, one.told())
    totals.told(2, 12, two.told())
    totals.present({1, 2})
    assert page(totals) == {
        "calls_total['agent']": 5,
        "calls_total['voicemail']": 1,
        "active": 5,
        "routing_sync_age_seconds": 3,
        "seconds_bucket['1.0']": 0,
        "seconds_bucket['10.0']": 2,
        "seconds_bucket['+Inf']": 2,
        "seconds_count": 2,
        "seconds_sum": 15,
    }


def test_what_a_process_has_counted_stays_counted_when_another_has_its_slot() -> None:
    totals, first = Totals(CollectorRegistry()), Worker()
    first.calls.labels("agent").inc(5)
    first.active.set(5)
    totals.told(1, 11, first.told())
    totals.present(())  # it does not answer
    assert page(totals)["calls_total['agent']"] == 5
    assert "active" not in page(totals)
    for pid in (12, 13):
        again = Worker()
        again.calls.labels("agent").inc()
        totals.told(1, pid, again.told())
        totals.told(1, pid, again.told())
    totals.present({1})
    assert page(totals)["calls_total['agent']"] == 7
    assert page(totals)["active"] == 0


def test_exemplars_survive() -> None:
    worker, totals = Worker(), Totals(CollectorRegistry())
    worker.seconds.observe(3, {"trace_id": "abc"})
    totals.told(1, 11, worker.told())
    [metric] = [each for each in totals.collect() if each.name == "seconds"]
    [exemplar] = [sample.exemplar for sample in metric.samples if sample.exemplar is not None]
    assert exemplar.labels == {"trace_id": "abc"}


def test_gauges_that_are_no_sums_exist() -> None:
    gauges = {metric.name for metric in Metrics().registry.collect() if metric.type == "gauge"}
    assert set(SENSES) <= gauges
