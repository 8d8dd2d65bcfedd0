"""The network-namespace harness, for a few seconds: whatever dies, each call has one outcome and nothing is left."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.sipp import require

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).parents[2]
NOT_PERMITTED = 77

SCHEDULE = "--seed 1378 --seconds 8 --faults 9 --kinds kill unplug freeze restart slow skew"
"""Each of these, a gateway that is killed among them; not a cut, after which it takes long to settle."""


def test_every_call_has_one_outcome_whatever_dies() -> None:
    for program in ("sipp", "kamailio", "redis-server"):
        require(program)
    command = [sys.executable, "-m", "loadtests.faults", *SCHEDULE.split()]
    done = subprocess.run(
        [*command, "--brief"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    if done.returncode == NOT_PERMITTED:
        pytest.skip(done.stdout.strip())
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    assert "every call has one outcome, nothing is left, all gateways serve what the API says" in done.stdout
