from __future__ import annotations

from collections.abc import Iterator

import pytest
from blockbuster import BlockBuster


@pytest.fixture(autouse=True)
def nothing_blocks_the_loop(nothing_blocks_the_loop: BlockBuster) -> Iterator[None]:
    """A command's loop is its own: it may block."""
    nothing_blocks_the_loop.deactivate()
    yield
    nothing_blocks_the_loop.activate()
