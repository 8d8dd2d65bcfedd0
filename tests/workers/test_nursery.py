"""Real processes: forked, told of, ended."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator
from contextlib import suppress

import pytest

from gateway.workers.nursery import FAILED, Nursery, NurseryGone


def work(words: bytes, lifeline: int) -> int:
    """What the test's workers do."""
    if words == b"wait for the lifeline":
        os.read(lifeline, 1)
        return 0
    if words == b"raise":
        os.close(1)
        os.close(2)
        raise ValueError(words)
    return int(words)


@pytest.fixture
def nursery() -> Iterator[Nursery]:
    made = Nursery(work)
    yield made
    made.abandon()
    if made.pid:
        with suppress(ChildProcessError):
            os.waitpid(made.pid, 0)


async def test_workers_do_their_work_and_their_end_is_told(nursery: Nursery) -> None:
    nursery.open()
    children = await asyncio.gather(*(nursery.fork(words) for words in (b"0", b"3", b"raise")))
    async with asyncio.timeout(10):
        assert await asyncio.gather(*(child.ended for child in children)) == [0, 3, FAILED]
    children[0].signal(signal.SIGKILL)  # nobody is there any more
    await nursery.close()


async def test_a_killed_worker_is_told_by_its_signal_and_the_next_one_starts(nursery: Nursery) -> None:
    nursery.open()
    child = await nursery.fork(b"wait for the lifeline")
    child.signal(signal.SIGKILL)
    async with asyncio.timeout(10):
        assert await child.ended == -signal.SIGKILL
        assert await (await nursery.fork(b"0")).ended == 0
    await nursery.close()
    with pytest.raises(NurseryGone):
        await nursery.fork(b"0")


async def test_without_the_nursery_workers_lose_their_lifeline(nursery: Nursery) -> None:
    nursery.open()
    child = await nursery.fork(b"wait for the lifeline")
    os.kill(nursery.pid, signal.SIGKILL)
    async with asyncio.timeout(10):
        assert await child.ended == FAILED, "nobody knows how it ends"
        while True:
            try:
                os.kill(child.pid, 0)
            except ProcessLookupError:
                break
            await asyncio.sleep(0.01)
    with pytest.raises(NurseryGone):
        await nursery.fork(b"0")
    await nursery.close()
