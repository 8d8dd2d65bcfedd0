"""In virtual time an executor's work is done at once, in the loop's own thread, so blocking is by design."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from blockbuster import BlockBuster


@pytest.fixture(autouse=True, scope="package")
def nothing_blocks_the_loop(nothing_blocks_the_loop: BlockBuster) -> Iterator[None]:
    """Switch the suite's guard off, for these tests."""
    nothing_blocks_the_loop.deactivate()
    yield
    nothing_blocks_the_loop.activate()
