"""The same text as prometheus_client's own families make of the same measurements."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as openmetrics

from gateway.telemetry.tallies import Spread, Tally

BUCKETS = (0.001, 0.5, 2.0)
measurements = st.lists(
    st.tuples(st.sampled_from(["a", 'quo"ted', "ünï"]), st.sampled_from([0.0005, 0.001, 0.3, 0.5, 2.0, 9.0])),
    max_size=30,
)


@given(measurements)
@settings(max_examples=30)
def test_what_is_shown_is_what_the_library_shows(taken: list[tuple[str, float]]) -> None:
    theirs, ours = CollectorRegistry(), CollectorRegistry()
    counter = Counter("told", "Told.", ("who",), registry=theirs)
    histogram = Histogram("took_seconds", "Took.", ("who",), buckets=BUCKETS, registry=theirs)
    tally = Tally("told", "Told.", ("who",), registry=ours)
    spread = Spread("took_seconds", "Took.", ("who",), buckets=BUCKETS, registry=ours)
    for who, seconds in taken:
        counter.labels(who).inc(2)
        histogram.labels(who).observe(seconds)
        tally.add((who,), 2)
        spread.observe((who,), seconds)
    assert generate_latest(ours) == generate_latest(theirs)


def test_an_exemplar_leads_from_its_bucket() -> None:
    registry = CollectorRegistry()
    spread = Spread("took_seconds", "Took.", ("who",), buckets=BUCKETS, registry=registry)
    spread.observe(("a",), 0.3, {"trace_id": "cafe"})
    spread.observe(("a",), 0.0001)
    shown = openmetrics(registry).decode()
    assert re.search(r'le="0\.5",who="a"\} 2\.0 # \{trace_id="cafe"\} 0\.3 ', shown)
    assert shown.count("cafe") == 1


def test_a_series_may_be_there_before_anything_happened() -> None:
    registry = CollectorRegistry()
    Tally("lonely", "Lonely.", registry=registry)
    Spread("took_seconds", "Took.", ("who",), buckets=BUCKETS, registry=registry).begin(("a",))
    assert registry.get_sample_value("lonely_total") == 0
    assert registry.get_sample_value("took_seconds_count", {"who": "a"}) == 0


def test_two_families_of_one_name_are_refused() -> None:
    registry = CollectorRegistry()
    Tally("told", "Told.", ("who",), registry=registry)
    with pytest.raises(ValueError, match="told"):
        Counter("told", "Told again.", registry=registry)
