from __future__ import annotations

import asyncio
import contextlib
import gc
import weakref
from collections.abc import Iterator

import pytest

from gateway.garbage import NEVER, PIECE, YOUNG, collect_between_messages, collect_in_quiet, settle


class Knot:
    def __init__(self) -> None:
        self.itself = self


@pytest.fixture
def as_before() -> Iterator[None]:
    before = gc.get_threshold()
    yield
    gc.set_threshold(*before)
    gc.unfreeze()


@pytest.mark.usefixtures("as_before")
async def test_garbage_is_collected_when_nobody_is_on_the_line() -> None:
    settle()
    assert gc.get_threshold() == (YOUNG, NEVER, NEVER)
    calls = [object()]
    knot = weakref.ref(Knot())
    gc.collect(0)
    survivor = Knot()
    gc.collect(0)  # it is not young any more: only a look at everything finds it
    old = weakref.ref(survivor)
    del survivor
    collecting = asyncio.create_task(collect_in_quiet(calls.__len__, interval=0))
    try:
        for _ in range(3):
            await asyncio.sleep(0)
        assert knot() is None
        assert old() is not None, "somebody is on the line"
        calls.clear()
        for _ in range(3):
            await asyncio.sleep(0)
        assert old() is None
    finally:
        collecting.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await collecting


@pytest.mark.usefixtures("as_before")
async def test_young_garbage_is_collected_a_piece_at_a_time() -> None:
    settle()
    collecting = asyncio.create_task(collect_between_messages(interval=0))
    try:
        gc.collect(0)
        knot = weakref.ref(Knot())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert knot() is not None, "for a few it is not worth the while"
        made = [Knot() for _ in range(PIECE)]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert knot() is None
        assert len(made) < YOUNG, "the collector would have begun by itself"
    finally:
        collecting.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await collecting
