"""Calls are tested in virtual time, where an executor's work is done in the loop's own thread by design."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def nothing_blocks_the_loop() -> None:
    """Switch the suite's guard off."""
