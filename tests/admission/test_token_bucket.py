from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.admission import token_bucket
from gateway.admission.source_rates import MAX_REFUSALS, SourceRates
from gateway.admission.token_bucket import BURST_SECONDS, MIN_BURST, TokenBucket, TokenBuckets


def test_a_burst_then_the_rate() -> None:
    bucket = TokenBucket(10, 100.0)
    assert [bucket.take(100.0) for _ in range(21)] == [True] * 20 + [False]
    assert bucket.wait(100.0) == pytest.approx(0.1)
    assert not bucket.take(100.05)
    assert bucket.wait(100.05) == pytest.approx(0.05)
    assert bucket.take(100.11)
    assert bucket.wait(200.0) == 0.0


def test_a_long_pause_earns_no_more_than_a_burst() -> None:
    bucket = TokenBucket(10, 0.0)
    assert sum(bucket.take(1e6) for _ in range(100)) == 20


@given(
    st.floats(0.01, 1e4),
    st.lists(st.floats(0, 3), min_size=1, max_size=200),
)
def test_never_more_than_rate_and_burst(rate: float, pauses: list[float]) -> None:
    bucket, now, taken = TokenBucket(rate, 0.0), 0.0, 0
    for pause in pauses:
        now += pause
        taken += bucket.take(now)
        assert taken <= max(MIN_BURST, rate * BURST_SECONDS) + rate * now + 1e-6
        if not bucket.take(now):
            assert bucket.wait(now) > 0
        else:
            taken += 1


def test_each_key_has_its_own_and_only_so_many_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(token_bucket, "MAX_KEYS", 3)
    buckets = TokenBuckets(1)
    assert [buckets.take("a", 0.0) for _ in range(3)] == [True, True, False]
    assert buckets.take("b", 0.0)
    for key in "cdef":
        buckets.take(key, 0.0)
        assert len(buckets) <= 3
    assert buckets.take("a", 0.0)  # forgotten, and begun again


def test_refusals_have_a_rate_of_their_own() -> None:
    rates = SourceRates(1, lambda: 0.0)
    assert [rates.within("192.0.2.1") for _ in range(3)] == [True, True, False]
    assert rates.within("192.0.2.2")
    assert sum(rates.may_refuse() for _ in range(1000)) == MAX_REFUSALS * BURST_SECONDS
