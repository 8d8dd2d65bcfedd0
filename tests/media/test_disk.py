from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from gateway.media.disk import Disk


class Counting(ThreadPoolExecutor):
    """Counts trips."""

    trips = 0

    def submit(self, *args, **kwargs):  # type: ignore[no-untyped-def]
        self.trips += 1
        return super().submit(*args, **kwargs)


async def test_what_comes_together_is_done_in_one_trip_and_in_order() -> None:
    done: list[int] = []
    with Counting(1) as executor:
        disk = Disk(executor)
        await asyncio.gather(*[disk.run(done.append, number) for number in range(100)])
        assert done == list(range(100))
        assert executor.trips == 1
        assert await disk.run(len, done) == 100
        assert executor.trips == 2


async def test_what_one_raises_is_its_own_affair() -> None:
    def fail() -> None:
        raise OSError(28, "No space left on device")

    disk = Disk()
    results = await asyncio.gather(disk.run(fail), disk.run(lambda: "fine"), return_exceptions=True)
    assert isinstance(results[0], OSError)
    assert results[1] == "fine"


async def test_while_one_trip_lasts_the_next_one_gathers() -> None:
    free = threading.Event()
    with Counting(1) as executor:
        disk = Disk(executor)
        first = disk.run(free.wait, 10)
        while not executor.trips:  # noqa: ASYNC110 - it waits for the disk
            await asyncio.sleep(0.001)
        others = [disk.run(len, "abc") for _ in range(10)]
        free.set()
        assert await asyncio.gather(first, *others) == [True, *[3] * 10]
        assert executor.trips == 2


async def test_whoever_does_not_wait_any_more_harms_nobody() -> None:
    disk = Disk()
    gone = disk.run(len, "a")
    gone.cancel()
    assert await disk.run(len, "ab") == 2


async def test_without_its_threads_nothing_waits_for_ever() -> None:
    executor = ThreadPoolExecutor(1)
    disk = Disk(executor)
    waiting = disk.run(len, "a")
    executor.shutdown(cancel_futures=True)
    with pytest.raises(asyncio.CancelledError):
        await waiting
