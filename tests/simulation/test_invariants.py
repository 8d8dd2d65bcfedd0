"""Thousands of worlds in virtual time. A failing seed prints itself, for `python -m tests.simulation`."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.simulation.world import CALLERS, run

CROWDED = [(seed, CALLERS) for seed in range(75)]
"""Worlds where calls meet at agents, and agents are full."""

LONELY = [(seed, 3) for seed in range(1_000, 3_000)]
"""Many small ones: most faults need no crowd, only many tries."""

BATCHES = [
    worlds[first : first + size]
    for worlds, size in ((CROWDED, 25), (LONELY, 250))
    for first in range(0, len(worlds), size)
]


@pytest.mark.parametrize("batch", BATCHES, ids=lambda batch: f"{batch[0][0]}-{batch[-1][0]}")
def test_whatever_goes_wrong_every_call_ends_as_it_must(batch: list[tuple[int, int]]) -> None:
    outcomes: Counter[str] = Counter()
    for seed, callers in batch:
        try:
            outcomes.update(record.outcome for record in run(seed, callers))
        except Exception as error:
            raise AssertionError(f"--seeds {seed}:{seed + 1} --callers {callers}: {error}") from error
    # A simulation in which nothing happens proves nothing.
    assert {"agent", "fallback", "voicemail", "abandoned", "failed", "refused"} <= set(outcomes)
    asked = sum(callers for _, callers in batch)
    assert outcomes.total() > asked * 0.9  # a few vanish before they are heard


def test_a_seed_replays_step_by_step() -> None:
    assert run(7) == run(7)
