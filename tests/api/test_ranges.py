"""Ranges as RFC 9110 §14 has them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.ranges import NotSatisfiableError, http_date, still_the_same, wanted


@pytest.mark.parametrize(
    ("header", "part"),
    [
        (None, None),
        ("bytes=0-0", (0, 1)),
        ("bytes=0-99", (0, 10)),
        ("bytes=5-", (5, 10)),
        ("Bytes=9-9", (9, 10)),
        ("bytes=-3", (7, 10)),
        ("bytes=-99", (0, 10)),
        ("bytes=5-2", None),
        ("bytes=0-1,3-4", None),
        ("items=0-1", None),
        ("bytes=", None),
        ("bytes=a-b", None),
        ("bytes=-", None),
    ],
)
def test_what_a_range_asks_for(header: str | None, part: tuple[int, int] | None) -> None:
    assert wanted(header, 10) == part


@pytest.mark.parametrize("header", ["bytes=10-", "bytes=10-20", "bytes=-0"])
def test_what_is_not_there(header: str) -> None:
    with pytest.raises(NotSatisfiableError):
        wanted(header, 10)


@given(st.one_of(st.text(max_size=40), st.from_regex(r"bytes=[0-9]{0,20}-[0-9]{0,20}")), st.integers(0, 100))
def test_no_header_leads_out_of_the_body(header: str, size: int) -> None:
    try:
        part = wanted(header, size)
    except NotSatisfiableError:
        return
    assert part is None or 0 <= part[0] < part[1] <= size


def test_if_range_takes_strong_etags_and_exact_dates() -> None:
    assert still_the_same(None, '"a"', 0)
    assert still_the_same('"a"', '"a"', 0)
    assert still_the_same(http_date(1_700_000_000), '"a"', 1_700_000_000.6)
    assert not still_the_same('W/"a"', '"a"', 0)
    assert not still_the_same('"b"', '"a"', 0)
