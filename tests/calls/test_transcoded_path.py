"""Transcoded calls on a network that loses, delays and reorders: nothing more is lost, and little is late.

All pairs of codecs: `python loadtests/audio_path.py relayed`.
"""

from __future__ import annotations

import pytest

from gateway.media.patient_order import MAX_PATIENCE
from tests.calls.rig import Rig, in_virtual_time
from tests.calls.transcoded_path import cross

JITTER = 0.06

PATIENCE = MAX_PATIENCE * 20.0 + JITTER * 1000
"""Milliseconds that a packet is held back for a missing one, at most: until so many more have come."""

CODER = 20.0
"""Milliseconds by which coders' filters shift a burst's beginning: a frame at most."""


@pytest.mark.parametrize(
    ("caller", "agent"),
    [
        ("PCMU/8000", "L16/16000"),
        ("PCMA/8000", "PCMU/8000"),
        ("G722/8000", "PCMU/8000"),
        ("PCMU/8000", "OPUS/48000/2"),
    ],
)
@pytest.mark.parametrize("loss", [0.0, 0.05, 0.2])
@in_virtual_time
async def test_what_arrives_goes_on_in_order_and_in_its_place(rig: Rig, caller: str, agent: str, loss: float):
    jitter = JITTER if loss else 0.0
    for crossing in await cross(rig, caller, agent, loss=loss, jitter=jitter, bursts=10):
        assert crossing.heard == 1
        assert crossing.off <= CODER
        if not loss:
            assert (crossing.slowest, crossing.passed) == (0, 1)
        else:
            assert crossing.slowest <= PATIENCE
            assert crossing.passed > 0.97  # what comes after its turn is lost, too
