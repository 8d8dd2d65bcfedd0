"""Counters and histograms for what happens many times in every call.

The same families as `prometheus_client`'s own, shown by its registry, without the lock that each of its
values takes: these are touched by the thread of the event loop alone, which also answers the scrape. A call
moves some forty of them, and pays a third of the price. They name themselves by the same attributes as the
library's families do, for the page that lists them all.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import Final

from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from prometheus_client.samples import Exemplar
from prometheus_client.utils import floatToGoString

Labels = tuple[str, ...]

INFINITY: Final = "+Inf"


class Tally(Collector):
    """A counter family.

    Args:
        name: without ``_total``.
        documentation: one sentence.
        labels: names; none for a family of one series, which is there from the start.
        registry: where it is shown.

    """

    def __init__(
        self, name: str, documentation: str, labels: Sequence[str] = (), *, registry: CollectorRegistry
    ) -> None:
        self._name = name
        self._type = "counter"
        self._documentation = documentation
        self._labelnames = tuple(labels)
        self.counts: dict[Labels, float] = {} if labels else {(): 0}
        registry.register(self)

    def add(self, labels: Labels, count: float = 1) -> None:
        """Count; labels: their values, in the order of the names."""
        self.counts[labels] = self.counts.get(labels, 0) + count

    def describe(self) -> Iterator[Metric]:
        """The family without its series: the registry looks whether its name is taken."""
        yield CounterMetricFamily(self._name, self._documentation, labels=self._labelnames)

    def collect(self) -> Iterator[Metric]:
        """The family as it is now."""
        family = CounterMetricFamily(self._name, self._documentation, labels=self._labelnames)
        for labels, count in self.counts.items():
            family.add_metric(labels, count)
        yield family


class _Series:
    """One histogram: a count for each bucket, the last of all beyond the bounds."""

    __slots__ = ("counts", "exemplars", "total")

    def __init__(self, buckets: int) -> None:
        self.counts = [0] * buckets
        self.total = 0.0
        self.exemplars: dict[int, Exemplar] = {}


class Spread(Collector):
    """A histogram family.

    Args:
        name: as it is shown.
        documentation: one sentence.
        labels: names.
        buckets: upper bounds, rising, without infinity.
        registry: where it is shown.

    """

    def __init__(
        self,
        name: str,
        documentation: str,
        labels: Sequence[str],
        *,
        buckets: Sequence[float],
        registry: CollectorRegistry,
    ) -> None:
        self._name = name
        self._type = "histogram"
        self._documentation = documentation
        self._labelnames = tuple(labels)
        self._bounds = tuple(buckets)
        self._shown = [*map(floatToGoString, buckets), INFINITY]
        self._series: dict[Labels, _Series] = {}
        registry.register(self)

    def begin(self, labels: Labels) -> None:
        """Show a series before anything was observed."""
        self._series.setdefault(labels, _Series(len(self._shown)))

    def observe(self, labels: Labels, value: float, exemplar: dict[str, str] | None = None) -> None:
        """Take a measurement; labels: their values; exemplar: what leads to an example of its bucket."""
        series = self._series.get(labels)
        if series is None:
            series = self._series[labels] = _Series(len(self._shown))
        bucket = bisect_left(self._bounds, value)
        series.counts[bucket] += 1
        series.total += value
        if exemplar is not None:
            series.exemplars[bucket] = Exemplar(exemplar, value, time.time())

    def describe(self) -> Iterator[Metric]:
        """The family without its series: the registry looks whether its name is taken."""
        yield HistogramMetricFamily(self._name, self._documentation, labels=self._labelnames)

    def collect(self) -> Iterator[Metric]:
        """The family as it is now."""
        family = HistogramMetricFamily(self._name, self._documentation, labels=self._labelnames)
        for labels, series in self._series.items():
            buckets: list[tuple[str, float] | tuple[str, float, Exemplar]] = []
            for index, count in enumerate(accumulate(series.counts)):
                exemplar = series.exemplars.get(index)
                le = self._shown[index]
                buckets.append((le, count) if exemplar is None else (le, count, exemplar))
            family.add_metric(labels, buckets, series.total)
        yield family
