"""The suite fails on any call of ours that blocks the event loop."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from blockbuster import blockbuster_ctx

OURS = ["gateway", "routing"]


@pytest.fixture(autouse=True)
def nothing_blocks_the_loop() -> Iterator[None]:
    """Raise BlockingError where code of ours reads a file, sleeps or waits for a socket on the loop."""
    with blockbuster_ctx(OURS):
        yield
