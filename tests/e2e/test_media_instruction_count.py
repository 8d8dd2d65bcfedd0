"""What 20 ms of a call's audio cost, in what does not depend on how busy the machine is."""

from __future__ import annotations

from loadtests.count_media_instructions import KINDS, baseline, count
from tests.e2e.sipp import require


def test_a_frame_takes_no_more_instructions_than_the_baseline_allows() -> None:
    require("valgrind")
    counts, expected = count(), baseline()
    for kind in KINDS:
        counted, before = counts.of(kind), expected.of(kind)
        assert counted.growth(before) <= counted.allowed(before), (
            f"{counted.call:,} instructions for 20 ms of {kind}, {counted.growth(before):+.1%} against the baseline; "
            "if that is worth it, say so in the commit and run `python -m loadtests.count_media_instructions --write`"
        )
