"""What a call costs the SIP core, in what does not depend on how busy the machine is."""

from __future__ import annotations

import pytest

from loadtests.count_instructions import OTHER_BUILD, SAME_BUILD, Count, baseline, count
from tests.e2e.sipp import require


def test_a_call_takes_no_more_instructions_than_the_baseline_allows() -> None:
    require("valgrind")
    expected = baseline()
    counted = count(expected)
    assert counted.growth(expected) <= counted.allowed(expected), (
        f"{counted.call:,} instructions a call, {counted.growth(expected):+.1%} against the baseline; if that is worth "
        "it, say so in the commit and run `python -m loadtests.count_instructions --write`"
    )


def test_growth_is_measured_in_yardsticks_where_python_is_another() -> None:
    before = Count("3.11", 2_000_000, 1_000_000)
    assert Count("3.11", 2_100_000, 1_500_000).growth(before) == pytest.approx(0.05)
    assert Count("3.12", 3_000_000, 1_500_000).growth(before) == pytest.approx(0.0)
    assert (
        Count("3.12", 3_600_000, 1_500_000).growth(before)
        > Count("3.12", 1, 1).allowed(before)
        == OTHER_BUILD
    )
    assert Count("3.11", 1, 1).allowed(before) == SAME_BUILD
