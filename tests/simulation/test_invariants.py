"""Thousands of calls in virtual time. A failing seed prints itself, for `python -m tests.simulation`."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.simulation.world import CALLERS, run

BATCH = 25
BATCHES = 6
"""150 worlds of 20 callers and their retries: 3,000 calls in some 20 s of one core."""


@pytest.mark.parametrize("batch", range(BATCHES))
def test_whatever_goes_wrong_every_call_ends_as_it_must(batch):
    outcomes: Counter[str] = Counter()
    for seed in range(batch * BATCH, (batch + 1) * BATCH):
        try:
            outcomes.update(record.outcome for record in run(seed))
        except Exception as error:
            raise AssertionError(f"seed {seed}: {error}") from error
    # A simulation in which nothing happens proves nothing.
    assert {"agent", "fallback", "voicemail", "abandoned", "failed", "refused"} <= set(outcomes)
    assert outcomes.total() > BATCH * CALLERS * 0.9  # a few vanish before they are heard


def test_a_seed_replays_step_by_step():
    assert run(7) == run(7)
