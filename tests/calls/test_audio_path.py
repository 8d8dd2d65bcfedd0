"""Audio through the whole gateway, both ways, with nothing lost and with much: never late, never with holes."""

from __future__ import annotations

import pytest

from tests.calls.audio_path import PAIRS, measure
from tests.calls.rig import Rig, in_virtual_time

BEAT = 20.0
"""Milliseconds: a frame waits for the session's next beat, at most that long."""

FILTERS = 32.0
"""Milliseconds that resampling and G.722 hold back, in the gateway and in what measures here, before a tone is
loud."""


@pytest.mark.parametrize(("codec", "protocol", "options"), PAIRS)
@in_virtual_time
async def test_without_loss_nothing_is_late_concealed_or_missing(
    rig: Rig, codec: str, protocol: str, options: dict[str, str]
):
    found = await measure(rig, codec, protocol, options, loss=0, jitter=0, bursts=10)
    assert found.underruns == 0 and found.concealed == 0
    assert found.heard == found.said == 1
    assert found.towards <= BEAT + FILTERS and found.back <= BEAT + FILTERS


@pytest.mark.parametrize("loss", [0.05, 0.2])
@in_virtual_time
async def test_what_is_lost_is_concealed_and_nothing_more(rig: Rig, loss: float):
    found = await measure(rig, "PCMU", "twilio", {}, loss=loss, jitter=0.06)
    assert loss / 2 < found.concealed < loss * 2 + 0.05
    assert found.said == 1 and found.heard > 0.9
    assert found.underruns == 0  # of what the agent says: its way is not the lossy one
